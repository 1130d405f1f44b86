//! The only places that print: results to stdout, everything else to stderr. Secrets stay hidden, and names, answers of
//! servers and texts of models cannot control a terminal.

use crate::report::visible::visible;
use crate::report::wrap;
use olive_core::secrets::hidden;
use std::borrow::Cow;
use std::io::{IsTerminal, Write};

/// A line of the result.
pub(crate) fn result(line: &str) -> olive_core::Result<()> {
    let mut out = std::io::stdout().lock();
    let written = writeln!(out, "{}", visible(&hidden(line)));
    olive_core::error::IoContext::at(written, "write", std::path::Path::new("stdout"))
}

/// A piece of what a model says, shown at once. A pipe gets it as it is.
pub(crate) fn piece(text: &str) -> olive_core::Result<()> {
    let mut out = std::io::stdout().lock();
    let text = if out.is_terminal() { visible(text) } else { Cow::Borrowed(text) };
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    olive_core::error::IoContext::at(written, "write", std::path::Path::new("stdout"))
}

/// Whether a part of a text stands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Emphasis {
    None,
    /// A model learns to say it.
    Learned,
}

/// A text whose parts stand out: in colour on a terminal, between signs elsewhere and where `NO_COLOR` is set.
pub(crate) fn emphasised<'t>(parts: impl Iterator<Item = (Emphasis, &'t str)>) -> olive_core::Result<()> {
    const COLOUR: [&str; 2] = ["\x1b[32m", "\x1b[0m"];
    const SIGNS: [&str; 2] = ["⟦", "⟧"];
    let mut out = std::io::stdout().lock();
    let [begin, end] = if out.is_terminal() && has_colours() { COLOUR } else { SIGNS };
    let mut text = String::new();
    for (emphasis, part) in parts {
        let part = hidden(part);
        let part = visible(&part);
        match emphasis {
            Emphasis::None => text.push_str(&part),
            Emphasis::Learned => text.extend([begin, &part, end]),
        }
    }
    let written = writeln!(out, "{text}");
    olive_core::error::IoContext::at(written, "write", std::path::Path::new("stdout"))
}

/// Whether the terminal has colours, and they are wanted.
fn has_colours() -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !unwanted && std::env::var_os("TERM").is_some_and(|terminal| terminal != "dumb")
}

/// An error message and what to do about it.
pub(crate) fn error(text: &str, hint: Option<&str>) {
    note(&wrap::for_stderr(&format!("error: {}", with_hint(text, hint))));
}

/// A message with what to do about it on a line of its own.
pub(crate) fn with_hint(text: &str, hint: Option<&str>) -> String {
    hint.map_or_else(|| text.to_owned(), |hint| format!("{text}\n  hint: {hint}"))
}

/// A line beside the result.
pub(crate) fn note(line: &str) {
    // Nothing can be done when stderr is gone.
    let _ = writeln!(std::io::stderr().lock(), "{}", visible(&hidden(line)));
}
