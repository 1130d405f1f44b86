//! Paths as people and terminals can stand them.

use std::borrow::Cow;
use std::fmt::{self, Display, Write};
use std::path::Path;

/// A path on one line: control characters, line ends among them, and bytes that are not UTF-8 are written as the escapes
/// of Rust (`\n`, `\u{1b}`, `\xff`).
pub fn shown(path: &Path) -> Shown<'_> {
    Shown(path)
}

/// A text as one word of a POSIX shell.
pub fn shell_word(text: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_alphanumeric() || "/._-+:@%".contains(c);
    if text.chars().all(plain) { text.into() } else { format!("'{}'", text.replace('\'', r"'\''")).into() }
}

/// What [`shown()`] gives.
pub struct Shown<'a>(&'a Path);

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.as_os_str().as_encoded_bytes().utf8_chunks() {
            for letter in chunk.valid().chars() {
                if letter.is_control() {
                    write!(f, "{}", letter.escape_default())?
                } else {
                    f.write_char(letter)?
                }
            }
            write!(f, "{}", chunk.invalid().escape_ascii())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn what_is_no_text_is_written_out() {
        let shown = |bytes: &[u8]| shown(Path::new(OsStr::from_bytes(bytes))).to_string();
        assert_eq!(shown("a/b \u{e4}\\'".as_bytes()), "a/b \u{e4}\\'");
        assert_eq!(shown(b"a\n\x1b[1m\xff\xc3/b"), r"a\n\u{1b}[1m\xff\xc3/b");
    }
}
