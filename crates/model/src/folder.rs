//! A Hugging Face model folder: its configuration, tokenizer and weights.

use super::stored_file::read_json;
use super::{Checkpoint, ModelError, prequantised};
use olive_arch::Spec;
use olive_core::Result;
use serde_json::Value;
use std::path::{Path, PathBuf};
use tokenizers::Tokenizer;

/// A folder with `config.json`.
#[derive(Debug, Clone)]
pub struct ModelFolder {
    pub dir: PathBuf,
    pub config: Value,
}

impl ModelFolder {
    /// Everything that belongs to a model beside its weights, and moves along when weights are rewritten.
    pub const SIDE_FILES: &'static [&'static str] = &[
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer.model",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "chat_template.jinja",
        "vocab.json",
        "merges.txt",
    ];

    const CODE_PREFIXES: [&'static str; 5] =
        ["configuration_", "modeling_", "tokenization_", "processing_", "generation_"];

    /// Whether a file of this name goes along with a model: one of [`Self::SIDE_FILES`], or code by the names that
    /// transformers gives it. Code by other names stays behind: in a folder of results it could be anybody's.
    pub fn is_side_file(name: &str) -> bool {
        let is_code = name.strip_suffix(".py").is_some_and(|module| {
            let of_a_name = module.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            of_a_name && Self::CODE_PREFIXES.iter().any(|prefix| module.starts_with(prefix))
        });
        is_code || Self::SIDE_FILES.contains(&name)
    }

    /// Whether a file of this name is part of a model: its weights, or what goes along with it.
    pub fn is_model_file(name: &str) -> bool {
        Self::is_side_file(name) || name.ends_with(".safetensors") || name == "model.safetensors.index.json"
    }

    /// # Errors
    /// No folder, no `config.json`, or one that is not JSON; weights that are quantised already.
    pub fn open(dir: &Path) -> Result<ModelFolder> {
        let config = read_json(&dir.join("config.json"))?
            .ok_or_else(|| ModelError::NotAModel { path: dir.to_owned(), missing: "config.json".into() })?;
        prequantised::refuse(dir, &config)?;
        Ok(ModelFolder { dir: dir.to_owned(), config })
    }

    /// What `config.json` describes. Where it says that the head is the embedding matrix, and the weights have a head with
    /// other values, as after training one of the two, the head is its own: transformers ties equal matrices only.
    ///
    /// # Errors
    /// See [`Spec::from_config`].
    pub fn spec(&self) -> Result<Spec> {
        let mut spec = Spec::from_config(&self.config)?;
        spec.tied = spec.tied && !self.has_own_head()?;
        Ok(spec)
    }

    /// Whether the weights have a head of their own although `config.json` denies it.
    ///
    /// # Errors
    /// See [`Spec::from_config`].
    pub fn contradicts_tie(&self) -> Result<bool> {
        Ok(Spec::from_config(&self.config)?.tied && self.has_own_head()?)
    }

    fn has_own_head(&self) -> Result<bool> {
        // What is wrong with the weights comes up where they are read; a folder may also do without them.
        let Ok(checkpoint) = self.checkpoint() else { return Ok(false) };
        match (checkpoint.get(Spec::EMBEDDING), checkpoint.get(Spec::HEAD)) {
            (Some(embedding), Some(head)) => Ok(!embedding.equals(head)?),
            _ => Ok(false),
        }
    }

    /// The model of its first layers, or as it is. Its files are the same.
    ///
    /// # Errors
    /// It has fewer layers.
    pub fn with_layers(mut self, count: Option<usize>) -> Result<ModelFolder> {
        if let Some(asked) = count {
            let layers = self.spec()?.num_layers();
            if asked == 0 || asked > layers {
                return Err(ModelError::Layers { asked, layers }.into());
            }
            self.config["num_hidden_layers"] = asked.into();
        }
        Ok(self)
    }

    /// # Errors
    /// See [`Checkpoint::open`].
    pub fn checkpoint(&self) -> Result<Checkpoint> {
        Checkpoint::open(&self.dir)
    }

    /// `tokenizer.json`.
    ///
    /// # Errors
    /// The file is missing or not a tokenizer.
    pub fn tokenizer(&self) -> Result<Tokenizer> {
        let path = self.dir.join("tokenizer.json");
        if !path.is_file() {
            return Err(
                ModelError::NotAModel { path: self.dir.clone(), missing: "tokenizer.json".into() }.into()
            );
        }
        Tokenizer::from_file(&path)
            .map_err(|e| ModelError::Tokenizer { path: self.dir.clone(), reason: e.to_string() }.into())
    }

    /// `tokenizer_config.json`, or an empty object.
    ///
    /// # Errors
    /// The file is there but not JSON.
    pub fn tokenizer_config(&self) -> Result<Value> {
        Ok(read_json(&self.dir.join("tokenizer_config.json"))?
            .unwrap_or_else(|| Value::Object(Default::default())))
    }

    /// `generation_config.json`, if there is one.
    ///
    /// # Errors
    /// The file is there but not JSON.
    pub fn generation_config(&self) -> Result<Option<Value>> {
        read_json(&self.dir.join("generation_config.json"))
    }
}
