//! `olive auto-opt`, which Olive has given up for `optimize`.

use crate::accelerator::{SYSTEM, Target, check_pair};
use crate::draft::Draft;
use crate::error::VerbError;
use crate::input::{InputKind, InputModel};
use crate::output::OutputOptions;
use crate::unsupported::Unsupported;
use crate::words::{Device, Precision, Provider, Word};
use serde_json::{Map, json};

/// Options of the verb.
#[derive(Debug, Clone)]
pub struct Options {
    pub output: OutputOptions,
    pub device: Option<Device>,
    pub provider: Option<Provider>,
    pub precision: Precision,
    pub use_model_builder: bool,
    /// Rows were named.
    pub data_name: Option<String>,
}

/// Names of the passes.
const BUILD: &str = "model_builder";
const EXTRACT: &str = "extract_adapters";

const SPLITS: &str = "models are not split";
const FIXED: &str = "shapes stay open, as those of the key-value cache";

/// What is refused.
pub const UNSUPPORTED: &[Unsupported] = &[
    Unsupported::flag(
        "use_dynamo_exporter",
        "models are built from their architecture, not traced by PyTorch",
    )
    .instead("`--use_model_builder`"),
    Unsupported::flag("use_qdq_encoding", "weights are written for MatMulNBits"),
    Unsupported::value("num-splits", SPLITS),
    Unsupported::value("cost-model", SPLITS),
    Unsupported::value("memory", SPLITS),
    Unsupported::values("dynamic-to-fixed-shape-dim-param", FIXED),
    Unsupported::values("dynamic-to-fixed-shape-dim-value", FIXED),
    Unsupported::values("mixed-precision-overrides-config", "precisions are not mixed by name"),
    crate::finetune::UNSUPPORTED[0],
];

/// # Errors
/// A model that is no Hugging Face model; a precision or provider that is not there.
pub fn draft(options: &Options, input: &InputModel) -> Result<Draft, VerbError> {
    input.require(&InputKind::HuggingFace, "auto-opt", "a Hugging Face model")?;
    let mut notices = vec!["`auto-opt` is deprecated in favour of `optimize`".to_owned()];
    notices.extend(input.notices.iter().cloned());
    if options.provider == Some(Provider::Cpu) {
        check_pair(options.device, Provider::Cpu)?;
    }
    let target = Target::of(options.device, options.provider)?;
    notices.extend(target.departure(options.device));
    let is_built = match options.precision {
        Precision::Fp32 | Precision::Fp16 | Precision::Bf16 | Precision::Int4 => true,
        Precision::Int8 => options.use_model_builder,
        _ => false,
    };
    if !is_built {
        return Err(VerbError::unsupported(
            format!("--precision {}", options.precision.word()),
            "it needs a quantiser of ONNX models that is not there",
            Some("possible are fp32, fp16, bf16 and int4, and int8 with `--use_model_builder`"),
        ));
    }
    if !options.use_model_builder {
        notices.push(
            "ModelBuilder builds the graph (Olive: PyTorch's exporter, which `--use_model_builder` replaces)"
                .into(),
        );
    }
    if options.data_name.is_some() {
        notices.push("`--data_name` is not used: no pass needs data".into());
    }
    let mut passes = Map::new();
    passes.insert(BUILD.into(), json!({"type": "ModelBuilder", "precision": options.precision.word()}));
    passes.insert(EXTRACT.into(), json!({"type": "ExtractAdapters"}));
    let mut config = json!({
        "input_model": input.json,
        "systems": target.systems(),
        "passes": passes,
        "host": SYSTEM,
        "target": SYSTEM,
    });
    options.output.write_to(&mut config);
    let mut draft = Draft::new(config, notices);
    let passes = &mut draft.effective["passes"];
    passes.as_object_mut().map(|passes| passes.shift_remove(EXTRACT));
    draft.notices.push(if input.has_adapter() {
        passes[BUILD]["adapters"] = json!("separate");
        format!("a run does the work of `{EXTRACT}` in ModelBuilder, with `adapters: separate`")
    } else {
        format!("a run leaves `{EXTRACT}` out: the model has no adapter, so there is nothing to extract")
    });
    Ok(draft)
}
