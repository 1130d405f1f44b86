//! Tokens that are still good: one request at a time for each, made again before it ends.

use super::source::{AccessToken, Credential, Refusal, TokenRequest};
use crate::clock::Clock;
use crate::cloud::Endpoints;
use crate::error::{Error, Result};
use crate::secret::Secret;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// A token with less left is replaced.
const LEAST_LEFT: Duration = Duration::from_secs(300);

/// Between two attempts to replace a token that is still good.
const REFRESH_PAUSE: Duration = Duration::from_secs(30);

/// The tokens of one credential.
#[derive(Debug)]
pub struct Tokens {
    credential: Arc<dyn Credential>,
    endpoints: Arc<Endpoints>,
    clock: Arc<dyn Clock>,
    kept: Mutex<HashMap<TokenRequest, Arc<tokio::sync::Mutex<Option<Kept>>>>>,
}

#[derive(Debug)]
struct Kept {
    token: AccessToken,
    asked: SystemTime,
}

impl Tokens {
    pub fn new(credential: Arc<dyn Credential>, endpoints: Arc<Endpoints>, clock: Arc<dyn Clock>) -> Tokens {
        Tokens { credential, endpoints, clock, kept: Mutex::default() }
    }

    /// A token with some minutes left. Callers who want the same one wait for one request.
    ///
    /// # Errors
    /// The credential gives none.
    pub async fn get(&self, request: &TokenRequest) -> Result<Secret> {
        let slot = {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(kept.entry(request.clone()).or_default())
        };
        let mut slot = slot.lock().await;
        let now = self.clock.now();
        if let Some(kept) = slot.as_mut() {
            let fresh = kept.token.expires_on > now + LEAST_LEFT;
            let good = kept.token.expires_on > now;
            let just_asked = now < kept.asked + REFRESH_PAUSE;
            if fresh || (good && just_asked) {
                return Ok(kept.token.secret.clone());
            }
            kept.asked = now;
        }
        match (self.credential.token(request).await, slot.as_ref()) {
            (Ok(token), _) => {
                let secret = token.secret.clone();
                *slot = Some(Kept { token, asked: now });
                Ok(secret)
            }
            // The old one still works.
            (Err(_), Some(kept)) if kept.token.expires_on > now => Ok(kept.token.secret.clone()),
            (Err(Refusal::Failed(error)), _) => Err(error),
            (Err(Refusal::Unavailable(why)), _) => Err(Error::Auth {
                resource: self.endpoints.resource(request.scope),
                tried: vec![(self.credential.name(), why)],
            }),
        }
    }

    /// The source that gave the tokens, once one did.
    pub fn chosen(&self) -> Option<&'static str> {
        self.credential.chosen()
    }
}
