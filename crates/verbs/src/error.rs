//! Command lines that mean nothing here.

use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum VerbError {
    /// Olive has it. All that was given, each with the reason.
    #[error("{}", lines(.0))]
    Unsupported(Vec<UnsupportedOption>),
    #[error("`-m` (`--model_name_or_path`) is missing: which model?")]
    NoModel,
    #[error("`-m {given}`: {reason}")]
    Model { given: String, reason: String, hint: &'static str },
    #[error("`olive {verb}` takes {wanted}, and `-m {given}` is {found}")]
    ModelKind { verb: &'static str, wanted: &'static str, given: String, found: String },
    #[error("`{option}`: {reason}")]
    Value { option: String, reason: String, hint: Option<String> },
    #[error("`{one}` and `{other}` contradict each other")]
    Contradiction { one: String, other: String, hint: String },
    #[error("`{option}` needs `{other}`")]
    Needs { option: String, other: String, hint: String },
    #[error("there is no pass `{given}`")]
    NoPass { given: String, hint: String },
    #[error("the adapter `{}` cannot be converted: {reason}", path.display())]
    Adapter { path: PathBuf, reason: String, hint: &'static str },
    #[error("`-m {given}`: there is nothing to extract, the model has no LoRA matrices of its own")]
    NothingToExtract { given: String },
}

/// An option, perhaps with its value, that is not supported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsupportedOption {
    pub option: String,
    pub why: String,
    /// What to write instead.
    pub instead: Option<String>,
}

impl VerbError {
    pub(crate) fn unsupported(
        option: impl Into<String>,
        why: impl Into<String>,
        instead: Option<&str>,
    ) -> VerbError {
        let instead = instead.map(str::to_owned);
        VerbError::Unsupported(vec![UnsupportedOption { option: option.into(), why: why.into(), instead }])
    }
}

fn lines(options: &[UnsupportedOption]) -> String {
    let line = |option: &UnsupportedOption| format!("`{}` is not supported: {}", option.option, option.why);
    options.iter().map(line).collect::<Vec<_>>().join("\n")
}

impl olive_core::Fault for VerbError {
    fn hint(&self) -> Option<String> {
        match self {
            VerbError::Unsupported(options) => {
                let mut hints: Vec<&str> =
                    options.iter().filter_map(|option| option.instead.as_deref()).collect();
                hints.dedup();
                (!hints.is_empty()).then(|| hints.join("; "))
            }
            VerbError::NoModel => Some(
                "a folder with a Hugging Face or ONNX model, an `.onnx` file, a hub id, or what an earlier command wrote"
                    .into(),
            ),
            VerbError::Model { hint, .. } | VerbError::Adapter { hint, .. } => Some((*hint).to_owned()),
            VerbError::Value { hint, .. } => hint.clone(),
            VerbError::Contradiction { hint, .. }
            | VerbError::Needs { hint, .. }
            | VerbError::NoPass { hint, .. } => Some(hint.clone()),
            VerbError::NothingToExtract { .. } => Some(
                "an adapter that `olive finetune` or PEFT wrote is converted with `olive convert-adapters -a FOLDER`".into(),
            ),
            VerbError::ModelKind { .. } => None,
        }
    }

    fn exit_code(&self) -> u8 {
        2
    }
}
