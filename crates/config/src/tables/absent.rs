//! Passes of Olive's that are left out on purpose, and what to do instead.

/// What stands in a hint about passes that are not implemented.
struct Absence {
    passes: &'static [&'static str],
    instead: &'static str,
}

const ABSENCES: &[Absence] = &[
    Absence {
        passes: &["OnnxConversion", "OptimumConversion", "OrtTransformersOptimization"],
        instead: "ModelBuilder makes the optimised ONNX model straight from the Hugging Face model: put it in their place, \
                  without `metadata_only`",
    },
    Absence {
        passes: &["LoHa", "LoKr"],
        instead: "only low-rank adapters are trained: take LoRA, DoRA or QLoRA",
    },
    Absence {
        passes: &["AutoAWQQuantizer", "GptqQuantizer", "GptqModel"],
        instead: "it needs Python packages that need CUDA; Gptq, Rtn and KQuant quantise a checkpoint without them",
    },
    Absence {
        passes: &["SparseGPT", "SliceGPT"],
        instead: "models are not pruned here; `int4` or `int8` of ModelBuilder makes them smaller",
    },
    Absence {
        passes: &[
            "OnnxStaticQuantization",
            "SplitModel",
            "StaticLLM",
            "EPContextBinaryGenerator",
            "ComposeOnnxModels",
            "CaptureSplitInfo",
        ],
        instead: "it prepares models for NPUs with fixed shapes; targets here are CPU, CUDA, DML, WebGPU and NvTensorRTRTX",
    },
];

/// Beginnings of the names of passes that need the tools of one vendor.
const VENDORS: &[&str] = &[
    "Aimet",
    "NVModelOpt",
    "OpenVINO",
    "Qairt",
    "QNN",
    "Quark",
    "SNPE",
    "TensorRT",
    "TorchTRT",
    "Trt",
    "Vitis",
];
const VENDOR: &str =
    "it needs the tools of a vendor; ModelBuilder makes models for CPU, CUDA, DML, WebGPU and NvTensorRTRTX";

/// What to do instead of a pass that is left out on purpose. `None`: nothing is known of it but that it is not there.
pub(crate) fn instead_of(pass: &str) -> Option<&'static str> {
    let same = |known: &&str| known.eq_ignore_ascii_case(pass);
    let listed = ABSENCES.iter().find(|absence| absence.passes.iter().any(same));
    let begins = |vendor: &&str| {
        pass.get(..vendor.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(vendor))
    };
    listed.map(|absence| absence.instead).or_else(|| VENDORS.iter().any(begins).then_some(VENDOR))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::FOREIGN_PASSES;

    #[test]
    fn every_pass_of_the_table_is_one_of_olives() {
        for pass in ABSENCES.iter().flat_map(|absence| absence.passes) {
            assert!(FOREIGN_PASSES.contains(pass), "{pass}");
        }
        for vendor in VENDORS {
            assert!(FOREIGN_PASSES.iter().any(|pass| pass.starts_with(vendor)), "{vendor}");
        }
    }
}
