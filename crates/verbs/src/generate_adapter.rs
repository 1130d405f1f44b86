//! `olive generate-adapter`: the adapters in an ONNX model become inputs of it.

use crate::accelerator::{SYSTEM, Target};
use crate::draft::Draft;
use crate::error::VerbError;
use crate::input::{InputKind, InputModel};
use crate::output::OutputOptions;
use crate::weights_file::WeightsFormat;
use crate::words::{AdapterType, Word};
use serde_json::json;

/// Options of the verb.
#[derive(Debug, Clone)]
pub struct Options {
    pub output: OutputOptions,
    pub adapter_type: AdapterType,
    pub adapter_format: WeightsFormat,
}

/// # Errors
/// A model that is no ONNX model, an adapter that is not of LoRA.
pub fn draft(options: &Options, input: &InputModel) -> Result<Draft, VerbError> {
    input.require(&InputKind::Onnx, "generate-adapter", "an ONNX model")?;
    if options.adapter_type != AdapterType::Lora {
        return Err(VerbError::unsupported(
            format!("--adapter_type {}", options.adapter_type.word()),
            "only adapters of LoRA stay apart from a graph",
            Some("`--adapter_type lora`, the default"),
        ));
    }
    let mut config = json!({
        "input_model": input.json,
        "systems": Target::CPU.systems(),
        "passes": {"e": {
            "type": "ExtractAdapters",
            "save_format": options.adapter_format.word(),
            "adapter_type": options.adapter_type.word(),
        }},
        "host": SYSTEM,
        "target": SYSTEM,
    });
    options.output.write_to(&mut config);
    Ok(Draft::new(config, input.notices.clone()))
}
