//! What must not be read in logs and errors: tokens, account keys, shared access signatures (SAS).

use reqwest::header::{HeaderValue, InvalidHeaderValue};
use std::borrow::Cow;
use std::fmt;
use zeroize::Zeroizing;

/// Stands for a secret.
const HIDDEN: &str = "***";

/// A token, a key or a SAS: neither `Debug` nor `Display` shows it, and its memory is cleared when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    pub fn new(value: impl Into<String>) -> Secret {
        Secret(Zeroizing::new(value.into()))
    }

    /// The value itself, for the request that it belongs to.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// As the value of a header, which is not shown either.
    ///
    /// # Errors
    /// It has characters that no header may have.
    pub fn header(&self) -> Result<HeaderValue, InvalidHeaderValue> {
        let mut value = HeaderValue::from_str(&self.0)?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// As the value of `Authorization`.
    ///
    /// # Errors
    /// As for [`Secret::header`].
    pub fn bearer(&self) -> Result<HeaderValue, InvalidHeaderValue> {
        Secret::new(format!("Bearer {}", self.expose())).header()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl<'de> serde::Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
        String::deserialize(deserializer).map(Secret::new)
    }
}

/// What precedes a secret in a text: the signature of a SAS, an account key in a connection string, a header.
const PREFIXES: [&str; 7] = [
    "sig=",
    "AccountKey=",
    "SharedAccessSignature=",
    "Bearer ",
    "client_secret=",
    "client_assertion=",
    "secret=",
];

/// How JSON web tokens begin: `{"` in base64.
const WEB_TOKEN: &str = "eyJ";

/// Shorter words that begin like a web token are none.
const SHORTEST_WEB_TOKEN: usize = 20;

/// The text that a service, a command or a file wrote, without what looks like a token, a key or a signature.
pub fn redacted(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((start, end)) = first_secret(rest) {
        out.push_str(&rest[..start]);
        out.push_str(HIDDEN);
        rest = &rest[end..];
    }
    if out.is_empty() && rest.len() == text.len() {
        return Cow::Borrowed(text);
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Where the first secret of the text begins and ends.
fn first_secret(text: &str) -> Option<(usize, usize)> {
    let named = PREFIXES.iter().filter_map(|prefix| {
        let start = find_ignoring_case(text, prefix)? + prefix.len();
        Some((start, start + value_length(&text[start..])))
    });
    let web_token = text.match_indices(WEB_TOKEN).find_map(|(start, _)| {
        let length = value_length(&text[start..]);
        (length >= SHORTEST_WEB_TOKEN).then_some((start, start + length))
    });
    named.chain(web_token).filter(|(start, end)| end > start).min()
}

fn find_ignoring_case(text: &str, wanted: &str) -> Option<usize> {
    text.as_bytes().windows(wanted.len()).position(|window| window.eq_ignore_ascii_case(wanted.as_bytes()))
}

fn value_length(text: &str) -> usize {
    let ends = |letter: char| letter.is_whitespace() || "&;\"'<>,)}".contains(letter);
    text.find(ends).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        let secret = Secret::new("hf_abc");
        assert_eq!(format!("{secret} {secret:?} {:?}", Some(&secret)), "*** *** Some(***)");
        assert_eq!(secret.expose(), "hf_abc");
    }

    #[test]
    fn texts_lose_what_looks_like_a_secret() {
        let cases = [
            ("PUT /c/b?sv=1&sig=a%2Bb&se=2 failed", "PUT /c/b?sv=1&sig=***&se=2 failed"),
            ("AccountKey=Zm9v==;x; SIG=q", "AccountKey=***;x; SIG=***"),
            ("header 'Authorization: bearer abc.def'", "header 'Authorization: bearer ***'"),
            ("token eyJhbGciOiJub25lIn0.eyJhdWQiOiJ4In0.c2ln was refused", "token *** was refused"),
            ("eyJ is no token, sig= is empty, é", "eyJ is no token, sig= is empty, é"),
        ];
        for (text, expected) in cases {
            assert_eq!(redacted(text), expected);
        }
    }
}
