//! `olive quantize`: weights of 4 or 8 bits.

use crate::accelerator::{SYSTEM, Target};
use crate::draft::Draft;
use crate::error::VerbError;
use crate::input::{InputKind, InputModel};
use crate::output::OutputOptions;
use crate::rows::{RowOptions, TextOptions};
use crate::unsupported::Unsupported;
use crate::words::{Algorithm, Precision, Word};
use serde_json::{Map, Value, json};

/// Options of the verb.
#[derive(Debug, Clone)]
pub struct Options {
    pub output: OutputOptions,
    pub algorithm: Algorithm,
    pub precision: Precision,
    /// Rows to calibrate on.
    pub rows: Option<RowOptions>,
    /// How such rows become tokens.
    pub text: TextOptions,
}

/// What is refused.
pub const UNSUPPORTED: &[Unsupported] = &[
    Unsupported::flag("use_qdq_encoding", "weights are written for MatMulNBits"),
    Unsupported::value("act_precision", "only weights are quantised"),
    crate::finetune::UNSUPPORTED[0],
];

const DATA: &str = "default_data_config";

/// # Errors
/// A quantiser of another library.
pub fn check_implementation(name: &str) -> Result<(), VerbError> {
    if name == "olive" {
        return Ok(());
    }
    let why = "the quantisers of other libraries are not there";
    Err(VerbError::unsupported(
        format!("--implementation {name}"),
        why,
        Some("`--implementation olive`, the default"),
    ))
}

/// # Errors
/// A precision or an algorithm that is not there for this kind of model.
pub fn draft(options: &Options, input: &InputModel) -> Result<Draft, VerbError> {
    let mut notices = input.notices.clone();
    let passes = match &input.kind {
        InputKind::HuggingFace => hugging_face(options, &mut notices)?,
        InputKind::Onnx => onnx(options)?,
        InputKind::Other(_) => return Err(input.is_not("quantize", "a Hugging Face or an ONNX model")),
    };
    let mut config = json!({
        "input_model": input.json,
        "systems": Target::CPU.systems(),
        "data_configs": [data_config(options)?],
        "host": SYSTEM,
        "target": SYSTEM,
        "passes": passes,
    });
    options.output.write_to(&mut config);
    Ok(Draft::new(config, notices))
}

/// Without rows Olive writes the entry nevertheless.
fn data_config(options: &Options) -> Result<Value, VerbError> {
    match &options.rows {
        Some(rows) => rows.data_config(DATA),
        None => options.text.data_config(DATA, Map::new()),
    }
}

/// Bits of the weights, which Olive does not pass on.
fn bits(options: &Options) -> Result<u8, VerbError> {
    options.precision.bits().ok_or_else(|| {
        let option = format!("--precision {}", options.precision.word());
        VerbError::unsupported(
            option,
            "no quantiser here has it",
            Some("possible are int4, int8, uint4 and uint8"),
        )
    })
}

fn hugging_face(options: &Options, notices: &mut Vec<String>) -> Result<Map<String, Value>, VerbError> {
    let bits = bits(options)?;
    let gptq = || match &options.rows {
        Some(_) => json!({"type": "Gptq", "bits": bits, "data_config": DATA}),
        None => json!({"type": "Gptq", "bits": bits}),
    };
    let mut passes = Map::new();
    match options.algorithm {
        Algorithm::Rtn => drop(passes.insert("rtn".into(), json!({"type": "Rtn", "bits": bits}))),
        Algorithm::KQuant => drop(passes.insert("kquant".into(), json!({"type": "KQuant", "bits": bits}))),
        Algorithm::Gptq => drop(passes.insert("gptq".into(), gptq())),
        Algorithm::QuaRot => {
            passes.insert("quarot".into(), json!({"type": "QuaRot"}));
            passes.insert("gptq".into(), gptq());
            notices.push(
                "QuaRot rotates the weights before Gptq rounds them (Olive leaves the rotation out)".into(),
            );
        }
        other => return Err(no_algorithm(other, "gptq, kquant, quarot and rtn")),
    }
    let uses_rows = matches!(options.algorithm, Algorithm::Gptq | Algorithm::QuaRot);
    match (&options.rows, uses_rows) {
        (Some(_), true) => {
            notices.push("Gptq calibrates on the rows of `--data_name` (in Olive it does not)".into())
        }
        (Some(_), false) => {
            let algorithm = options.algorithm.word();
            notices.push(format!("`--data_name` is not used: `--algorithm {algorithm}` needs no data"));
        }
        (None, _) => {}
    }
    if bits != 4 {
        notices
            .push(format!("`--precision {}` is passed on: {bits} bits (Olive: 4)", options.precision.word()));
    }
    Ok(passes)
}

fn onnx(options: &Options) -> Result<Map<String, Value>, VerbError> {
    let possible = "of ONNX models possible are `--algorithm rtn --precision int4` and `--algorithm kquant` with int4 or int8";
    let (name, pass) = match (options.algorithm, options.precision) {
        (Algorithm::Rtn, Precision::Int4) => {
            ("OnnxBlockWiseRtnQuantization", json!({"type": "OnnxBlockWiseRtnQuantization"}))
        }
        (Algorithm::KQuant, Precision::Int4 | Precision::Int8) => (
            "OnnxKQuantQuantization",
            json!({"type": "OnnxKQuantQuantization", "bits": options.precision.bits()}),
        ),
        (Algorithm::Rtn | Algorithm::KQuant, precision) => {
            let option = format!("--precision {}", precision.word());
            return Err(VerbError::unsupported(option, "no quantiser of ONNX models has it", Some(possible)));
        }
        (algorithm, _) => return Err(no_algorithm(algorithm, "rtn and kquant")),
    };
    Ok(Map::from_iter([(name.to_lowercase(), pass)]))
}

fn no_algorithm(algorithm: Algorithm, possible: &str) -> VerbError {
    let option = format!("--algorithm {}", algorithm.word());
    VerbError::unsupported(option, "no quantiser here has it", Some(&format!("possible are {possible}")))
}
