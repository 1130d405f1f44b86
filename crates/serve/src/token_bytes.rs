//! The bytes that a token stands for, which need not be whole characters.
//!
//! | tokenizer's decoder | a token's text |
//! |---|---|
//! | `ByteLevel` | one character for each byte: visible ones for themselves, others from U+0100 on (GPT-2's `bytes_to_unicode`) |
//! | any other | `▁` for a space; `<0x0A>` for a byte |

use std::collections::BTreeMap;
use tokenizers::{DecoderWrapper, Tokenizer};

/// Reads the tokens of a tokenizer.
pub(crate) struct TokenBytes<'t> {
    tokenizer: &'t Tokenizer,
    scheme: Scheme,
    /// Tokens that stand for themselves, and whether they are left out of texts.
    added: BTreeMap<u32, Added>,
}

enum Scheme {
    Bytes(BTreeMap<char, u8>),
    Pieces,
}

enum Added {
    Special,
    Text(String),
}

impl<'t> TokenBytes<'t> {
    pub(crate) fn new(tokenizer: &'t Tokenizer) -> TokenBytes<'t> {
        let bytes = tokenizer.get_decoder().is_some_and(is_byte_level);
        let added = tokenizer
            .get_added_tokens_decoder()
            .into_iter()
            .map(|(id, token)| (id, if token.special { Added::Special } else { Added::Text(token.content) }));
        let scheme = if bytes { Scheme::Bytes(byte_characters()) } else { Scheme::Pieces };
        TokenBytes { tokenizer, scheme, added: added.collect() }
    }

    /// What the token adds to a text; nothing, if it is a special one.
    pub(crate) fn of(&self, id: u32) -> Vec<u8> {
        match self.added.get(&id) {
            Some(Added::Special) => return Vec::new(),
            Some(Added::Text(text)) => return text.clone().into_bytes(),
            None => {}
        }
        let Some(token) = self.tokenizer.id_to_token(id) else { return Vec::new() };
        match &self.scheme {
            Scheme::Bytes(bytes) => {
                let mapped: Option<Vec<u8>> = token.chars().map(|c| bytes.get(&c).copied()).collect();
                mapped.unwrap_or_else(|| token.into_bytes())
            }
            Scheme::Pieces => match single_byte(&token) {
                Some(byte) => vec![byte],
                None => token.replace('▁', " ").into_bytes(),
            },
        }
    }

    /// What the token adds to the beginning of a text, where a space that says that a word begins may be left out.
    pub(crate) fn of_first(&self, id: u32) -> Vec<u8> {
        let mut bytes = self.of(id);
        let text = self.tokenizer.decode(&[id], true).unwrap_or_default();
        if bytes.first() == Some(&b' ') && !text.starts_with(' ') {
            bytes.remove(0);
        }
        bytes
    }

    /// How the token is called: its text, or its name if it has none.
    pub(crate) fn name(&self, id: u32, bytes: &[u8]) -> String {
        match self.added.get(&id) {
            Some(Added::Special) => self.tokenizer.id_to_token(id).unwrap_or_default(),
            _ => String::from_utf8_lossy(bytes).into_owned(),
        }
    }
}

fn is_byte_level(decoder: &DecoderWrapper) -> bool {
    match decoder {
        DecoderWrapper::ByteLevel(_) => true,
        DecoderWrapper::Sequence(parts) => parts.get_decoders().iter().any(is_byte_level),
        _ => false,
    }
}

/// `<0x0A>`
fn single_byte(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    if digits.len() == 2 { u8::from_str_radix(digits, 16).ok() } else { None }
}

/// The characters that stand for bytes: those that can be seen are their own, the others follow U+0100 in order.
fn byte_characters() -> BTreeMap<char, u8> {
    let mut next = 0x100;
    let character = |byte: u8| match byte {
        b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => char::from(byte),
        _ => {
            next += 1;
            char::from_u32(next - 1).unwrap_or_default()
        }
    };
    let mut character = character;
    (0..=u8::MAX).map(|byte| (character(byte), byte)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tokenizer(decoder: serde_json::Value, vocabulary: &[&str]) -> Tokenizer {
        let vocabulary: BTreeMap<&str, usize> =
            vocabulary.iter().enumerate().map(|(id, t)| (*t, id)).collect();
        let special = json!({"id": 0, "content": "<s>", "special": true, "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false});
        let text = json!({"version": "1.0", "added_tokens": [special], "decoder": decoder, "normalizer": null,
            "pre_tokenizer": null, "post_processor": null, "truncation": null, "padding": null,
            "model": {"type": "BPE", "vocab": vocabulary, "merges": [], "byte_fallback": true}});
        text.to_string().parse().unwrap()
    }

    #[test]
    fn byte_level_tokens_are_bytes() {
        let map = byte_characters();
        assert_eq!(map.len(), 256);
        assert_eq!((map[&'Ġ'], map[&'Ċ'], map[&'a'], map[&'ð']), (b' ', b'\n', b'a', 0xf0));
        let decoder =
            json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true});
        let tokenizer = tokenizer(decoder, &["<s>", "Ġa", "ðŁ"]);
        let bytes = TokenBytes::new(&tokenizer);
        assert_eq!((bytes.of(1), bytes.of(2), bytes.of(0)), (b" a".to_vec(), vec![0xf0, 0x9f], vec![]));
        assert_eq!((bytes.of_first(1), bytes.name(0, &[])), (b" a".to_vec(), "<s>".into()));
    }

    #[test]
    fn pieces_are_text_and_single_bytes() {
        let decoder = json!({"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}]});
        let tokenizer = tokenizer(decoder, &["<s>", "▁a", "<0xF0>"]);
        let bytes = TokenBytes::new(&tokenizer);
        assert_eq!((bytes.of(1), bytes.of(2)), (b" a".to_vec(), vec![0xf0]));
        assert_eq!(bytes.of_first(1), b"a");
    }
}
