//! What a token says of itself. Nothing is verified: the service that it is sent to does that.

use crate::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The claims of a JSON web token that are of use here.
#[derive(Debug, Clone, Default, Deserialize, PartialEq, Eq)]
pub struct Claims {
    /// Whom the token is for.
    #[serde(rename = "aud")]
    pub audience: Option<String>,
    #[serde(rename = "tid")]
    pub tenant: Option<String>,
    #[serde(rename = "exp")]
    expires: Option<u64>,
}

impl Claims {
    /// Those of a token; `None` if it is no JSON web token.
    pub fn of(token: &Secret) -> Option<Claims> {
        let payload = token.expose().split('.').nth(1)?;
        let json = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
        serde_json::from_slice(&json).ok()
    }

    pub fn expires_on(&self) -> Option<SystemTime> {
        UNIX_EPOCH.checked_add(Duration::from_secs(self.expires?))
    }
}
