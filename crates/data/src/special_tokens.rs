//! The special tokens that the tokenizer's files name.

use olive_config::canonical::PaddingSide;
use olive_core::Result;
use olive_model::ModelFolder;
use serde_json::Value;
use std::collections::BTreeSet;
use tokenizers::Tokenizer;

/// Texts of special tokens, and on which side the tokenizer pads and cuts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecialTokens {
    pub bos: Option<String>,
    pub eos: Option<String>,
    pub pad: Option<String>,
    pub padding_side: PaddingSide,
    /// Where texts that are too long lose tokens.
    pub truncation_side: PaddingSide,
    /// All of them, by the names that chat templates use: `bos_token`, …
    named: Vec<(String, String)>,
}

const NAMES: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

impl SpecialTokens {
    /// From `tokenizer_config.json`, what is missing there from `special_tokens_map.json`, and if neither exists from
    /// the ids in `config.json`.
    ///
    /// # Errors
    /// One of the files is not JSON.
    pub fn from_folder(model: &ModelFolder) -> Result<SpecialTokens> {
        let config = model.tokenizer_config()?;
        let map = model.special_tokens_map()?;
        let text = |name: &str| token_text(config.get(name)).or_else(|| token_text(map.get(name)));
        let mut named: Vec<(String, String)> =
            NAMES.iter().filter_map(|&name| Some((name.to_owned(), text(name)?))).collect();
        let naming = ["tokenizer_config.json", "special_tokens_map.json"];
        if naming.iter().all(|name| model.side_file(name).is_none()) && model.has_tokenizer() {
            let tokenizer = model.tokenizer()?;
            for name in ["bos_token", "eos_token", "pad_token"] {
                let id = model.config.get(format!("{name}_id"));
                let id = id.and_then(|id| id.get(0).unwrap_or(id).as_u64());
                if let Some(text) = id.and_then(|id| tokenizer.id_to_token(u32::try_from(id).ok()?)) {
                    named.push((name.into(), text));
                }
            }
        }
        let side = |name| match config.get(name).and_then(Value::as_str) {
            Some("left") => PaddingSide::Left,
            _ => PaddingSide::Right,
        };
        let get = |name: &str| named.iter().find(|(n, _)| n == name).map(|(_, text)| text.clone());
        Ok(SpecialTokens {
            bos: get("bos_token"),
            eos: get("eos_token"),
            pad: get("pad_token"),
            padding_side: side("padding_side"),
            truncation_side: side("truncation_side"),
            named,
        })
    }

    /// By name, for chat templates.
    pub(crate) fn named(&self) -> &[(String, String)] {
        &self.named
    }

    /// Texts of all special tokens, of the files and of the tokenizer itself, in order.
    pub(crate) fn marks(&self, tokenizer: &Tokenizer) -> Vec<String> {
        let added = tokenizer.get_added_tokens_decoder();
        let added = added.into_values().filter(|token| token.special).map(|token| token.content);
        let named = self.named.iter().map(|(_, text)| text.clone());
        let marks: BTreeSet<String> = named.chain(added).filter(|text| !text.is_empty()).collect();
        marks.into_iter().collect()
    }

    /// The id to pad with: that of the padding token, or else of the end of text.
    pub(crate) fn pad_id(&self, tokenizer: &Tokenizer) -> Option<u32> {
        [&self.pad, &self.eos].into_iter().flatten().find_map(|text| tokenizer.token_to_id(text))
    }
}

fn token_text(token: Option<&Value>) -> Option<String> {
    let token = token?;
    token.get("content").unwrap_or(token).as_str().filter(|t| !t.is_empty()).map(str::to_owned)
}
