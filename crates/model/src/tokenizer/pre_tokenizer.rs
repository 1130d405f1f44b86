//! How texts are cut into words before byte-pair merges: files name the way, they do not describe it.

use super::Found;
use olive_arch::families::PRE_TOKENIZERS;
use olive_arch::{PreTokenizerNames, WordCut};
use serde_json::{Value, json};

/// Cuts of byte-level tokenizers. The patterns are those of the models' own `tokenizer.json`.
pub(crate) struct PreTokenizer {
    /// `pre_tokenizer` of a `tokenizer.json`.
    pub(crate) value: Value,
    /// A word that is a token of itself is not merged.
    pub(crate) ignore_merges: bool,
    /// Texts are brought to Unicode's composed form first.
    pub(crate) compose: bool,
    /// Whether texts begin with the begin-of-text token if the file does not say; `None` if they never do, whatever it
    /// says.
    pub(crate) add_bos: Option<bool>,
}

impl PreTokenizer {
    /// Texts that do not begin with a space are given one.
    pub(crate) fn add_prefix_space(&mut self) {
        let byte_level = match self.value["pretokenizers"].as_array_mut().and_then(|all| all.last_mut()) {
            Some(last) => last,
            None => &mut self.value,
        };
        byte_level["add_prefix_space"] = true.into();
    }
}

const CONTRACTIONS: &str = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const REST: &str = r"\s*[\r\n]+|\s+(?!\S)|\s+";
/// A word of scripts with upper and lower case, cut where the case rises.
const UPPER: &str = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]";
const LOWER: &str = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]";

/// # Errors
/// A name that is not known: guessing would give wrong tokens in silence.
pub(crate) fn pre_tokenizer(name: Option<&str>) -> Found<PreTokenizer> {
    let name = name.unwrap_or("default");
    let known = PRE_TOKENIZERS.iter().find(|known| known.names.contains(&name));
    let known = known.ok_or_else(|| format!("its pre-tokenizer `{name}` is not known"))?;
    let value = match known.cut {
        WordCut::Gpt2 => byte_level(true),
        WordCut::DigitsThenGpt2 => json!({"type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": true}, byte_level(true)
        ]}),
        WordCut::Letters { digits } => split(&letters(digits)),
        WordCut::LettersApartFromLineEnds => split(&letters_apart_from_line_ends()),
        WordCut::Cased { contractions: true, digits } => split(&cased(&format!("{CONTRACTIONS}?"), digits)),
        WordCut::Cased { contractions: false, digits } => split(&cased("", digits)),
    };
    Ok(PreTokenizer {
        value,
        ignore_merges: known.ignore_merges,
        compose: known.compose,
        add_bos: known.add_bos,
    })
}

fn letters(digits: &str) -> String {
    format!(
        r"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{REST}"
    )
}

fn letters_apart_from_line_ends() -> String {
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

/// The name under which files call the way in which a `tokenizer.json` cuts texts (`tokenizer.ggml.pre`). `None`: it is none of
/// those that have one. A vocabulary in which no digit stands beside anything was learned with digits apart, whatever the file says.
pub fn written_name(tokenizer: &Value) -> Option<&'static str> {
    let given = steps(&tokenizer["pre_tokenizer"]);
    let ignores_merges = tokenizer["model"]["ignore_merges"] == Value::Bool(true);
    let cuts_so = |known: &&PreTokenizerNames| {
        known.ignore_merges == ignores_merges
            && pre_tokenizer(known.names.first().copied()).is_ok_and(|known| steps(&known.value) == given)
    };
    let known = PRE_TOKENIZERS.iter().find(cuts_so)?;
    let apart = || PRE_TOKENIZERS.iter().find(|known| known.cut == WordCut::DigitsThenGpt2);
    let known = match known.cut {
        WordCut::Gpt2 if has_digits_apart(tokenizer) => apart()?,
        _ => known,
    };
    known.names.first().copied()
}

/// What decides where words end.
fn steps(pre_tokenizer: &Value) -> Vec<Value> {
    let all = match pre_tokenizer["pretokenizers"].as_array() {
        Some(all) => all.as_slice(),
        None => std::slice::from_ref(pre_tokenizer),
    };
    let step = |step: &Value| match step["type"].as_str() {
        Some("ByteLevel") => {
            let (prefix, regex) = (&step["add_prefix_space"], step["use_regex"] != Value::Bool(false));
            json!(["ByteLevel", prefix, regex])
        }
        Some("Digits") => json!(["Digits", step["individual_digits"]]),
        Some("Split") => json!(["Split", step["pattern"], step["behavior"], step["invert"]]),
        _ => step.clone(),
    };
    all.iter().map(step).collect()
}

fn has_digits_apart(tokenizer: &Value) -> bool {
    let Some(vocabulary) = tokenizer["model"]["vocab"].as_object() else { return false };
    let mut with_digits = vocabulary.keys().filter(|token| token.contains(|c: char| c.is_ascii_digit()));
    let added = |token: &str| {
        tokenizer["added_tokens"]
            .as_array()
            .is_some_and(|added| added.iter().any(|one| one["content"] == *token))
    };
    with_digits.all(|token| token.len() == 1 || added(token))
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
