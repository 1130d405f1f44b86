//! All that is wrong with a configuration, each with its place in the file.

use olive_core::shown;
use std::path::{Path, PathBuf};

/// As many errors, or warnings, as are told: more of them nobody reads.
pub(crate) const MOST: usize = 100;

/// One thing to say about a configuration file: an error or a warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Line and column, both from 1; `None` for what has no place, such as a `--set`.
    pub position: Option<(usize, usize)>,
    /// JSON path, for example `passes.lora.config.lora_r`.
    pub json_path: String,
    /// What was expected and what was found.
    pub message: String,
    /// What to do: the nearest known key, the list of what exists.
    pub hint: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could be read, its content cannot be used. Root causes only, in the order of the file.
    #[error("{}", render(path, diagnostics))]
    Invalid { path: PathBuf, diagnostics: Vec<Diagnostic> },
    /// Nothing is wrong with the file but that it leaves out options that have no default. What this program has not may
    /// be among the diagnostics.
    #[error("{}", render(path, diagnostics))]
    Incomplete { path: PathBuf, diagnostics: Vec<Diagnostic> },
    /// Nothing is wrong with the file, but it asks for what Olive has and this program has not.
    #[error("{}", render(path, diagnostics))]
    Unsupported { path: PathBuf, diagnostics: Vec<Diagnostic> },
    #[error("the configuration `{}` does not exist", shown(path))]
    NotFound { path: PathBuf },
    #[error("`{}`: only .json, .yaml and .yml files are read", shown(path))]
    UnknownFileType { path: PathBuf },
    #[error("`--set {argument}`: {reason}")]
    Override { argument: String, reason: String },
}

impl ConfigError {
    /// What there is to say about the content of a file, and which file.
    pub fn diagnostics(&self) -> Option<(&Path, &[Diagnostic])> {
        match self {
            ConfigError::Invalid { path, diagnostics }
            | ConfigError::Incomplete { path, diagnostics }
            | ConfigError::Unsupported { path, diagnostics } => Some((path, diagnostics)),
            ConfigError::NotFound { .. }
            | ConfigError::UnknownFileType { .. }
            | ConfigError::Override { .. } => None,
        }
    }

    /// Whether the file is what somebody else could run, or complete.
    pub fn is_of_a_sound_file(&self) -> bool {
        matches!(self, ConfigError::Incomplete { .. } | ConfigError::Unsupported { .. })
    }
}

impl olive_core::Fault for ConfigError {
    fn hint(&self) -> Option<String> {
        match self {
            ConfigError::NotFound { .. } => Some(
                "give the path of an olive-config.json, for example configs/quickstart/olive-config.json"
                    .into(),
            ),
            ConfigError::Override { .. } => {
                Some("write it as --set path.to.key=value, for example --set passes.lora.lora_r=16".into())
            }
            _ => None,
        }
    }

    fn exit_code(&self) -> u8 {
        2
    }
}

fn render(path: &Path, diagnostics: &[Diagnostic]) -> String {
    let mut lines: Vec<String> = diagnostics.iter().map(|d| d.render(path)).collect();
    if lines.len() > 1 {
        let least = if lines.len() >= MOST { "at least " } else { "" };
        lines.insert(0, format!("`{}` has {least}{} errors", shown(path), lines.len()));
    }
    lines.join("\n")
}

impl Diagnostic {
    /// `file:line:column: json.path: message`, then the hint on a line of its own.
    pub fn render(&self, path: &Path) -> String {
        let mut text = shown(path).to_string();
        if let Some((line, column)) = self.position {
            text.push_str(&format!(":{line}:{column}"));
        }
        text.push_str(": ");
        if !self.json_path.is_empty() {
            text.push_str(&format!("{}: ", self.json_path));
        }
        text.push_str(&self.message);
        if let Some(hint) = &self.hint {
            text.push_str(&format!("\n  hint: {hint}"));
        }
        text
    }
}
