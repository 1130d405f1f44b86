//! How much longer a tokenizer makes texts: its file may say to write two letters for one, and to do so forty times.

use super::Found;
use serde::Deserialize;
use serde_json::Value;

/// Texts may become this many times as long; those of models become at most three or four times as long.
const MOST_FACTOR: u64 = 1000;
/// Bytes that every text may get in front of it, beside that; models have a space.
const MOST_ADDED: u64 = 10_000;
/// What the longest entry of SentencePiece's own tables makes of a character.
const PRECOMPILED: u64 = 36;

/// The parts of a `tokenizer.json` that write texts anew.
#[derive(Deserialize)]
struct Parts {
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    decoder: Value,
}

/// Looks at a `tokenizer.json` before it is used.
///
/// # Errors
/// It is not JSON, or makes texts too long.
pub(super) fn check(text: &[u8]) -> Found<()> {
    let parts: Parts = serde_json::from_slice(text).map_err(|e| e.to_string())?;
    for (name, part) in [("normalizer", parts.normalizer), ("decoder", parts.decoder)] {
        let growth = Growth::of(&part);
        if growth.factor > MOST_FACTOR || growth.added > MOST_ADDED {
            return Err(format!(
                "its {name} makes texts more than {MOST_FACTOR} times as long, or adds more than {MOST_ADDED} bytes"
            ));
        }
    }
    Ok(())
}

/// A text of `n` bytes becomes one of at most `factor * n + added`.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Growth {
    factor: u64,
    added: u64,
}

impl Growth {
    const NONE: Growth = Growth { factor: 1, added: 0 };

    fn by(factor: u64) -> Growth {
        Growth { factor, ..Growth::NONE }
    }

    fn of(part: &Value) -> Growth {
        match part["type"].as_str() {
            Some("Sequence") => {
                let parts =
                    ["normalizers", "decoders"].iter().filter_map(|list| part[list].as_array()).flatten();
                parts.map(Growth::of).fold(Growth::NONE, Growth::then)
            }
            Some("Replace") => Growth::by(replacement(&part["pattern"], &part["content"])),
            Some("Prepend") => Growth { added: length(&part["prepend"]), ..Growth::NONE },
            // A byte becomes a letter of two.
            Some("ByteLevel") => Growth::by(2),
            Some("Precompiled") => Growth::by(PRECOMPILED),
            // The forms of Unicode and the like, which a second time change nothing.
            _ => Growth::NONE,
        }
    }

    fn then(self, next: Growth) -> Growth {
        Growth {
            factor: self.factor.saturating_mul(next.factor),
            added: self.added.saturating_mul(next.factor).saturating_add(next.added),
        }
    }
}

/// How many times as long a text becomes where all of it is replaced.
fn replacement(pattern: &Value, content: &Value) -> u64 {
    let replaced = match (pattern["String"].as_str(), pattern["Regex"].as_str()) {
        (Some(text), _) => text.len() as u64,
        (_, Some(regex)) => shortest_match(regex),
        _ => 0,
    };
    let content = length(content);
    // What is empty is found between any two letters.
    if replaced == 0 { content.saturating_add(1) } else { content.div_ceil(replaced).max(1) }
}

/// Bytes of the shortest text that matches; 0 where that is not known.
fn shortest_match(regex: &str) -> u64 {
    let length = regex_syntax::parse(regex).ok().and_then(|parsed| parsed.properties().minimum_len());
    length.unwrap_or(0) as u64
}

fn length(text: &Value) -> u64 {
    text.as_str().map_or(0, str::len) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn replace(pattern: Value, content: &str) -> Value {
        json!({"type": "Replace", "pattern": pattern, "content": content})
    }

    #[test]
    fn texts_grow_by_what_replaces_them() {
        let regex =
            |regex: &str, content: &str| Growth::of(&replace(json!({ "Regex": regex }), content)).factor;
        let string =
            |string: &str, content: &str| Growth::of(&replace(json!({ "String": string }), content)).factor;
        assert_eq!([string(" ", "▁"), string("ab", "abc"), string("ab", ""), string("", "ab")], [3, 2, 1, 3]);
        assert_eq!([regex(r"\s+", " "), regex(" {2,}", "▁"), regex("a*", "xy")], [1, 2, 3]);
        assert_eq!([regex("(?=a)", "xy"), regex("(", "x")], [3, 2], "not known to the library, or not valid");
        let parts = [json!({"type": "Prepend", "prepend": "▁"}), replace(json!({"String": " "}), "▁")];
        let sequence = json!({"type": "Sequence", "normalizers": parts});
        assert_eq!(Growth::of(&sequence), Growth { factor: 3, added: 9 });
    }

    #[test]
    fn texts_without_bounds_are_refused() {
        let file = |name: &str, list: &str, part: Value, times: usize| {
            check(json!({name: {"type": "Sequence", list: vec![part; times]}}).to_string().as_bytes())
        };
        let double = || replace(json!({"String": "a"}), "aa");
        assert_eq!(file("normalizer", "normalizers", double(), 9), Ok(()));
        for (name, list) in [("normalizer", "normalizers"), ("decoder", "decoders")] {
            let error = file(name, list, double(), 40).unwrap_err();
            assert!(error.contains(name) && error.contains("1000 times as long"), "{error}");
            assert!(file(name, list, json!({"type": "ByteLevel"}), 40).is_err());
            assert!(file(name, list, json!({"type": "Prepend", "prepend": "x".repeat(6000)}), 2).is_err());
        }
        assert!(check(br#"{"normalizer": null, "normalizer": null}"#).is_err(), "which of them would count?");
        assert_eq!(check(br#"{"model": {}}"#), Ok(()));
    }
}
