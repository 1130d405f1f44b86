//! What a `tokenizer.json` is put together from.

use super::pre_tokenizer::PreTokenizer;
use serde_json::{Map, Value, json};

/// Parts that depend on the kind of tokenizer.
pub(crate) struct Parts {
    pub(crate) normalizer: Value,
    pub(crate) pre_tokenizer: Value,
    pub(crate) decoder: Value,
    pub(crate) model: Value,
}

impl Parts {
    /// Byte-level BPE, as by GPT-2 and later; `merges` are pairs.
    pub(crate) fn byte_level(
        pre: PreTokenizer,
        vocabulary: Map<String, Value>,
        merges: &[[&str; 2]],
    ) -> Parts {
        let model = json!({
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "ignore_merges": pre.ignore_merges, "vocab": vocabulary, "merges": merges,
        });
        let normalizer = if pre.compose { json!({"type": "NFC"}) } else { Value::Null };
        let decoder =
            json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true});
        Parts { normalizer, pre_tokenizer: pre.value, decoder, model }
    }

    /// The whole file.
    pub(crate) fn assemble(self, added: &[Value], ends: &Ends<'_>) -> Value {
        json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
            "normalizer": self.normalizer, "pre_tokenizer": self.pre_tokenizer,
            "post_processor": ends.post_processor(), "decoder": self.decoder, "model": self.model,
        })
    }
}

/// Texts and ids of the tokens that are put around texts, where they are wanted.
#[derive(Default)]
pub(crate) struct Ends<'a> {
    pub(crate) bos: Option<(&'a str, usize)>,
    pub(crate) eos: Option<(&'a str, usize)>,
}

impl Ends<'_> {
    pub(crate) fn post_processor(&self) -> Value {
        let special =
            |(token, _): (&str, usize), side: usize| json!({"SpecialToken": {"id": token, "type_id": side}});
        let side = |name: &str, side: usize| {
            let text = json!({"Sequence": {"id": name, "type_id": side}});
            let (bos, eos) = (self.bos.map(|t| special(t, side)), self.eos.map(|t| special(t, side)));
            bos.into_iter().chain([text]).chain(eos).collect::<Vec<_>>()
        };
        let mut tokens = Map::new();
        for (token, id) in self.bos.into_iter().chain(self.eos) {
            tokens.insert(token.into(), json!({"id": token, "ids": [id], "tokens": [token]}));
        }
        let pair: Vec<Value> = side("A", 0).into_iter().chain(side("B", 1)).collect();
        json!({"type": "TemplateProcessing", "single": side("A", 0), "pair": pair, "special_tokens": tokens})
    }
}
