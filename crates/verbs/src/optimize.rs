//! `olive optimize`: an ONNX model for a provider and a precision.

use crate::accelerator::{SYSTEM, Target, check_pair};
use crate::builder_options;
use crate::draft::Draft;
use crate::error::VerbError;
use crate::input::{InputKind, InputModel};
use crate::output::OutputOptions;
use crate::unsupported::Unsupported;
use crate::words::{Device, Exporter, Precision, Provider, Word};
use serde_json::{Map, Value, json};

/// Options of the verb.
#[derive(Debug, Clone)]
pub struct Options {
    pub output: OutputOptions,
    pub provider: Provider,
    pub device: Option<Device>,
    pub precision: Precision,
    pub exporter: Option<Exporter>,
    /// Names of surgeons.
    pub surgeries: Vec<String>,
    /// Weights per scale, or -1 for one scale per channel.
    pub block_size: Option<i64>,
    /// `key=value,key=value`.
    pub extra_mb_options: Option<String>,
}

const SPLITS: &str = "models are not split";
const FIXED: &str = "shapes stay open, as those of the key-value cache";
const QNN: &str = "nothing is compiled for QNN";

/// What is refused.
pub const UNSUPPORTED: &[Unsupported] = &[
    Unsupported::value("act_precision", "only weights are quantised"),
    Unsupported::value("num_split", SPLITS),
    Unsupported::value("memory", SPLITS),
    Unsupported::value("dim_param", FIXED),
    Unsupported::value("dim_value", FIXED),
    Unsupported::flag("use_qdq_format", "this needs the pass MatMulNBitsToQDQ")
        .instead("`--extra_mb_options use_qdq=true` writes QDQ nodes from the start"),
    Unsupported::flag("enable_aot", QNN),
    Unsupported::value("qnn_env_path", QNN),
];

/// Weights per scale that ModelBuilder knows; without a choice it takes the second.
const BLOCK_SIZES: [i64; 5] = [16, 32, 64, 128, 256];
/// One scale per channel.
const PER_CHANNEL: i64 = -1;

/// # Errors
/// A provider, a precision or an exporter that is not there; options that contradict each other.
pub fn draft(options: &Options, input: &InputModel) -> Result<Draft, VerbError> {
    check_pair(options.device, options.provider)?;
    let target = Target::of(options.device, Some(options.provider))?;
    // Olive leaves the device out for the CPU.
    let device = target.device.filter(|device| *device != Device::Cpu || options.device.is_some());
    check_block_size(options.block_size)?;
    let mut notices = input.notices.clone();
    let mut passes = match &input.kind {
        InputKind::HuggingFace => hugging_face(options, &mut notices)?,
        InputKind::Onnx => onnx(options)?,
        InputKind::Other(_) => return Err(input.is_not("optimize", "a Hugging Face or an ONNX model")),
    };
    if !options.surgeries.is_empty() {
        let surgeries: Vec<Value> = options.surgeries.iter().map(|name| json!({"surgeon": name})).collect();
        let surgeries =
            json!({"type": "GraphSurgeries", "surgeries": surgeries, "save_as_external_data": "true"});
        // They come before the passes that change weights of ONNX models.
        let place = passes
            .keys()
            .position(|name| name.starts_with("onnx_blockwise") || name.starts_with("onnx_float"));
        passes.shift_insert(place.unwrap_or(passes.len()), "graph_surgeries".into(), surgeries);
    }
    let mut config = json!({
        "input_model": input.json,
        "passes": passes,
        "systems": Target { device, ..target }.systems(),
        "data_configs": [],
        "target": SYSTEM,
    });
    options.output.write_to(&mut config);
    Ok(Draft::new(config, notices))
}

fn check_block_size(size: Option<i64>) -> Result<(), VerbError> {
    let Some(size) = size.filter(|size| *size != PER_CHANNEL && !BLOCK_SIZES.contains(size)) else {
        return Ok(());
    };
    let sizes = BLOCK_SIZES.map(|size| size.to_string()).join(", ");
    Err(VerbError::Value {
        option: format!("--block_size {size}"),
        reason: format!("it is none of {sizes}"),
        hint: Some("-1 is one scale per channel".into()),
    })
}

fn no_precision(options: &Options, what: &str, instead: &str) -> VerbError {
    let option = format!("--precision {}", options.precision.word());
    VerbError::unsupported(option, what, Some(instead))
}

/// Quantised by Gptq where four bits are asked for, then exported by ModelBuilder.
fn hugging_face(options: &Options, notices: &mut Vec<String>) -> Result<Map<String, Value>, VerbError> {
    if let Some(exporter) = options.exporter.filter(|exporter| *exporter != Exporter::ModelBuilder) {
        return Err(VerbError::unsupported(
            format!("--exporter {}", exporter.word()),
            "models are built from their architecture, not traced by PyTorch",
            Some("`--exporter model_builder`, the default"),
        ));
    }
    let mut passes = Map::new();
    match options.precision {
        Precision::Int4 | Precision::Uint4 => {
            let mut gptq = json!({"type": "Gptq", "bits": 4, "sym": options.precision == Precision::Int4});
            if let Some(size) = options.block_size {
                gptq["group_size"] = json!(size);
            }
            passes.insert("gptq".into(), gptq);
        }
        Precision::Fp32 | Precision::Fp16 | Precision::Bf16 => {}
        _ => {
            let instead = "possible are fp32, fp16, bf16, int4 and uint4; ModelBuilder itself writes int8: \
                           `olive run-pass --pass-name ModelBuilder --pass-config '{\"precision\": \"int8\"}'`";
            return Err(no_precision(options, "it needs activations to be quantised", instead));
        }
    }
    if options.precision == Precision::Uint4 {
        notices.push("`--precision uint4` is int4 with zero points: ModelBuilder gets `int4` (Olive: a word that it does not know)".into());
    }
    passes.insert("model_builder".into(), model_builder(options)?);
    if options.provider == Provider::WebGpu {
        // The logits from float16 (10 in ONNX) to float32 (1).
        let converter = json!({
            "type": "OnnxIODataTypeConverter",
            "name_pattern": "logits",
            "source_dtype": 10,
            "target_dtype": 1,
        });
        passes.insert("onnx_io_datatype_converter".into(), converter);
    }
    Ok(passes)
}

fn model_builder(options: &Options) -> Result<Value, VerbError> {
    let four_bits = options.precision.bits() == Some(4);
    let precision = if four_bits { Precision::Int4 } else { options.precision };
    let mut pass = json!({"type": "ModelBuilder", "precision": precision.word()});
    if four_bits {
        let size = options.block_size.filter(|size| *size != PER_CHANNEL).unwrap_or(BLOCK_SIZES[1]);
        pass["int4_block_size"] = json!(size);
        pass["int4_accuracy_level"] = json!(4);
        pass["int4_op_types_to_quantize"] = json!(["MatMul", "Gather"]);
    }
    let extra = options.extra_mb_options.as_deref().map(builder_options::read).transpose()?;
    pass["extra_options"] = Value::Object(extra.unwrap_or_default());
    Ok(pass)
}

/// A graph is cleaned up, and its weights are changed.
fn onnx(options: &Options) -> Result<Map<String, Value>, VerbError> {
    let mut passes = Map::new();
    passes.insert("onnx_peephole_optimizer".into(), json!({"type": "OnnxPeepholeOptimizer"}));
    match options.precision {
        Precision::Fp32 => {}
        Precision::Int4 => {
            let mut quantiser = json!({"type": "OnnxBlockWiseRtnQuantization"});
            if options.block_size == Some(PER_CHANNEL) {
                quantiser["axis"] = json!(0);
            }
            if let Some(size) = options.block_size {
                quantiser["block_size"] = json!(size);
            }
            passes.insert("onnx_blockwise_rtn_quantization".into(), quantiser);
        }
        Precision::Fp16 => {
            passes.insert("onnx_float_to_float16".into(), json!({"type": "OnnxFloatToFloat16"}));
        }
        _ => {
            return Err(no_precision(
                options,
                "ONNX models are not brought to it",
                "possible are fp32, fp16 and int4",
            ));
        }
    }
    Ok(passes)
}
