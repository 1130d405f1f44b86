//! Reading models, writing them as ONNX, and generating with them.

mod broken_files;
mod builder_adapters;
mod builder_parts;
mod candle_models;
mod config_values;
mod families;
mod generate;
mod gguf;
mod gguf_out;
mod graph_passes;
mod hub;
mod model_builder;
mod nf4;
mod normal_forms;
mod not_finite;
#[cfg(target_os = "linux")]
mod ort_library;
mod prequantised;
mod quantised_formats;
mod rope_settings;
mod rotation;
mod sequences;
#[path = "../support/mod.rs"]
mod support;
mod tied_head;
mod tokenizers;
mod trt_rtx;
