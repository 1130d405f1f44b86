//! Escapes in a text of the command line, as Python's string literals have them.

/// Resolves `\n`, `\t`, `\x41`, `\u00e9` and the like. What follows a backslash and is no escape stays as it is, with the
/// backslash; other characters stay, too, where Python's decoder would read them as Latin-1.
///
/// # Errors
/// What is wrong with an escape.
pub(crate) fn unescaped(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let Some(letter) = after.chars().next() else { return Err("a backslash at its end".into()) };
        rest = &after[letter.len_utf8()..];
        let simple = match letter {
            '\n' => continue,
            '\\' | '\'' | '"' => letter,
            'a' => '\x07',
            'b' => '\x08',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\x0b',
            'x' | 'u' | 'U' => {
                let digits = match letter {
                    'x' => 2,
                    'u' => 4,
                    _ => 8,
                };
                let (code, left) = number(rest, digits, letter)?;
                rest = left;
                code
            }
            '0'..='7' => {
                let length = after.bytes().take(3).take_while(|byte| (b'0'..=b'7').contains(byte)).count();
                rest = &after[length..];
                u32::from_str_radix(&after[..length], 8).ok().and_then(char::from_u32).unwrap_or_default()
            }
            other => {
                out.push('\\');
                other
            }
        };
        out.push(simple);
    }
    out.push_str(rest);
    Ok(out)
}

/// The character of exactly so many hexadecimal digits, and what follows them.
fn number(text: &str, digits: usize, letter: char) -> Result<(char, &str), String> {
    let wrong = || format!("`\\{letter}` takes {digits} hexadecimal digits of a character");
    let (code, left) = text.split_at_checked(digits).ok_or_else(wrong)?;
    if !code.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let code = u32::from_str_radix(code, 16).ok().and_then(char::from_u32).ok_or_else(wrong)?;
    Ok((code, left))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_those_of_python() {
        for (written, meant) in [
            (r"### Q: {p}\n### A: {a}\t.", "### Q: {p}\n### A: {a}\t."),
            (r"{{x}} \\n \'\x41\u00e9\U0001F600\101\0", "{{x}} \\n 'A\u{e9}\u{1f600}A\0"),
            (r"\d stays", r"\d stays"),
            ("né\\n", "né\n"),
            ("a\\\nb", "ab"),
        ] {
            assert_eq!(unescaped(written).unwrap(), meant);
        }
        for wrong in [r"\x4", r"\u12g4", r"\U00110000", "end\\", r"\xé0"] {
            assert!(unescaped(wrong).is_err(), "{wrong}");
        }
    }
}
