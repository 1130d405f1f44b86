//! Questions that a person answers with the arrow keys.

use dialoguer::theme::ColorfulTheme;
use dialoguer::{Confirm, Input, Select, console};
use olive_core::Result;
use olive_core::error::{Interrupted, IoContext};
use std::io::{ErrorKind, IsTerminal};
use std::path::Path;

/// Whether there is somebody to ask: both ends are a terminal.
pub(super) fn can_be_asked() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// One of several; the first is what Enter takes.
pub(super) fn select(question: &str, choices: &[String]) -> Result<usize> {
    let theme = ColorfulTheme::default();
    answered(
        Select::with_theme(&theme).with_prompt(question).items(choices).default(0).max_length(12).interact(),
    )
}

/// A line of text.
pub(super) fn text(question: &str) -> Result<String> {
    let theme = ColorfulTheme::default();
    let typed = Input::<String>::with_theme(&theme).with_prompt(question).interact_text();
    Ok(answered(typed)?.trim().to_owned())
}

/// Yes, unless somebody says no.
pub(super) fn confirm(question: &str) -> Result<bool> {
    let theme = ColorfulTheme::default();
    answered(Confirm::with_theme(&theme).with_prompt(question).default(true).interact())
}

/// Ctrl-C is no failure, and a cursor that was hidden comes back.
pub(super) fn answered<T>(answer: dialoguer::Result<T>) -> Result<T> {
    answer.or_else(|dialoguer::Error::IO(error)| {
        // Nothing can be done where the terminal is gone.
        let _ = console::Term::stderr().show_cursor();
        match error.kind() {
            ErrorKind::Interrupted => Err(Interrupted.into()),
            _ => Err(error).at("read", Path::new("the terminal")),
        }
    })
}
