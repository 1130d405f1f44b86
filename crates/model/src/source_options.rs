//! What may be used to find a model.

use super::Conversions;
use olive_core::cancel::CancelFlag;
use std::path::PathBuf;
use std::sync::Arc;

/// How the hub may be used. The environment is read by `cli`.
#[derive(Clone, Default)]
pub struct SourceOptions {
    /// Only the cache, no request (`--offline`, `HF_HUB_OFFLINE`).
    pub offline: bool,
    /// The hub's cache folder, as `huggingface_hub` lays it out.
    pub cache: PathBuf,
    /// `HF_TOKEN`, or the token file.
    pub token: Option<String>,
    /// `HF_ENDPOINT`; `None` for the public hub.
    pub endpoint: Option<String>,
    /// Stops a download.
    pub cancel: CancelFlag,
    /// Where GGUF files are kept in their converted form; `None` refuses such files.
    pub conversions: Option<Arc<dyn Conversions>>,
    /// Convert nothing: what is not there yet counts as missing.
    pub read_only: bool,
}
