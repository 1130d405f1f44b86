//! Text some of whose characters are written out.

use std::borrow::Cow;

/// The text with the characters that `acts` names written as the escapes of Rust: `\u{1b}`.
pub fn written_out(text: &str, acts: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&acts) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match acts(letter) {
            true => out.extend(letter.escape_default()),
            false => out.push(letter),
        }
    }
    Cow::Owned(out)
}

/// Whether a character controls a terminal: all control characters but line ends and tabs.
pub fn controls(letter: char) -> bool {
    letter.is_control() && !matches!(letter, '\n' | '\t')
}
