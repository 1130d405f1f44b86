//! The steps of a pipeline. A pass knows nothing of the terminal, the cache or other passes; [`REGISTRY`] knows them all.

mod adapter_training;
mod code_options;
mod data_key;
pub mod extract_adapters;
pub mod gptq;
mod graph_pass;
pub mod graph_surgeries;
pub mod loftq;
pub mod lora;
pub mod lora_options;
pub mod matmul_nbits_to_qdq;
pub mod merge_adapter_weights;
mod merge_error;
pub mod model_builder;
pub mod onnx_float16;
pub mod onnx_matmul4;
pub mod onnx_quantisers;
mod pass;
pub mod qlora;
mod quantised_base;
mod quarot;
pub mod rounding;
pub mod selective_mixed_precision;
mod training;
mod training_log;

pub(crate) use data_key::{entries as data_entries, feed as feed_data};
pub use loftq::{LoftqOptions, LoftqPass};
pub use lora::LoraPass;
pub use lora_options::LoraOptions;
pub use merge_adapter_weights::{BaseWeights, MergeOptions, MergePass};
pub use model_builder::ModelBuilderPass;
pub use olive_config::ConfiguredPass;
pub use pass::{
    DataPurpose, DataUse, MemoryPolicy, Mismatch, MoveData, Pass, RunContext, SampleLengths, TrainedAdapter,
    tagged_options,
};
pub use qlora::{QloraOptions, QloraPass, QuantType};
pub(crate) use quantised_base::of_adapter as adapter_base;
pub use training::{HeldOut, Training, TrainingLength};
pub use training_log::{MlflowLog, TrainingLog};

/// All passes, in the order in which messages and documentation name them.
pub static REGISTRY: olive_config::Registry<dyn Pass> = olive_config::Registry(&[
    &lora::LORA,
    &qlora::QLORA,
    &loftq::LOFTQ,
    &lora::DORA,
    &selective_mixed_precision::SELECTIVE_MIXED_PRECISION,
    &merge_adapter_weights::MERGE,
    &quarot::QUAROT,
    &gptq::GPTQ,
    &rounding::RTN,
    &rounding::KQUANT,
    &model_builder::MODEL_BUILDER,
    &graph_surgeries::GRAPH_SURGERIES,
    &matmul_nbits_to_qdq::MATMUL_NBITS_TO_QDQ,
    &onnx_quantisers::ONNX_KQUANT,
    &onnx_quantisers::ONNX_RTN,
    &onnx_quantisers::ONNX_HQQ,
    &onnx_matmul4::ONNX_MATMUL4,
    &onnx_float16::ONNX_FLOAT16,
    &extract_adapters::EXTRACT_ADAPTERS,
]);

/// A configuration of these passes.
pub type RunConfig = olive_config::RunConfig<dyn Pass>;

/// An entry of `passes`.
pub type PassConfig = olive_config::PassConfig<dyn Pass>;

#[cfg(test)]
mod tests {
    use super::*;
    use olive_config::option::Fate;
    use std::path::Path;

    #[test]
    fn only_what_counts_is_searched() {
        let options = || REGISTRY.0.iter().flat_map(|definition| definition.block.searchable());
        assert!(options().any(|opt| opt.name == "r") && options().all(|opt| opt.fate == Fate::Honoured));
    }

    #[test]
    fn every_pass_has_a_page() {
        for definition in REGISTRY.0 {
            let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(definition.page);
            assert!(page.is_file(), "{}: {}", definition.name(), page.display());
        }
    }

    #[test]
    fn passes_that_give_the_same_kind_of_model_stand_together() {
        let kinds: Vec<_> = REGISTRY.0.iter().map(|definition| definition.gives).collect();
        let stages: Vec<_> = kinds.chunk_by(PartialEq::eq).map(|stage| stage[0]).collect();
        for (index, kind) in stages.iter().enumerate() {
            assert!(!stages[..index].contains(kind), "{kind:?} twice in {}", REGISTRY.in_order());
        }
        assert!(REGISTRY.in_order().starts_with("LoRA, "));
    }
}
