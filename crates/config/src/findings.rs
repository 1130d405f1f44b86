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
    /// What Olive has and this program has not. Beside passes that are not implemented, such detail is noise.
    refusals: Vec<Diagnostic>,
    unimplemented_passes: bool,
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
        self.unimplemented_passes = true;
        self.error(at, path, message, Some(hint));
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
