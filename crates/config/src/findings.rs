//! Collects what there is to say about a configuration, so that all of it can be said in one go.

use crate::error::{ConfigError, Diagnostic, MOST};
use crate::option::Block;
use crate::place::At;
use std::path::Path;
use std::sync::Arc;

#[derive(Debug, Default)]
pub struct Findings {
    pub(crate) errors: Vec<Diagnostic>,
    pub(crate) warnings: Vec<Diagnostic>,
    /// Options without a default that are left out.
    omissions: Vec<Diagnostic>,
    /// What Olive has and this program has not. Beside passes that are not implemented, such detail is noise.
    refusals: Vec<Diagnostic>,
    unimplemented_passes: Vec<Diagnostic>,
    /// All blocks there are, to say where an option belongs that stands in the wrong one.
    pub(crate) blocks: Arc<[&'static Block]>,
}

impl Findings {
    pub(crate) fn new(blocks: Arc<[&'static Block]>) -> Findings {
        Findings { blocks, ..Findings::default() }
    }

    pub fn error(
        &mut self,
        at: At,
        path: impl Into<String>,
        message: impl Into<String>,
        hint: Option<String>,
    ) {
        push(&mut self.errors, at, path.into(), message.into(), hint);
    }

    /// An error because an option is left out that has no default.
    pub(crate) fn omission(&mut self, at: At, path: &str, message: String, hint: String) {
        push(&mut self.omissions, at, path.to_owned(), message, Some(hint));
    }

    /// An error because something is not supported, unless whole passes are not.
    pub fn refuse(
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
        push(&mut self.unimplemented_passes, at, path, message, Some(hint));
    }

    pub fn warn(&mut self, at: At, path: impl Into<String>, message: impl Into<String>) {
        push(&mut self.warnings, at, path.into(), message.into(), None);
    }

    pub fn warn_hint(
        &mut self,
        at: At,
        path: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        push(&mut self.warnings, at, path.into(), message.into(), Some(hint.into()));
    }

    /// More errors would not be told.
    pub(crate) fn is_full(&self) -> bool {
        self.errors.len() >= MOST
    }

    /// There is no error.
    pub(crate) fn none(&self) -> bool {
        [&self.errors, &self.omissions, &self.refusals, &self.unimplemented_passes]
            .iter()
            .all(|findings| findings.is_empty())
    }

    /// The warnings in the order of the file, or the error that all errors make.
    pub(crate) fn finish(mut self, file: &Path) -> Result<Vec<Diagnostic>, ConfigError> {
        let lacking =
            if self.unimplemented_passes.is_empty() { self.refusals } else { self.unimplemented_passes };
        let (mistaken, incomplete) = (!self.errors.is_empty(), !self.omissions.is_empty());
        let mut diagnostics = self.errors;
        diagnostics.extend(self.omissions.into_iter().chain(lacking));
        if diagnostics.is_empty() {
            self.warnings.sort_by_key(|finding| finding.position);
            return Ok(self.warnings);
        }
        diagnostics.sort_by_key(|finding| finding.position);
        let path = file.to_owned();
        Err(match (mistaken, incomplete) {
            (true, _) => ConfigError::Invalid { path, diagnostics },
            (false, true) => ConfigError::Incomplete { path, diagnostics },
            (false, false) => ConfigError::Unsupported { path, diagnostics },
        })
    }
}

/// The same sentence about the same place is said once.
fn push(list: &mut Vec<Diagnostic>, at: At, json_path: String, mut message: String, hint: Option<String>) {
    if list.len() >= MOST {
        return;
    }
    if at.is_none() {
        message.push_str(" (--set)");
    }
    let finding = Diagnostic { position: at, json_path, message, hint };
    if !list.contains(&finding) {
        list.push(finding);
    }
}
