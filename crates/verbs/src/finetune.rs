//! `olive finetune`: LoRA or QLoRA on rows of text.

use crate::accelerator::{SYSTEM, Target};
use crate::draft::Draft;
use crate::error::VerbError;
use crate::input::{InputKind, InputModel};
use crate::output::OutputOptions;
use crate::rows::{RowOptions, TextSource};
use crate::training::{self, TrainingArgument};
use crate::unsupported::Unsupported;
use crate::words::{Device, Method, TorchType, Word};
use serde_json::{Map, Value, json};

/// Options of the verb.
#[derive(Debug, Clone)]
pub struct Options {
    pub output: OutputOptions,
    pub device: Option<Device>,
    pub method: Method,
    pub lora_r: usize,
    pub lora_alpha: usize,
    /// Separated by commas.
    pub target_modules: Option<String>,
    pub torch_dtype: TorchType,
    /// The rows that are trained on.
    pub rows: RowOptions,
    pub eval_subset: Option<String>,
    pub eval_split: Option<String>,
    /// The batch size was given, and is not the default.
    pub batch_size: Option<usize>,
    pub training: Vec<TrainingArgument>,
}

/// What is refused.
pub const UNSUPPORTED: &[Unsupported] = &[Unsupported::values(
    "input_cols",
    "text is made of the columns that `--text_field` or `--text_template` name",
)
.instead("`--text_template '{prompt} {response}'` joins columns")];

const BATCH_SIZE: &str = "per_device_train_batch_size";

/// # Errors
/// A model that is no Hugging Face model; rows or arguments that mean nothing here.
pub fn draft(options: &Options, input: &InputModel) -> Result<Draft, VerbError> {
    input.require(&InputKind::HuggingFace, "finetune", "a Hugging Face model")?;
    let target = Target::of(options.device, None)?;
    let mut notices = input.notices.clone();
    let data_configs = data_configs(options, &mut notices)?;
    let pass = pass(options, data_configs.len() > 1, &mut notices)?;
    let mut config = json!({
        "systems": target.systems(),
        "data_configs": data_configs,
        "passes": {"f": pass},
        "host": SYSTEM,
        "target": SYSTEM,
        "input_model": input.json,
    });
    options.output.write_to(&mut config);
    Ok(Draft::new(config, notices))
}

/// The rows to train on, and those to evaluate on, if there are some.
fn data_configs(options: &Options, notices: &mut Vec<String>) -> Result<Vec<Value>, VerbError> {
    let mut configs = vec![options.rows.data_config("train_data")?];
    let split = options.eval_split.as_ref().filter(|split| !split.is_empty());
    match (split, &options.eval_subset) {
        (Some(split), subset) => {
            let subset = subset.clone().or_else(|| options.rows.subset.clone());
            let held_out = RowOptions { split: Some(split.clone()), subset, ..options.rows.clone() };
            configs.push(held_out.data_config("eval_data")?);
        }
        (None, Some(_)) => {
            return Err(VerbError::Needs {
                option: "--eval_subset".into(),
                other: "--eval_split".into(),
                hint: "`--eval_split` says which rows are held out, for example `train[90%:]`".into(),
            });
        }
        (None, None) => {}
    }
    if options.rows.text.source == TextSource::Unsaid {
        notices.push(
            "none of `--text_field`, `--text_template` and `--use_chat_template` is given: the text is the column `text`, \
             or the conversations that the columns hold (Olive would fail)"
                .into(),
        );
    }
    Ok(configs)
}

fn pass(options: &Options, evaluates: bool, notices: &mut Vec<String>) -> Result<Value, VerbError> {
    let mut arguments = training::read(&options.training)?;
    batch_size(options.batch_size, &mut arguments, notices);
    let mut pass = json!({
        "train_data_config": "train_data",
        "type": options.method.word(),
        "torch_dtype": options.torch_dtype.word(),
        "training_args": arguments,
        "r": options.lora_r,
        "alpha": options.lora_alpha,
    });
    if let Some(modules) = &options.target_modules {
        pass["target_modules"] = modules.split(',').map(str::trim).collect();
        if options.method == Method::Qlora {
            notices.push("`--target_modules` counts for QLoRA as well (Olive drops it)".into());
        }
    }
    if options.method == Method::Qlora {
        pass["save_quant_config"] = json!(false);
    }
    if evaluates {
        pass["eval_data_config"] = json!("eval_data");
    }
    Ok(pass)
}

/// In Olive `--batch_size` changes nothing that training reads.
fn batch_size(given: Option<usize>, arguments: &mut Map<String, Value>, notices: &mut Vec<String>) {
    let Some(size) = given else { return };
    if arguments.contains_key(BATCH_SIZE) {
        notices.push(format!("`--batch_size` is not used: `--{BATCH_SIZE}` is given"));
        return;
    }
    arguments.insert(BATCH_SIZE.into(), json!(size));
    notices.push(format!(
        "`--batch_size {size}` is the batch size of the training (in Olive it changes nothing)"
    ));
}
