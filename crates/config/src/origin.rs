//! In which grammar a block is written, and where the value of an option comes from.

use serde::Serialize;

/// The grammar a block is written in, which decides its defaults (`Old`: up to Olive 0.6; `New`: since 0.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Era {
    Old,
    #[default]
    New,
}

/// Where the value of an option comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The file, at this line.
    File { line: usize },
    /// `--set`.
    CommandLine,
    /// Olive's default in that era.
    Default(Era),
}

/// An option as it will be used, for the plan that `validate` prints.
#[derive(Debug, Clone, PartialEq)]
pub struct ResolvedOption {
    /// Name in today's spelling of ours, with dots for nesting: `training_args.learning_rate`.
    pub name: String,
    pub value: serde_json::Value,
    pub origin: Origin,
}
