//! How texts are cut into words before byte-pair merges: files name the way, they do not describe it.

use super::Found;
use serde_json::{Value, json};

/// Cuts of byte-level tokenizers. The patterns are those of the models' own `tokenizer.json`.
pub(super) struct PreTokenizer {
    /// `pre_tokenizer` of a `tokenizer.json`.
    pub(super) value: Value,
    /// A word that is a token of itself is not merged.
    pub(super) ignore_merges: bool,
    /// Texts are brought to Unicode's composed form first.
    pub(super) compose: bool,
    /// Whether texts begin with the begin-of-text token if the file does not say; `None` if they never do, whatever it
    /// says.
    pub(super) add_bos: Option<bool>,
}

const CONTRACTIONS: &str = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const REST: &str = r"\s*[\r\n]+|\s+(?!\S)|\s+";
/// A word of scripts with upper and lower case, cut where the case rises.
const UPPER: &str = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]";
const LOWER: &str = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]";

/// # Errors
/// A name that is not known: guessing would give wrong tokens in silence.
pub(super) fn pre_tokenizer(name: Option<&str>) -> Found<PreTokenizer> {
    let plain = |value| PreTokenizer { value, ignore_merges: false, compose: false, add_bos: Some(false) };
    Ok(match name.unwrap_or("default") {
        "default" | "gpt-2" | "gpt2" | "exaone4" | "olmo" | "phi-2" | "mpt" => plain(byte_level(true)),
        // Digits one by one, then as GPT-2.
        "smollm" | "starcoder" | "refact" | "command-r" | "codeshell" => {
            plain(json!({"type": "Sequence", "pretokenizers": [
                {"type": "Digits", "individual_digits": true}, byte_level(true)
            ]}))
        }
        "llama3" | "llama-v3" | "llama-bpe" => {
            PreTokenizer { ignore_merges: true, add_bos: Some(true), ..plain(split(&llama3("{1,3}"))) }
        }
        "dbrx" | "smaug-bpe" => plain(split(&llama3("{1,3}"))),
        "glm4" | "chatglm-bpe" => PreTokenizer { add_bos: None, ..plain(split(&llama3("{1,3}"))) },
        "seed-coder" => plain(split(&seed())),
        "qwen2" | "deepseek-r1-qwen" => PreTokenizer { compose: true, ..plain(split(&llama3(""))) },
        "gpt-4o" => plain(split(&cased(&format!("{CONTRACTIONS}?"), "{1,3}"))),
        "tekken" => PreTokenizer { ignore_merges: true, add_bos: Some(true), ..plain(split(&cased("", ""))) },
        other => return Err(format!("its pre-tokenizer `{other}` is not known")),
    })
}

fn llama3(digits: &str) -> String {
    format!(
        r"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{REST}"
    )
}

/// Digits one by one; line ends are never part of punctuation.
fn seed() -> String {
    format!(r"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1}}| ?[^\s\p{{L}}\p{{N}}\r\n]+|{REST}")
}

fn cased(contractions: &str, digits: &str) -> String {
    let before = r"[^\r\n\p{L}\p{N}]?";
    format!(
        r"{before}{UPPER}*{LOWER}+{contractions}|{before}{UPPER}+{LOWER}*{contractions}|\p{{N}}{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{REST}"
    )
}

fn split(pattern: &str) -> Value {
    json!({"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false},
        byte_level(false),
    ]})
}

fn byte_level(use_regex: bool) -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex})
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, PreTokenizerWrapper};

    fn cut<'a>(name: &str, text: &'a str) -> Vec<&'a str> {
        let cutter: PreTokenizerWrapper =
            serde_json::from_value(pre_tokenizer(Some(name)).unwrap().value).unwrap();
        let mut cut = PreTokenizedString::from(text);
        cutter.pre_tokenize(&mut cut).unwrap();
        let words = cut.get_splits(OffsetReferential::Original, OffsetType::Byte);
        words.into_iter().map(|(_, (start, end), _)| &text[start..end]).collect()
    }

    #[test]
    fn families_cut_numbers_and_line_ends_differently() {
        let text = "It's 2025!?\n\n x";
        for (name, expected) in [
            ("glm4", ["It", "'s", " ", "202", "5", "!?\n\n", " x"].as_slice()),
            ("chatglm-bpe", &["It", "'s", " ", "202", "5", "!?\n\n", " x"]),
            ("seed-coder", &["It", "'s", " ", "2", "0", "2", "5", "!?", "\n\n", " x"]),
            ("exaone4", &["It", "'s", " 2025", "!?", "\n\n", " x"]),
        ] {
            assert_eq!(cut(name, text), expected, "{name}");
        }
        assert!(pre_tokenizer(Some("glm4")).unwrap().add_bos.is_none());
        assert!(pre_tokenizer(Some("unheard-of")).is_err());
    }
}
