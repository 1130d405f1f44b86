//! Collects what there is to say about a configuration, so that all of it can be said in one go.

use super::{ConfigError, Diagnostic, node::At};
use std::path::Path;

#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) errors: Vec<Diagnostic>,
    pub(crate) warnings: Vec<Diagnostic>,
    /// What Olive has and this program has not. Beside passes that are not implemented, such detail is noise.
    refusals: Vec<Diagnostic>,
    unimplemented_passes: bool,
}

impl Findings {
    pub(crate) fn error(
        &mut self,
        at: At,
        path: impl Into<String>,
        message: impl Into<String>,
        hint: Option<String>,
    ) {
        push(&mut self.errors, at, path.into(), message.into(), hint);
    }

    /// An error because something is not supported, unless whole passes are not.
    pub(crate) fn refuse(
        &mut self,
        at: At,
        path: impl Into<String>,
        message: impl Into<String>,
        hint: Option<String>,
    ) {
        push(&mut self.refusals, at, path.into(), message.into(), hint);
    }

    /// The error about all passes that are not implemented.
    pub(crate) fn unimplemented_passes(&mut self, at: At, path: String, message: String, hint: String) {
        self.unimplemented_passes = true;
        self.error(at, path, message, Some(hint));
    }

    pub(crate) fn warn(&mut self, at: At, path: impl Into<String>, message: impl Into<String>) {
        push(&mut self.warnings, at, path.into(), message.into(), None);
    }

    pub(crate) fn warn_hint(
        &mut self,
        at: At,
        path: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        push(&mut self.warnings, at, path.into(), message.into(), Some(hint.into()));
    }

    /// There is no error.
    pub(crate) fn none(&self) -> bool {
        self.errors.is_empty() && self.refusals.is_empty()
    }

    /// The warnings in the order of the file, or the error that all errors make.
    pub(crate) fn finish(mut self, file: &Path) -> Result<Vec<Diagnostic>, ConfigError> {
        if !self.unimplemented_passes {
            self.errors.append(&mut self.refusals);
        }
        if self.errors.is_empty() {
            self.warnings.sort_by_key(|finding| finding.position);
            return Ok(self.warnings);
        }
        self.errors.sort_by_key(|finding| finding.position);
        Err(ConfigError::Invalid { path: file.to_owned(), diagnostics: self.errors })
    }
}

/// The same sentence about the same place is said once.
fn push(list: &mut Vec<Diagnostic>, at: At, json_path: String, mut message: String, hint: Option<String>) {
    if at.is_none() {
        message.push_str(" (--set)");
    }
    let finding = Diagnostic { position: at, json_path, message, hint };
    if !list.contains(&finding) {
        list.push(finding);
    }
}

/// A JSON path and one key more.
pub(crate) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// `` `a`, `b` and `c` ``.
pub(crate) fn list_names<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        None => "nothing".into(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}

/// The known name that the user most likely meant.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace(['-', ' '], "_");
    let name = plain(name);
    known
        .into_iter()
        .map(|candidate| (strsim::normalized_damerau_levenshtein(&name, &plain(candidate)), candidate))
        .filter(|(likeness, _)| *likeness >= 0.6)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}
