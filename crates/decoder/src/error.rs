//! What can go wrong in generation.

/// What can go wrong between logits and text.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    #[error("the model's logits are not numbers")]
    NotANumber,
    #[error("generation_config.json: `{key}` is {value}, where {wanted} is needed")]
    Setting { key: &'static str, value: String, wanted: &'static str },
    #[error("the prompt is empty")]
    EmptyPrompt,
    #[error("the prompt has {tokens} tokens, and the model's context holds {context}")]
    PromptTooLong { tokens: usize, context: usize },
    #[error("the prompt's token `{token}` ({id}) is beyond the model's vocabulary of {vocabulary}")]
    BeyondVocabulary { token: String, id: u32, vocabulary: usize },
    #[error("the tokenizer failed: {0}")]
    Tokenizer(String),
}

impl olive_core::Fault for GenerateError {
    fn hint(&self) -> Option<String> {
        match self {
            GenerateError::NotANumber => {
                Some("the weights are damaged, or the model overflows in its storage type".into())
            }
            GenerateError::EmptyPrompt => Some("give some text with --prompt".into()),
            GenerateError::PromptTooLong { .. } => {
                Some("shorten the prompt, or start the conversation anew".into())
            }
            GenerateError::BeyondVocabulary { .. } => Some(
                "the token was added to the tokenizer, and the model's embedding was not resized: take the tokenizer that the \
                 model was trained with, or leave such tokens out of the prompt"
                    .into(),
            ),
            GenerateError::Setting { .. } | GenerateError::Tokenizer(_) => None,
        }
    }
}
