//! Every option of every block, as data.

mod builder;
mod data;
mod lora;
mod model;
mod root;
mod system;
mod training;

pub(crate) use builder::{EXTRA_OPTIONS, MERGE, MODEL_BUILDER};
pub(crate) use data::{DATA_CONFIG, DATALOADER, LEGACY_PARAMS, LOAD_DATASET, POST_PROCESS, PRE_PROCESS};
pub(crate) use lora::{DORA, LOFTQ, LORA, QLORA};
pub(crate) use model::{HF_CONFIG, HF_MODEL, LOAD_KWARGS, ONNX_MODEL};
pub(crate) use root::{AZUREML_CLIENT, CACHE_CONFIG, ROOT};
pub(crate) use system::{
    ACCELERATOR, AZURE_ML, DOCKER, ISOLATED_ORT, LOCAL_SYSTEM, PROVIDERS, PYTHON_ENVIRONMENT,
};
pub(crate) use training::{SCHEDULER, TRAINING_ARGS};

use super::option::{Block, Kind, Opt, Special};

/// What stands beside `config` in every pass.
const PASS: &[Opt] = &[
    Opt::new(
        "type",
        Kind::Text,
        "The pass: `LoRA`, `QLoRA`, `LoftQ`, `DoRA`, `MergeAdapterWeights` or `ModelBuilder`, in any case.",
    )
    .required(),
    Opt::new(
        "host",
        Kind::Special(Special::System),
        "System that runs this pass; the engine's host if absent.",
    ),
    Opt::new("evaluator", Kind::Any, "Evaluator of this pass.").ignored("evaluators are not run"),
    Opt::new("disable_search", Kind::Bool, "Whether search leaves this pass alone.")
        .ignored_unless("true", "nothing is searched"),
    Opt::new("clean_run_cache", Kind::Bool, "Run the pass again even if its result is in the cache.")
        .default("false"),
    Opt::new("output_name", Kind::Text, "Also save the result of this pass under this name.")
        .ignored("the result of every pass is in the cache; `olive cache ls` lists them"),
];

/// The pass types that this program implements, in Olive's spelling.
pub(crate) const PASSES: [&Block; 6] = [&LORA, &QLORA, &LOFTQ, &DORA, &MERGE, &MODEL_BUILDER];

/// What Olive also has, so that a pass of its is told from a typing error.
pub(crate) const FOREIGN_PASSES: &[&str] = &[
    "AddOliveMetadata",
    "AimetQuantization",
    "AppendPrePostProcessingOps",
    "AutoAWQQuantizer",
    "AutoClip",
    "AutoGPTQ",
    "CaptureSplitInfo",
    "ComposeOnnxModels",
    "DynamicToFixedShape",
    "EPContextBinaryGenerator",
    "ExtractAdapters",
    "FinetunePass",
    "Gptq",
    "GptqModel",
    "GptqQuantizer",
    "GraphSurgeries",
    "HqqQuantization",
    "IncDynamicQuantization",
    "IncQuantization",
    "IncStaticQuantization",
    "InputNCHWtoNHWC",
    "InsertBeamSearch",
    "Int4Quantization",
    "LoHa",
    "LoKr",
    "MatMulNBitsToQDQ",
    "MixedPrecisionOverrides",
    "MoEExpertsDistributor",
    "ModelScopeConversion",
    "NVModelOptQuantization",
    "NVModelOptQuantizer",
    "OnnxBlockWiseRtnQuantization",
    "OnnxBnb4Quantization",
    "OnnxConversion",
    "OnnxDAG",
    "OnnxDynamicQuantization",
    "OnnxFloatToFloat16",
    "OnnxHqqQuantization",
    "OnnxIODataTypeConverter",
    "OnnxIOFloat16ToFloat32",
    "OnnxMatMul4Quantizer",
    "OnnxModelOptimizer",
    "OnnxOpVersionConversion",
    "OnnxPeepholeOptimizer",
    "OnnxQuantization",
    "OnnxQuantizationPreprocess",
    "OnnxScriptFusion",
    "OnnxStaticQuantization",
    "OpenVINOConversion",
    "OpenVINOEncapsulation",
    "OpenVINOIoUpdate",
    "OpenVINOOptimumConversion",
    "OpenVINOQuantization",
    "OpenVINOQuantizationWithAC",
    "OpenVINOWeightCompression",
    "OptimumConversion",
    "OptimumMerging",
    "OrtMixedPrecision",
    "OrtPerfTuning",
    "OrtSessionParamsTuning",
    "OrtTransformersOptimization",
    "ParallelPass",
    "PyTorchTensorParallel",
    "QairtGenAIBuilder",
    "QNNContextBinaryGenerator",
    "QNNConversion",
    "QNNModelLibGenerator",
    "QNNPreprocess",
    "QuantizationAwareTraining",
    "QuaRot",
    "Quark",
    "QuarkQuantization",
    "Rtn",
    "SNPEConversion",
    "SNPEQuantization",
    "SNPEtoONNXConversion",
    "SelectiveMixedPrecision",
    "SliceGPT",
    "SparseGPT",
    "SpinQuant",
    "SplitModel",
    "StaticLLM",
    "TensorRTEngineConversion",
    "TorchTRTConversion",
    "TransformersAttention",
    "TrtConversion",
    "VitisAIAddMetaData",
    "VitisAIQuantization",
    "VitisGenerateModelLLM",
    "VitisQDQQuantizer",
];

/// Every block, for the documentation and for tests.
pub(crate) const BLOCKS: &[&Block] = &[
    &ROOT,
    &HF_MODEL,
    &HF_CONFIG,
    &LOAD_KWARGS,
    &ONNX_MODEL,
    &LOCAL_SYSTEM,
    &AZURE_ML,
    &DOCKER,
    &PYTHON_ENVIRONMENT,
    &ISOLATED_ORT,
    &ACCELERATOR,
    &DATA_CONFIG,
    &LOAD_DATASET,
    &PRE_PROCESS,
    &POST_PROCESS,
    &DATALOADER,
    &LEGACY_PARAMS,
    &LORA,
    &QLORA,
    &LOFTQ,
    &DORA,
    &TRAINING_ARGS,
    &SCHEDULER,
    &MERGE,
    &MODEL_BUILDER,
    &EXTRA_OPTIONS,
    &AZUREML_CLIENT,
    &CACHE_CONFIG,
];

#[cfg(test)]
mod tests {
    use super::super::json;
    use super::super::option::{Default, Fate};
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_spelling_means_two_options() {
        for block in BLOCKS {
            let mut seen: HashSet<&str> = block.wrapper.into_iter().collect();
            for (name, _) in block.options().flat_map(Opt::spellings) {
                assert!(seen.insert(name), "{}: {name}", block.name);
            }
        }
    }

    #[test]
    fn defaults_fit_their_own_kinds() {
        for opt in BLOCKS.iter().flat_map(|block| block.options()) {
            for default in [opt.old_default, opt.new_default] {
                let Default::Json(text) = default else { continue };
                let node = json::parse_value(text).unwrap_or_else(|| panic!("{}: {text}", opt.name));
                let value = opt.kind.read(&node).unwrap_or_else(|wrong| panic!("{}: {wrong:?}", opt.name));
                let same = value == node.to_json() || value.as_f64() == node.to_json().as_f64();
                assert!(same, "{}: {value}", opt.name);
            }
        }
    }

    #[test]
    fn what_is_not_honoured_says_why() {
        for opt in BLOCKS.iter().flat_map(|block| block.options()) {
            let (neutral, why) = match opt.fate {
                Fate::Ignored { neutral, why } => (neutral, why),
                Fate::Refused { neutral, why } => (Some(neutral), why),
                Fate::Honoured | Fate::Quiet => continue,
            };
            assert!(!why.is_empty() && !why.ends_with('.'), "{}: {why}", opt.name);
            assert!(neutral.is_none_or(|text| json::parse_value(text).is_some()), "{}", opt.name);
        }
    }
}
