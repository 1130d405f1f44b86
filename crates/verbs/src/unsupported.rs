//! Options of Olive's that a verb knows, to say by name that they are not supported.

use crate::error::{UnsupportedOption, VerbError};

/// An option that is refused where it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsupported {
    /// Without the dashes in front.
    pub name: &'static str,
    pub takes: Takes,
    /// Completes "`--name` is not supported: ".
    pub why: &'static str,
    /// What to write instead.
    pub instead: Option<&'static str>,
}

/// What stands behind an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    Nothing,
    Value,
    /// Values up to the next option.
    Values,
}

impl Unsupported {
    pub(crate) const fn flag(name: &'static str, why: &'static str) -> Unsupported {
        Unsupported { name, takes: Takes::Nothing, why, instead: None }
    }

    pub(crate) const fn value(name: &'static str, why: &'static str) -> Unsupported {
        Unsupported { name, takes: Takes::Value, why, instead: None }
    }

    pub(crate) const fn values(name: &'static str, why: &'static str) -> Unsupported {
        Unsupported { name, takes: Takes::Values, why, instead: None }
    }

    pub(crate) const fn instead(mut self, instead: &'static str) -> Unsupported {
        self.instead = Some(instead);
        self
    }

    /// The error that names all that were given.
    ///
    /// # Errors
    /// There are some.
    pub fn refuse(given: &[&Unsupported]) -> Result<(), VerbError> {
        if given.is_empty() {
            return Ok(());
        }
        let named = |option: &&Unsupported| UnsupportedOption {
            option: format!("--{}", option.name),
            why: option.why.to_owned(),
            instead: option.instead.map(str::to_owned),
        };
        Err(VerbError::Unsupported(given.iter().map(named).collect()))
    }
}

const PYTHON: &str = "models are read from Hugging Face and ONNX folders, and no Python is run";

/// Options of the input model that verbs for Hugging Face models share.
pub const OF_MODELS: &[Unsupported] = &[
    Unsupported::value("model_script", PYTHON),
    Unsupported::value("script_dir", PYTHON),
    Unsupported::values("test", "the model itself is used, not a small stand-in for it"),
];

const EVALUATE: &str = "tasks are measured by `olive evaluate`";

/// Options of Olive's `benchmark`, which measures tasks of lm-eval.
pub const TASKS: &[Unsupported] = &[
    Unsupported::values("tasks", EVALUATE),
    Unsupported::value("model_name_or_path", EVALUATE),
    Unsupported::value("output_path", EVALUATE),
    Unsupported::value("batch_size", EVALUATE),
    Unsupported::value("max_length", EVALUATE),
    Unsupported::value("limit", EVALUATE),
    Unsupported::value("backend", EVALUATE),
    Unsupported::value("task", EVALUATE),
    Unsupported::flag("trust_remote_code", EVALUATE),
    Unsupported::value("adapter_path", EVALUATE),
    Unsupported::value("log_level", EVALUATE),
    Unsupported::flag("save_config_file", EVALUATE),
    Unsupported::flag("dry_run", EVALUATE),
    Unsupported::flag("disable_telemetry", EVALUATE),
];
