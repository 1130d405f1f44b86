//! What a source of tokens is.

use crate::cloud::Scope;
use crate::error::Error;
use crate::secret::Secret;
use async_trait::async_trait;
use std::fmt::Debug;
use std::time::SystemTime;

/// What a token is wanted for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TokenRequest {
    pub scope: Scope,
    /// The tenant that a service asked for, where it is not that of the credential. Sources of one tenant do not look at
    /// it.
    pub tenant: Option<String>,
}

impl From<Scope> for TokenRequest {
    fn from(scope: Scope) -> TokenRequest {
        TokenRequest { scope, tenant: None }
    }
}

/// A bearer token, and how long it may be used.
#[derive(Debug, Clone)]
pub struct AccessToken {
    pub secret: Secret,
    pub expires_on: SystemTime,
}

/// Why a source gave no token.
#[derive(Debug)]
pub enum Refusal {
    /// It is not set up here: the next source is asked.
    Unavailable(String),
    /// It is set up, and does not work: the user meant this one.
    Failed(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal::Failed(error)
    }
}

/// A source of tokens.
#[async_trait]
pub trait Credential: Debug + Send + Sync {
    /// The name that Microsoft's SDKs have for it.
    fn name(&self) -> &'static str;

    /// A new token.
    ///
    /// # Errors
    /// The source is not set up, or does not work.
    async fn token(&self, request: &TokenRequest) -> Result<AccessToken, Refusal>;

    /// The source that gave the last token, where this one asks others.
    fn chosen(&self) -> Option<&'static str> {
        Some(self.name())
    }
}
