//! Text that stays in its place.

use std::borrow::Cow;

/// The text with its control characters, but for line ends and tabs, and those that turn the direction of what follows
/// (U+202A to U+202E, U+2066 to U+2069) written out: `\u{202e}`. Names could show what follows them in another order.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if acts(letter) {
            out.extend(letter.escape_default());
        } else {
            out.push(letter);
        }
    }
    Cow::Owned(out)
}

fn acts(letter: char) -> bool {
    let turns = matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || (letter.is_control() && !matches!(letter, '\n' | '\t'))
}

#[cfg(test)]
mod tests {
    use super::visible;

    #[test]
    fn what_acts_is_written_out_and_other_scripts_are_not() {
        assert_eq!(visible("a\u{202e}b\u{2069}\u{1b}[31m"), r"a\u{202e}b\u{2069}\u{1b}[31m");
        assert_eq!(visible("שלום\u{200f}\n\té"), "שלום\u{200f}\n\té");
    }
}
