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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_read_and_nothing_else_is_a_token() {
        let payload = URL_SAFE_NO_PAD
            .encode(br#"{"aud": "https://ml.azure.com", "tid": "t-1", "exp": 1795515630, "x": [1]}"#);
        let claims = Claims::of(&Secret::new(format!("e30.{payload}.c2ln"))).unwrap();
        assert_eq!(
            (claims.audience.as_deref(), claims.tenant.as_deref()),
            (Some("https://ml.azure.com"), Some("t-1"))
        );
        assert_eq!(claims.expires_on(), Some(UNIX_EPOCH + Duration::from_secs(1_795_515_630)));
        for other in ["opaque", "a.b.c", "", "a..c"] {
            assert_eq!(Claims::of(&Secret::new(other)), None, "{other}");
        }
    }
}
