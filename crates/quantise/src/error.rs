//! What stops a quantiser.

use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum QuantiseError {
    #[error("`{module}` cannot be quantised: {reason}")]
    Settings { module: String, reason: String },
    #[error("the note of SelectiveMixedPrecision in `{}` cannot be used: {reason}", path.display())]
    Note { path: PathBuf, reason: String },
    #[error("the model is quantised already, and {pass} needs its weights in float")]
    Quantised { pass: &'static str },
    #[error("the model cannot be rotated: {reason}")]
    NotRotatable { reason: String },
    #[error("no Hadamard matrix of order {width} is known here")]
    NoRotation { width: usize },
    #[error("{pass} chooses codes by data, and no `data_config` names any")]
    DataMissing { pass: &'static str },
    #[error("the {rows} rows of the calibration data hold no tokens")]
    NoTokens { rows: usize },
}

impl olive_core::Fault for QuantiseError {
    fn hint(&self) -> Option<String> {
        match self {
            QuantiseError::Settings { .. } => Some(
                "`bits` is 2, 4 or 8, `group_size` -1 or a power of two from 16 on that divides the rows; `overrides` sets them for \
                 a single module"
                    .into(),
            ),
            QuantiseError::Note { .. } => Some("run the passes again".into()),
            QuantiseError::Quantised { .. } => Some("Rtn and KQuant quantise what is left in float".into()),
            QuantiseError::NotRotatable { .. } => {
                Some("leave QuaRot out: Gptq and SelectiveMixedPrecision work without it".into())
            }
            QuantiseError::NoRotation { .. } => Some("set `rotate_mode` to \"random\"".into()),
            QuantiseError::DataMissing { .. } => Some(
                "give it a `data_config` of some hundred texts like those that the model is to read; Olive would fetch \
                 wikitext-2 from the hub"
                    .into(),
            ),
            QuantiseError::NoTokens { .. } => Some("give a `data_config` whose rows hold some text".into()),
        }
    }
}
