//! The ONNX model builder: graph, external data, genai_config.json.
//!
//! What is written is what onnxruntime-genai 0.18's own builder writes: names, nodes, inputs, outputs and the bytes
//! of every weight. `docs/model_builder.md` lists where it differs on purpose.

mod adapter_branches;
pub mod adapter_file;
mod attention;
pub mod build;
pub mod calibration;
pub mod data_file;
mod data_writer;
mod decoder_graph;
pub mod edit;
mod embedding;
pub mod error;
mod feed_forward;
pub mod genai_config;
pub mod graph;
mod head;
mod initializer_names;
mod matmul;
pub mod metadata;
mod model_builder_extra;
pub mod model_builder_options;
mod model_builder_read;
mod norms;
pub mod options;
pub mod proto;
mod rope_caches;
mod separate_adapter;
pub mod side_files;
mod stored;
mod synced_file;
pub mod weights;
pub mod weights_file;

pub use build::build;
pub use calibration::{Calibration, QuantisationReport};
pub use error::OnnxError;
pub use metadata::{add_metadata, external_files, find_graph, write_adapter, write_metadata};
pub use model_builder_options::{
    Adapters, MODEL_BUILDER, MixedPrecision, ModelBuilderOptions, Precision, QuantAlgorithm,
};
pub use model_builder_read::read as read_model_builder;
pub use options::{BuildOptions, Provider};
pub use separate_adapter::check as check_adapter;
pub use stored::check_codes;
pub use weights::Weights;
