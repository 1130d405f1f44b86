//! Text that cannot control a terminal.

use olive_core::{controls, written_out};
use std::borrow::Cow;

/// The text with its control characters, but for line ends and tabs, written out: `\u{1b}`.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    written_out(text, controls)
}

#[cfg(test)]
mod tests {
    use super::visible;

    #[test]
    fn control_characters_are_written_out() {
        assert_eq!(visible("a\tb\n\u{e4}"), "a\tb\n\u{e4}");
        assert_eq!(visible("\u{1b}[31m\r\u{9b}\u{7f}"), r"\u{1b}[31m\r\u{9b}\u{7f}");
    }
}
