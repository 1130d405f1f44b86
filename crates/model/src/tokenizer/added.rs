//! Tokens that are found in texts before anything else, from every file that may declare some. The rules, which file
//! goes before which, are those of transformers.

use super::read_json;
use crate::ModelError;
use olive_core::Result;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use tokenizers::AddedToken;

/// Keys of the tokens with a role. Others that end in `_token` and hold a text are tokens of one model.
const ROLES: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// Tokens by id.
pub(super) type Added = BTreeMap<u32, AddedToken>;

/// A token as an object.
#[derive(Deserialize)]
struct Declared {
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    normalized: Option<bool>,
    #[serde(default)]
    special: bool,
}

impl From<Declared> for AddedToken {
    fn from(token: Declared) -> AddedToken {
        AddedToken::from(token.content, token.special)
            .single_word(token.single_word)
            .lstrip(token.lstrip)
            .rstrip(token.rstrip)
            .normalized(token.normalized.unwrap_or(!token.special))
    }
}

/// `added_tokens` of a `tokenizer.json`.
pub(super) fn listed(text: &[u8]) -> serde_json::Result<Added> {
    #[derive(Deserialize)]
    struct File {
        #[serde(default)]
        added_tokens: Vec<Numbered>,
    }
    #[derive(Deserialize)]
    struct Numbered {
        id: u32,
        #[serde(flatten)]
        token: Declared,
    }
    let file: File = serde_json::from_slice(text)?;
    Ok(file.added_tokens.into_iter().map(|numbered| (numbered.id, numbered.token.into())).collect())
}

/// The text of a token that is written as a text or as an object.
pub(super) fn text(token: &Value) -> Option<&str> {
    token.as_str().or_else(|| token["content"].as_str()).filter(|text| !text.is_empty())
}

/// What the files beside the encoder declare and the encoder, which has the tokens `known`, lacks: in the order in which
/// tokens without an id of the vocabulary are numbered. Ids that the files give have no other meaning.
///
/// # Errors
/// A file is damaged.
pub(super) fn missing(dir: &Path, mut config: Value, known: &Added) -> Result<Vec<AddedToken>> {
    let declared = match config["added_tokens_decoder"].as_object() {
        Some(tokens) => numbered(tokens).map_err(|reason| {
            let path = dir.join("tokenizer_config.json");
            ModelError::Damaged { path, reason: format!("added_tokens_decoder: {reason}") }
        })?,
        None => older_files(dir, &mut config, known)?,
    };
    let roles = roles(&config);
    let mut missing: Vec<AddedToken> =
        declared.into_values().filter(|token| !known.values().any(|k| k == token)).collect();
    for token in roles.iter().chain(&extra(&config)) {
        let is_it = |other: &AddedToken| other.content == token.content;
        if !known.values().any(is_it) && !missing.iter().any(is_it) {
            missing.push(token.clone());
        }
    }
    for token in &mut missing {
        token.special |= roles.iter().any(|role| role.content == token.content);
    }
    Ok(missing)
}

/// `added_tokens_decoder`: tokens by their ids, as texts.
fn numbered(tokens: &serde_json::Map<String, Value>) -> std::result::Result<Added, String> {
    let token = |(id, token): (&String, &Value)| {
        let number = id.parse().map_err(|_| format!("`{id}` is not an id"))?;
        let declared = Declared::deserialize(token).map_err(|e| format!("`{id}`: {e}"))?;
        Ok((number, declared.into()))
    };
    tokens.iter().map(token).collect()
}

/// `special_tokens_map.json`, which goes before `config`, and `added_tokens.json`, whose ids yield to known ones.
fn older_files(dir: &Path, config: &mut Value, known: &Added) -> Result<Added> {
    if let Some(Value::Object(map)) = read_json(&dir.join("special_tokens_map.json"))? {
        for (key, token) in map {
            config[key] = token;
        }
    }
    let Some(Value::Object(ids)) = read_json(&dir.join("added_tokens.json"))? else {
        return Ok(known.clone());
    };
    let special: Vec<AddedToken> = roles(config).into_iter().chain(extra(config)).collect();
    let mut declared = Added::new();
    for (content, id) in ids {
        if let Some(id) = id.as_u64().and_then(|id| u32::try_from(id).ok()) {
            let is_special = special.iter().any(|token| token.content == content);
            declared.insert(id, AddedToken::from(content, is_special));
        }
    }
    declared.extend(known.clone());
    Ok(declared)
}

/// Tokens with a role, and those of one model.
fn roles(config: &Value) -> Vec<AddedToken> {
    let keys = config.as_object().into_iter().flatten();
    let own = keys.filter(|(key, value)| {
        key.ends_with("_token") && value.is_string() && !ROLES.contains(&key.as_str())
    });
    let named = config["extra_special_tokens"].as_object().into_iter().flatten();
    let values = ROLES.iter().map(|role| &config[*role]).chain(own.chain(named).map(|(_, value)| value));
    values.filter_map(special).collect()
}

/// `extra_special_tokens` as a list, or by its older name.
fn extra(config: &Value) -> Vec<AddedToken> {
    let list = |key: &str| config[key].as_array().filter(|list| !list.is_empty());
    let list = list("extra_special_tokens").or_else(|| list("additional_special_tokens"));
    list.into_iter().flatten().filter_map(special).collect()
}

fn special(token: &Value) -> Option<AddedToken> {
    text(token)?;
    match token {
        Value::String(text) => Some(AddedToken::from(text.as_str(), true)),
        object => Declared::deserialize(object).ok().map(Declared::into),
    }
}
