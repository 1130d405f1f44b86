//! Text that cannot control a terminal.

use std::borrow::Cow;

/// The text with its control characters, but for line ends and tabs, written out: `\u{1b}`.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    let controls = |letter: char| letter.is_control() && !matches!(letter, '\n' | '\t');
    if !text.contains(controls) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if controls(letter) {
            out.extend(letter.escape_default());
        } else {
            out.push(letter);
        }
    }
    Cow::Owned(out)
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
