//! What `config.json` can say that no architecture here has.

#[derive(Debug, thiserror::Error)]
pub enum ArchError {
    #[error("the architecture `{found}` is not supported")]
    Unsupported { found: String, supported: &'static [&'static str] },
    #[error("config.json: {0}")]
    Config(String),
}

impl olive_core::Fault for ArchError {
    fn hint(&self) -> Option<String> {
        match self {
            ArchError::Unsupported { supported, .. } => {
                Some(format!("supported are {}", supported.join(", ")))
            }
            ArchError::Config(_) => None,
        }
    }
}
