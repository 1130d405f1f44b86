//! What `config.json` can say that no architecture here has.

#[derive(Debug, thiserror::Error)]
pub enum ArchError {
    #[error("the architecture `{found}` is not supported")]
    Unsupported { found: String, supported: &'static [&'static str] },
    #[error("config.json: `{key}` is {value}, where {wanted} is needed")]
    Value { key: String, value: String, wanted: String },
    #[error("config.json: `{key}` is missing")]
    Missing { key: String },
    #[error(
        "config.json: `{object}.{key}` is {value}, which is not understood with the rope type `{rope_type}`"
    )]
    RopeKey { object: &'static str, key: String, value: String, rope_type: String },
    #[error("config.json: {0}")]
    Config(String),
}

impl olive_core::Fault for ArchError {
    fn hint(&self) -> Option<String> {
        match self {
            ArchError::Unsupported { supported, .. } => {
                Some(format!("supported are {}", supported.join(", ")))
            }
            ArchError::RopeKey { .. } => Some(
                "passed over, it could change every answer; take the key out only if the model was trained without it"
                    .into(),
            ),
            ArchError::Value { .. } | ArchError::Missing { .. } => {
                Some("take the value from the config.json that the model was published with".into())
            }
            ArchError::Config(_) => None,
        }
    }
}
