//! The tokenizer of a GGUF file as `tokenizer.json` and `tokenizer_config.json`.

use super::Found;
use super::file::Gguf;
use super::pre_tokenizer::pre_tokenizer;
use olive_arch::families::UNREADABLE_PRE_TOKENIZERS;
use olive_arch::{Family, GgufFamily};
use rayon::prelude::*;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// `tokenizer.ggml.token_type`.
mod kind {
    pub(super) const NORMAL: usize = 1;
    pub(super) const UNKNOWN: usize = 2;
    pub(super) const CONTROL: usize = 3;
    pub(super) const USER_DEFINED: usize = 4;
    pub(super) const UNUSED: usize = 5;
}

/// A space in SentencePiece tokens.
const SPACE: &str = "\u{2581}";

/// The two files of a tokenizer.
pub(super) struct Files {
    pub(super) tokenizer: Value,
    pub(super) config: Value,
}

/// # Errors
/// A kind of tokenizer that is not known, or lists that are missing or do not fit each other.
pub(super) fn files(gguf: &Gguf, family: &Family, context_length: usize) -> Found<Files> {
    let reader = TokenizerReader::new(gguf)?;
    let model = gguf.text("tokenizer.ggml.model").ok_or("it has no tokenizer")?;
    let (tokenizer, class, add_bos) = match model {
        "gpt2" => reader.byte_level()?,
        "llama" => reader.sentence_piece(&family.gguf)?,
        other => {
            return Err(format!("its tokenizer `{other}` is not supported; supported are gpt2 and llama"));
        }
    };
    let mut config = json!({
        "tokenizer_class": class,
        "add_bos_token": add_bos,
        "add_eos_token": reader.flag("add_eos_token").unwrap_or(false),
        "clean_up_tokenization_spaces": false,
        "model_max_length": context_length,
    });
    for (name, key) in
        [("bos_token", "bos"), ("eos_token", "eos"), ("unk_token", "unknown"), ("pad_token", "padding")]
    {
        if let Some((token, _)) = reader.special(key) {
            config[name] = json!(token);
        }
    }
    // A file may carry the original as it was.
    let original = gguf.text("tokenizer.huggingface.json").and_then(|text| serde_json::from_str(text).ok());
    Ok(Files { tokenizer: original.unwrap_or(tokenizer), config })
}

/// Parts of a `tokenizer.json`.
struct Parts {
    normalizer: Value,
    pre_tokenizer: Value,
    decoder: Value,
    model: Value,
}

struct TokenizerReader<'a> {
    gguf: &'a Gguf,
    tokens: Vec<&'a str>,
    kinds: Vec<usize>,
}

impl<'a> TokenizerReader<'a> {
    fn new(gguf: &'a Gguf) -> Found<TokenizerReader<'a>> {
        let tokens = gguf.texts("tokenizer.ggml.tokens").ok_or("it has no tokens")?;
        let kinds =
            gguf.sizes("tokenizer.ggml.token_type").unwrap_or_else(|| vec![kind::NORMAL; tokens.len()]);
        if kinds.len() != tokens.len() {
            return Err(format!("it has {} tokens, but {} token types", tokens.len(), kinds.len()));
        }
        Ok(TokenizerReader { gguf, tokens, kinds })
    }

    fn flag(&self, name: &str) -> Option<bool> {
        self.gguf.flag(&format!("tokenizer.ggml.{name}"))
    }

    /// Text and id of a token with a meaning: `bos`, `eos`, …
    fn special(&self, name: &str) -> Option<(&'a str, usize)> {
        let id = self.gguf.size(&format!("tokenizer.ggml.{name}_token_id"))?;
        self.tokens.get(id).map(|token| (*token, id))
    }

    /// Byte-level BPE (GPT-2 and later): merges are listed.
    fn byte_level(&self) -> Found<(Value, &'static str, bool)> {
        let pre = pre_tokenizer(self.gguf.text("tokenizer.ggml.pre"))?;
        let merges = self.gguf.texts("tokenizer.ggml.merges").ok_or("it has no merges")?;
        let merges = merges
            .into_iter()
            // A part may begin with a space only in theory; the separator is the first one after that.
            .map(|merge| split_merge(merge).ok_or_else(|| format!("`{merge}` is not a merge")))
            .collect::<Found<Vec<_>>>()?;
        let add_bos = pre.add_bos.is_some_and(|default| self.flag("add_bos_token").unwrap_or(default));
        let model = json!({
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "ignore_merges": pre.ignore_merges, "vocab": self.vocabulary(), "merges": merges,
        });
        let normalizer = if pre.compose { json!({"type": "NFC"}) } else { Value::Null };
        let decoder =
            json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true});
        let parts = Parts { normalizer, pre_tokenizer: pre.value, decoder, model };
        let tokenizer = self.assemble(parts, add_bos, |_| false);
        Ok((tokenizer, "PreTrainedTokenizerFast", add_bos))
    }

    /// SentencePiece BPE: merges follow from the scores.
    fn sentence_piece(&self, family: &GgufFamily) -> Found<(Value, &'static str, bool)> {
        let pre = self.gguf.text("tokenizer.ggml.pre");
        if let Some((name, whose)) = UNREADABLE_PRE_TOKENIZERS.iter().find(|(name, _)| pre == Some(name)) {
            return Err(format!("its tokenizer `{name}` ({whose}) is not supported"));
        }
        let scores = self.gguf.numbers("tokenizer.ggml.scores").ok_or("it has no token scores")?;
        if scores.len() != self.tokens.len() {
            return Err(format!("it has {} tokens, but {} scores", self.tokens.len(), scores.len()));
        }
        let prefix = self.flag("add_space_prefix").unwrap_or(true);
        let add_bos = self.flag("add_bos_token").unwrap_or(true);
        let replace = json!({"type": "Replace", "pattern": {"String": " "}, "content": SPACE});
        let normalizer = if prefix {
            json!({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": SPACE}, replace]})
        } else {
            replace
        };
        let mut decoders = vec![
            json!({"type": "Replace", "pattern": {"String": SPACE}, "content": " "}),
            json!({"type": "ByteFallback"}),
            json!({"type": "Fuse"}),
        ];
        if prefix {
            decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
        }
        let unknown = self.special("unknown").map(|(token, _)| token);
        let model = json!({
            "type": "BPE", "dropout": null, "unk_token": unknown, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
            "vocab": self.vocabulary(), "merges": merges_of_scores(&self.tokens, &self.kinds, &scores),
        });
        let decoder = json!({"type": "Sequence", "decoders": decoders});
        let parts = Parts { normalizer, pre_tokenizer: Value::Null, decoder, model };
        let tokenizer = self.assemble(parts, add_bos, family.swallows_space);
        Ok((tokenizer, family.sentence_piece_class, add_bos))
    }

    fn assemble(&self, parts: Parts, add_bos: bool, swallows_space: fn(&str) -> bool) -> Value {
        let added: Vec<Value> = (self.tokens.iter().zip(&self.kinds).enumerate())
            .filter(|(_, (_, kind))| matches!(**kind, kind::UNKNOWN | kind::CONTROL | kind::USER_DEFINED))
            .map(|(id, (token, kind))| {
                json!({
                    "id": id, "content": token, "single_word": false, "lstrip": false,
                    "rstrip": swallows_space(token), "normalized": false, "special": *kind != kind::USER_DEFINED,
                })
            })
            .collect();
        json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
            "normalizer": parts.normalizer, "pre_tokenizer": parts.pre_tokenizer,
            "post_processor": self.post_processor(add_bos), "decoder": parts.decoder, "model": parts.model,
        })
    }

    /// Puts begin- and end-of-text tokens around texts, where they are wanted.
    fn post_processor(&self, add_bos: bool) -> Value {
        let add_eos = self.flag("add_eos_token").unwrap_or(false);
        let bos = self.special("bos").filter(|_| add_bos);
        let eos = self.special("eos").filter(|_| add_eos);
        let special =
            |(token, _): (&str, usize), side: usize| json!({"SpecialToken": {"id": token, "type_id": side}});
        let side = |name: &str, side: usize| {
            let text = json!({"Sequence": {"id": name, "type_id": side}});
            let (bos, eos) = (bos.map(|t| special(t, side)), eos.map(|t| special(t, side)));
            bos.into_iter().chain([text]).chain(eos).collect::<Vec<_>>()
        };
        let mut tokens = Map::new();
        for (token, id) in bos.into_iter().chain(eos) {
            tokens.insert(token.into(), json!({"id": token, "ids": [id], "tokens": [token]}));
        }
        let pair: Vec<Value> = side("A", 0).into_iter().chain(side("B", 1)).collect();
        json!({"type": "TemplateProcessing", "single": side("A", 0), "pair": pair, "special_tokens": tokens})
    }

    /// Token to id, without the fillers that only make the matrix larger.
    fn vocabulary(&self) -> Map<String, Value> {
        let filler = |token: &str, kind: usize| kind == kind::UNUSED && token.starts_with("[PAD");
        (self.tokens.iter().zip(&self.kinds).enumerate())
            .filter(|(_, (token, kind))| !filler(token, **kind))
            .map(|(id, (token, _))| ((*token).to_owned(), json!(id)))
            .collect()
    }
}

/// The two parts of a merge; a part is never empty.
fn split_merge(merge: &str) -> Option<[&str; 2]> {
    let (at, _) = merge.char_indices().skip(1).find(|(_, c)| *c == ' ')?;
    Some([&merge[..at], &merge[at + 1..]]).filter(|[_, second]| !second.is_empty())
}

/// Every way to put a token together from two others, best score first: SentencePiece merges the pair whose result
/// has the highest score. The order among equals is that of transformers' converter.
fn merges_of_scores<'a>(tokens: &[&'a str], kinds: &[usize], scores: &[f32]) -> Vec<[&'a str; 2]> {
    let ids: HashMap<&str, usize> = tokens.iter().enumerate().map(|(id, token)| (*token, id)).collect();
    let mergeable = |id: usize| matches!(kinds[id], kind::NORMAL | kind::UNUSED | kind::USER_DEFINED);
    let mut merges: Vec<(usize, [&'a str; 2])> = (0..tokens.len())
        .into_par_iter()
        .filter(|&id| mergeable(id))
        .flat_map_iter(|id| {
            let token = tokens[id];
            let parts = token.char_indices().skip(1).filter_map(|(at, _)| {
                let (left, right) = token.split_at(at);
                Some((ids.get(left)?, ids.get(right)?, [left, right]))
            });
            let mut parts: Vec<_> = parts.collect();
            parts.sort_by_key(|(left, right, _)| (**left, **right));
            parts.into_iter().map(move |(_, _, pair)| (id, pair)).collect::<Vec<_>>()
        })
        .collect();
    let rank =
        |&(id, [left, right]): &(usize, [&str; 2])| (scores[id], left.chars().count(), right.chars().count());
    merges.sort_by(|a, b| {
        let (a, b) = (rank(a), rank(b));
        b.0.total_cmp(&a.0).then((b.1, b.2).cmp(&(a.1, a.2)))
    });
    merges.into_iter().map(|(_, pair)| pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_score_merges_first() {
        let tokens = ["a", "b", "c", "ab", "bc", "abc", "<s>"];
        let kinds = [1, 1, 1, 1, 1, 1, 3];
        let scores = [-10.0, -11.0, -12.0, -2.0, -1.0, -3.0, 0.0];
        let merges = merges_of_scores(&tokens, &kinds, &scores);
        assert_eq!(merges, [["b", "c"], ["a", "b"], ["ab", "c"], ["a", "bc"]]);
    }

    #[test]
    fn merges_have_two_parts() {
        assert_eq!(split_merge("Ġ t"), Some(["Ġ", "t"]));
        assert_eq!(split_merge("t"), None);
        assert_eq!(split_merge("t "), None);
    }
}
