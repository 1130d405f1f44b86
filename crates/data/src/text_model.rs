//! What of a model makes tokens of texts.

use crate::special_tokens::SpecialTokens;
use olive_core::{Error, Result};
use olive_model::ModelFolder;
use tokenizers::Tokenizer;

/// A tokenizer with its special tokens, and the folder that has its chat template.
pub(super) struct TextModel<'m> {
    pub folder: &'m ModelFolder,
    pub tokenizer: Tokenizer,
    pub special: SpecialTokens,
}

impl TextModel<'_> {
    /// # Errors
    /// The tokenizer is missing or damaged.
    pub(super) fn open(folder: &ModelFolder) -> Result<TextModel<'_>> {
        Ok(TextModel { folder, tokenizer: folder.tokenizer()?, special: SpecialTokens::from_folder(folder)? })
    }

    /// Rows of the model's embedding, if its configuration tells.
    pub(super) fn vocabulary(&self) -> Option<usize> {
        let config = &self.folder.config;
        let sizes = [&config["vocab_size"], &config["text_config"]["vocab_size"]];
        sizes.into_iter().find_map(|size| usize::try_from(size.as_u64()?).ok())
    }
}

pub(super) fn tokenizer_error(model: &ModelFolder, reason: &str) -> Error {
    olive_model::ModelError::Tokenizer { path: model.dir.clone(), reason: reason.to_owned() }.into()
}
