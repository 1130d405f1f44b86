//! `olive capture-onnx-graph`: an ONNX model of a Hugging Face model.

use crate::accelerator::{SYSTEM, Target};
use crate::builder_options;
use crate::draft::Draft;
use crate::error::VerbError;
use crate::input::{InputKind, InputModel};
use crate::output::OutputOptions;
use crate::unsupported::Unsupported;
use crate::words::{Device, Precision, Word};
use serde_json::{Value, json};

/// Options of the verb.
#[derive(Debug, Clone)]
pub struct Options {
    pub output: OutputOptions,
    /// `--conversion_device`, and so the device that the model is for.
    pub device: Device,
    pub use_model_builder: bool,
    pub precision: Precision,
    pub int4_block_size: Option<u16>,
    /// 0 to 4.
    pub int4_accuracy_level: Option<u8>,
    pub exclude_embeds: bool,
    pub exclude_lm_head: bool,
    pub enable_cuda_graph: Option<bool>,
    /// `key=value,key=value`.
    pub extra_mb_options: Option<String>,
}

const TRACED: &str = "models are built from their architecture, not traced by PyTorch";
const BUILDER: &str = "`--use_model_builder`";

/// What is refused.
pub const UNSUPPORTED: &[Unsupported] = &[
    Unsupported::flag("use_dynamo_exporter", TRACED).instead(BUILDER),
    Unsupported::flag("use_mobius_builder", "the library mobius-ai is not there").instead(BUILDER),
    Unsupported::value("fixed_param_dict", "shapes stay open, as those of the key-value cache")
        .instead(BUILDER),
    Unsupported::value("past_key_value_name", TRACED).instead(BUILDER),
    Unsupported::value("torch_dtype", TRACED).instead("`--use_model_builder` with `--precision`"),
    Unsupported::value("target_opset", TRACED).instead(BUILDER),
    Unsupported::value("model_variant", "models of pictures are not there"),
];

/// The precisions that Olive offers here.
pub const PRECISIONS: &[Precision] = &[Precision::Fp16, Precision::Fp32, Precision::Int4, Precision::Bf16];

/// # Errors
/// PyTorch's exporter, which is meant where nothing is said; a model that is no Hugging Face model.
pub fn draft(options: &Options, input: &InputModel) -> Result<Draft, VerbError> {
    input.require(&InputKind::HuggingFace, "capture-onnx-graph", "a Hugging Face model")?;
    if !options.use_model_builder {
        return Err(VerbError::unsupported(
            "capture-onnx-graph without --use_model_builder",
            TRACED,
            Some(BUILDER),
        ));
    }
    let mut notices = input.notices.clone();
    let target = Target::of(Some(options.device), None)?;
    let half = matches!(options.precision, Precision::Fp16 | Precision::Bf16);
    if half && options.device == Device::Cpu {
        notices.push(format!(
            "{0} on a CPU is computed in fp32: `--precision fp32` or `int4` is for CPUs, `--conversion_device gpu` makes a \
             model in {0} for CUDA (Olive makes one for CUDA without being asked)",
            options.precision.word()
        ));
    }
    let mut config = json!({
        "systems": target.systems(),
        "passes": {"m": model_builder(options)?},
        "host": SYSTEM,
        "target": SYSTEM,
        "input_model": input.json,
    });
    options.output.write_to(&mut config);
    Ok(Draft::new(config, notices))
}

fn model_builder(options: &Options) -> Result<Value, VerbError> {
    let mut pass = json!({
        "type": "ModelBuilder",
        "metadata_only": false,
        "precision": options.precision.word(),
        "exclude_embeds": options.exclude_embeds,
        "exclude_lm_head": options.exclude_lm_head,
    });
    if let Some(enabled) = options.enable_cuda_graph {
        pass["enable_cuda_graph"] = json!(enabled);
    }
    if let Some(extra) = &options.extra_mb_options {
        pass["extra_options"] = Value::Object(builder_options::read(extra)?);
    }
    if let Some(size) = options.int4_block_size {
        pass["int4_block_size"] = json!(size);
    }
    if let Some(level) = options.int4_accuracy_level {
        pass["int4_accuracy_level"] = json!(level);
    }
    Ok(pass)
}
