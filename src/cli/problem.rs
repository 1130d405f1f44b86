//! Errors and warnings for programs.

use super::output;
use olive_config::{ConfigError, Diagnostic};
use olive_core::{Error, Result};
use serde::Serialize;
use std::path::Path;

/// What is wrong, and where that is known, where.
#[derive(Debug, Serialize)]
pub(crate) struct Problem {
    file: Option<String>,
    line: Option<usize>,
    column: Option<usize>,
    /// JSON path in the file.
    key: Option<String>,
    message: String,
    hint: Option<String>,
}

impl Problem {
    pub(crate) fn located(diagnostic: &Diagnostic, file: &Path) -> Problem {
        let (line, column) = diagnostic.position.unzip();
        Problem {
            file: Some(file.display().to_string()),
            line,
            column,
            key: Some(diagnostic.json_path.clone()).filter(|key| !key.is_empty()),
            message: diagnostic.message.clone(),
            hint: diagnostic.hint.clone(),
        }
    }

    /// One for each mistake in a configuration; any other error is one.
    pub(crate) fn all_of(error: &Error) -> Vec<Problem> {
        let config = error.downcast_ref::<ConfigError>();
        if let Some((path, diagnostics)) = config.and_then(ConfigError::diagnostics) {
            return diagnostics.iter().map(|diagnostic| Problem::located(diagnostic, path)).collect();
        }
        let file = match config {
            Some(ConfigError::NotFound { path } | ConfigError::UnknownFileType { path }) => {
                Some(path.display().to_string())
            }
            _ => None,
        };
        let (message, hint) = (error.with_causes(), error.hint());
        vec![Problem { file, line: None, column: None, key: None, message, hint }]
    }
}

/// A warning as the terminal has it.
pub(crate) fn as_warning(error: &Error) -> String {
    output::with_hint(&error.with_causes(), error.hint().as_deref())
}

/// Prints the document that a verb gives, or one that has only its errors: either way stdout is one JSON object.
pub(crate) fn print_document(document: Result<serde_json::Value>) -> Result<()> {
    match document {
        Ok(document) => output::result(&document.to_string()),
        Err(error) => {
            output::result(&serde_json::json!({"errors": Problem::all_of(&error)}).to_string())?;
            Err(error)
        }
    }
}
