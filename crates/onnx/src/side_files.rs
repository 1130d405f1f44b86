//! Tokenizer and configuration files that go along with the model, and the special tokens they name.

use olive_arch::families::MARKERS;
use olive_core::{Result, error::IoContext};
use olive_model::side_files::CODE;
use olive_model::{ModelError, ModelFolder};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;

/// Ids of the tokens that genai_config.json asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct GenaiTokens {
    pub(crate) bos: Option<u32>,
    pub(crate) eos: Option<u32>,
    pub(crate) pad: Option<u32>,
    /// Begin and end of tool calls and reasoning, by their key in genai_config.json.
    pub(crate) markers: Vec<(&'static str, u32)>,
}

const TOKENIZER: &str = "tokenizer.json";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";

#[derive(Deserialize)]
struct TokenizerFile {
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
}

#[derive(Deserialize)]
struct AddedToken {
    id: u32,
    content: String,
}

impl GenaiTokens {
    /// # Errors
    /// A tokenizer file that is not JSON.
    pub(crate) fn read(folder: &ModelFolder) -> Result<GenaiTokens> {
        let Some(text) = folder.tokenizer_json()? else { return Ok(GenaiTokens::default()) };
        let damaged = |e: serde_json::Error| {
            let path = folder.dir.join(TOKENIZER);
            ModelError::Damaged { path, reason: e.to_string() }
        };
        let file: TokenizerFile = serde_json::from_slice(&text).map_err(damaged)?;
        let mut ids: HashMap<String, u32> =
            file.added_tokens.into_iter().map(|token| (token.content, token.id)).collect();
        let config = folder.tokenizer_config()?;
        let names = ["bos_token", "eos_token", "pad_token"].map(|key| token_name(&config[key]));
        if names.iter().flatten().any(|name| !ids.contains_key(name)) {
            // Rare: a special token that is an ordinary word of the vocabulary.
            ids.extend(vocabulary(&text).map_err(damaged)?);
        }
        let [bos, eos, pad] = names.map(|name| name.and_then(|name| ids.get(&name).copied()));
        let markers = MARKERS
            .iter()
            .filter_map(|(key, names)| {
                let id = names.iter().find_map(|name| ids.get(*name))?;
                Some((*key, *id))
            })
            .collect();
        Ok(GenaiTokens { bos, eos, pad, markers })
    }
}

/// A token is written as a string or as an object with `content`.
fn token_name(value: &Value) -> Option<String> {
    value.as_str().or(value["content"].as_str()).map(str::to_owned)
}

/// Words and ids of a vocabulary that is written as an object, or nothing for one that is not.
fn vocabulary(text: &[u8]) -> serde_json::Result<HashMap<String, u32>> {
    #[derive(Deserialize)]
    struct File {
        model: Model,
    }
    #[derive(Deserialize)]
    struct Model {
        vocab: Vocab,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Vocab {
        Words(HashMap<String, u32>),
        Other(IgnoredAny),
    }
    let file: File = serde_json::from_slice(text)?;
    Ok(match file.model.vocab {
        Vocab::Words(words) => words,
        Vocab::Other(_) => HashMap::new(),
    })
}

/// Copies everything beside the weights, and makes a `tokenizer.json` that says all by itself. In `tokenizer_config.json` the length limit becomes the model's context:
/// transformers writes 10³⁰ for "none", which is no integer to other readers.
///
/// # Errors
/// A file that cannot be read or written.
pub(crate) fn copy(folder: &ModelFolder, context_length: usize, to: &Path) -> Result<()> {
    for name in ModelFolder::SIDE_FILES.iter().filter(|name| ![TOKENIZER, TOKENIZER_CONFIG].contains(*name)) {
        folder.copy_side_file(name, to)?;
    }
    if let Some(text) = folder.tokenizer_json()? {
        let target = to.join(TOKENIZER);
        std::fs::write(&target, text).at("write", &target)?;
    }
    if folder.side_file(TOKENIZER_CONFIG).is_some() {
        let mut config = folder.tokenizer_config()?;
        config["model_max_length"] = context_length.into();
        if folder.lacks_code(&config)? {
            config.as_object_mut().map(|config| config.shift_remove(CODE));
        }
        let text = serde_json::to_string_pretty(&config).expect("plain data") + "\n";
        let target = to.join(TOKENIZER_CONFIG);
        std::fs::write(&target, text).at("write", &target)?;
    }
    folder.copy_code(to)
}
