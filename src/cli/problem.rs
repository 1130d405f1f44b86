//! Errors and warnings, as they are told.

use olive_core::Error;

/// A warning as the terminal has it.
pub(crate) fn as_warning(error: &Error) -> String {
    let hint = error.hint().map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
    format!("{}{hint}", error.with_causes())
}
