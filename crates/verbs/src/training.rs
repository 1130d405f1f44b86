//! Hugging Face's training arguments after `finetune`: `--max_steps 7 --learning_rate=1e-3`.
//!
//! Which there are, and what becomes of them, is said by the configuration's table of `training_args`.

use crate::error::{UnsupportedOption, VerbError};
use olive_config::option::{Fate, Kind, Opt};
use olive_config::training::TRAINING_ARGS;
use serde_json::{Map, Value, json};

/// An argument as it stands on the command line.
#[derive(Debug, Clone)]
pub struct TrainingArgument {
    pub option: &'static Opt,
    pub text: String,
}

/// What transformers' command line had and has no more, with what to write instead.
const GONE: &[(&str, &str)] = &[
    ("group_by_length", "`--train_sampling_strategy group_by_length`"),
    ("warmup_ratio", "`--warmup_steps` with a share of the steps: 0.03"),
    ("logging_dir", "`--output_dir`"),
    ("per_gpu_train_batch_size", "`--per_device_train_batch_size`"),
    ("per_gpu_eval_batch_size", "`--per_device_eval_batch_size`"),
    ("no_cuda", "`--use_cpu`, or rather `--device cpu`"),
    ("adafactor", "`--optim`"),
];

/// All that the table has, but for what the verb has options of its own for.
pub fn arguments() -> impl Iterator<Item = &'static Opt> {
    const OF_THE_VERB: [&str; 1] = ["log_level"];
    TRAINING_ARGS.options().filter(|option| !OF_THE_VERB.contains(&option.name))
}

/// Whether the argument changes what is computed here.
pub fn is_honoured(option: &Opt) -> bool {
    option.fate == Fate::Honoured && !GONE.iter().any(|(name, _)| *name == option.name)
}

/// `training_args`, with the types that transformers gives them.
///
/// # Errors
/// A value of another type; all arguments that ask for what is not done here, by their names.
pub(crate) fn read(given: &[TrainingArgument]) -> Result<Map<String, Value>, VerbError> {
    let mut arguments = Map::new();
    let mut refused = Vec::new();
    for TrainingArgument { option, text } in given {
        let name = option.name;
        let value = value(option.kind, text).map_err(|expected| VerbError::Value {
            option: format!("--{name} {text}"),
            reason: format!("expected {expected}"),
            hint: None,
        })?;
        match objection(option, &value) {
            None => drop(arguments.insert(name.to_owned(), value)),
            Some((why, instead)) => refused.push(UnsupportedOption {
                option: format!("--{name}"),
                why: why.to_owned(),
                instead: instead.map(str::to_owned),
            }),
        }
    }
    if refused.is_empty() { Ok(arguments) } else { Err(VerbError::Unsupported(refused)) }
}

/// Why the argument is not taken, and what to write instead.
fn objection(option: &Opt, value: &Value) -> Option<(&'static str, Option<&'static str>)> {
    if let Some((_, instead)) = GONE.iter().find(|(name, _)| *name == option.name) {
        return Some(("transformers 5 has it no more", Some(*instead)));
    }
    let is = |neutral: &str| serde_json::from_str(neutral).is_ok_and(|neutral: Value| same(&neutral, value));
    match option.fate {
        Fate::Honoured | Fate::Quiet => None,
        Fate::Ignored { neutral, why } => (!neutral.is_some_and(is)).then_some((why, None)),
        Fate::Refused { neutral, why } => (!is(neutral)).then_some((why, None)),
    }
}

fn same(a: &Value, b: &Value) -> bool {
    a == b || a.as_f64().zip(b.as_f64()).is_some_and(|(a, b)| a == b)
}

/// `Err` completes "expected ".
fn value(kind: Kind, text: &str) -> Result<Value, &'static str> {
    match kind {
        Kind::Bool => boolean(text).map(Value::Bool).ok_or("true or false"),
        Kind::Int { .. } | Kind::IntChoice(_) => {
            text.parse::<i64>().map(Value::from).map_err(|_| "a whole number")
        }
        Kind::Number(_) => {
            let number = text.parse().ok().and_then(serde_json::Number::from_f64);
            number.map(Value::Number).ok_or("a number")
        }
        // transformers takes the text of an object, and so does the configuration's reader.
        Kind::Block(_) => match serde_json::from_str(text) {
            Ok(Value::Object(_)) => Ok(json!(text)),
            _ => Err("an object as JSON, for example '{\"num_cycles\": 2}'"),
        },
        Kind::Any => {
            let scalar = serde_json::from_str(text).ok();
            Ok(scalar.filter(|value: &Value| value.is_number() || value.is_boolean()).unwrap_or(json!(text)))
        }
        Kind::Text | Kind::Choice(_) | Kind::Texts | Kind::Blocks(_) | Kind::Special(_) => Ok(json!(text)),
    }
}

/// The words that transformers and pydantic take for booleans.
pub fn boolean(text: &str) -> Option<bool> {
    match text.to_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "on" | "1" => Some(true),
        "false" | "f" | "no" | "n" | "off" | "0" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_texts(given: &[(&str, &str)]) -> Result<Value, VerbError> {
        let argument = |(name, text): &(&str, &str)| TrainingArgument {
            option: arguments().find(|option| option.name == *name).expect("an argument"),
            text: (*text).to_owned(),
        };
        read(&given.iter().map(argument).collect::<Vec<_>>()).map(Value::Object)
    }

    #[test]
    fn values_have_the_types_of_the_table() {
        let read = read_texts(&[
            ("max_steps", "7"),
            ("warmup_steps", "2"),
            ("learning_rate", "1e-3"),
            ("gradient_checkpointing", "No"),
            ("dataloader_drop_last", "true"),
            ("lr_scheduler_kwargs", "{\"num_cycles\": 2}"),
            ("dataloader_num_workers", "4"),
            ("bf16", "false"),
        ]);
        let expected =
            r#"{"max_steps":7,"warmup_steps":2.0,"learning_rate":0.001,"gradient_checkpointing":false,"#
                .to_owned()
                + r#""dataloader_drop_last":true,"lr_scheduler_kwargs":"{\"num_cycles\": 2}","dataloader_num_workers":4,"bf16":false}"#;
        assert_eq!(read.unwrap().to_string(), expected);
        for (name, wrong) in
            [("max_steps", "7.5"), ("learning_rate", "fast"), ("gradient_checkpointing", "maybe")]
        {
            let error = read_texts(&[(name, wrong)]).unwrap_err().to_string();
            assert!(error.contains(&format!("--{name} {wrong}")), "{error}");
        }
    }

    #[test]
    fn what_is_not_done_is_refused_by_all_its_names() {
        let given =
            [("bf16", "true"), ("group_by_length", "true"), ("label_smoothing_factor", "0.1"), ("seed", "3")];
        let error = read_texts(&given).unwrap_err();
        for name in ["--bf16", "--group_by_length", "--label_smoothing_factor"] {
            assert!(error.to_string().contains(name), "{error}");
        }
        assert!(!error.to_string().contains("--seed"), "{error}");
        let hint = olive_core::Fault::hint(&error).unwrap();
        assert!(hint.contains("--train_sampling_strategy group_by_length"), "{hint}");
    }
}
