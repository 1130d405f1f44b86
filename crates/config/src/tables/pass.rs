//! What all passes have, and which of them only Olive has.

use super::system::SYSTEM;
use crate::evaluators::Evaluator;
use crate::option::{BOOL, Kind, TEXT};
use crate::options;
use crate::statement::OptionValue;
use std::sync::Arc;

/// Stands in documentation for the types of passes that the program has.
pub(crate) const PASS_TYPES: &str = "{passes}";

options! {
    /// What stands beside `config` in every pass.
    pub struct PassSurroundings {
        PASS {
            /// The pass: {passes}, in any case.
            - "type" = TEXT, required();
            /// System that runs this pass; the engine's host if absent.
            - "host" = Kind::Special(&SYSTEM);
            /// What is measured of this pass's result, instead of what the engine's evaluator says.
            - "evaluator" = <Arc<Evaluator> as OptionValue>::KIND;
            /// Whether search leaves this pass alone.
            - "disable_search" = BOOL;
            /// Run the pass again even if its result is in the cache.
            pub clean_run_cache: bool, default("false");
            /// Also save the result of this pass under this name.
            - "output_name" = TEXT,
                ignored("the result of every pass is in the cache; `olive cache ls` lists them");
        }
    }
}

/// What Olive also has or had, so that a pass of its is told from a typing error.
pub const FOREIGN_PASSES: &[&str] = &[
    "AddOliveMetadata",
    "AimetQuantization",
    "AppendPrePostProcessingOps",
    "AutoAWQQuantizer",
    "AutoClip",
    "AutoGPTQ",
    "CaptureLayerAnnotations",
    "CaptureSplitInfo",
    "ComposeOnnxModels",
    "DynamicToFixedShape",
    "EPContextBinaryGenerator",
    "ExtractAdapters",
    "FinetunePass",
    "GptqModel",
    "GptqQuantizer",
    "HqqQuantization",
    "IncDynamicQuantization",
    "IncQuantization",
    "IncStaticQuantization",
    "InputNCHWtoNHWC",
    "InsertBeamSearch",
    "Int4Quantization",
    "LoHa",
    "LoKr",
    "MixedPrecisionOverrides",
    "MobiusBuilder",
    "MoEExpertsDistributor",
    "ModelScopeConversion",
    "NVModelOptGraphSurgery",
    "NVModelOptQuantization",
    "NVModelOptQuantizer",
    "OnnxBnb4Quantization",
    "OnnxConversion",
    "OnnxDAG",
    "OnnxDiscrepancyCheck",
    "OnnxDynamicQuantization",
    "OnnxFloatToFloat16",
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
    "OpenVINOQuantizationWithAccuracy",
    "OpenVINOWeightCompression",
    "OptimumConversion",
    "OptimumMerging",
    "OrtMixedPrecision",
    "OrtPerfTuning",
    "OrtSessionParamsTuning",
    "OrtTransformersOptimization",
    "ParallelPass",
    "PyTorchTensorParallel",
    "QairtEncapsulation",
    "QairtGenAIBuilder",
    "QairtMHA2SHA",
    "QairtPipelinePass",
    "QairtPreparation",
    "QNNContextBinaryGenerator",
    "QNNConversion",
    "QNNModelLibGenerator",
    "QNNPreprocess",
    "QuantizationAwareTraining",
    "Quark",
    "QuarkQuantization",
    "SDLoRA",
    "SNPEConversion",
    "SNPEQuantization",
    "SNPEtoONNXConversion",
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
    "VitisGenerateModelSD",
    "VitisQDQQuantizer",
];
