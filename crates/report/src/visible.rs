//! Text that stays in its place.

use olive_core::{controls, written_out};
use std::borrow::Cow;

/// The text with its control characters, but for line ends and tabs, and those that turn the direction of what follows
/// (U+202A to U+202E, U+2066 to U+2069) written out: `\u{202e}`. Names could show what follows them in another order.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    let turns = |letter: char| matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    written_out(text, |letter| turns(letter) || controls(letter))
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
