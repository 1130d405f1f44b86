//! Shared access signatures: addresses that carry their rights.

use crate::exchange::{Exchange, Reply};
use chrono::{DateTime, Duration, Utc};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// What a signature allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    Read,
    ReadWrite,
}

/// The signatures that were given out, by their `sig`.
#[derive(Debug, Default)]
pub struct Signatures(Mutex<BTreeMap<String, Grant>>);

#[derive(Debug)]
struct Grant {
    container: String,
    /// The blob, where it is for one only.
    blob: Option<String>,
    rights: Rights,
    expires: DateTime<Utc>,
}

/// How long signatures are good for.
const LIFETIME: Duration = Duration::hours(1);

impl Signatures {
    /// A new signature for a container, or for one blob of it, as the query of an address.
    pub fn issue(&self, container: &str, blob: Option<&str>, rights: Rights) -> String {
        let mut grants = self.grants();
        let expires = Utc::now() + LIFETIME;
        let signature = format!("fake{}", grants.len());
        let permissions = match rights {
            Rights::Read => "rl",
            Rights::ReadWrite => "racwl",
        };
        let query = format!(
            "sv=2021-12-02&sr={}&sp={permissions}&se={}&sig={signature}",
            if blob.is_some() { "b" } else { "c" },
            expires.format("%Y-%m-%dT%H%%3A%M%%3A%SZ"),
        );
        let (container, blob) = (container.to_owned(), blob.map(str::to_owned));
        grants.insert(signature, Grant { container, blob, rights, expires });
        query
    }

    /// From now on, those that were given out so far are refused.
    pub fn expire_all(&self) {
        for grant in self.grants().values_mut() {
            grant.expires = Utc::now() - LIFETIME;
        }
    }

    /// Whether the request's signature allows it.
    ///
    /// # Errors
    /// The refusal.
    pub fn check(&self, request: &Exchange, container: &str, blob: &str) -> Result<(), Reply> {
        let grants = self.grants();
        let Some(grant) = grants.get(request.query("sig")) else {
            return Err(refusal(403, "AuthenticationFailed", "Signature did not match."));
        };
        if grant.expires <= Utc::now() {
            return Err(expired());
        }
        let fits = grant.container == container && grant.blob.as_ref().is_none_or(|own| own == blob);
        let reads = matches!(request.method.as_str(), "GET" | "HEAD");
        if fits && (reads || grant.rights == Rights::ReadWrite) {
            return Ok(());
        }
        let message = "This request is not authorized to perform this operation using this permission.";
        Err(refusal(403, "AuthorizationPermissionMismatch", message))
    }

    fn grants(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Grant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is said to a signature that was good once.
pub fn expired() -> Reply {
    let message =
        "Server failed to authenticate the request. Signature not valid in the specified time frame";
    refusal(403, "AuthenticationFailed", message)
}

/// A refusal of blob storage.
pub fn refusal(status: u16, code: &str, message: &str) -> Reply {
    let body = format!(
        "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code><Message>{message}\nRequestId:fake\nTime:now</Message></Error>"
    );
    Reply::xml(status, body).header("x-ms-error-code", code).header("x-ms-request-id", "fake-blob-request")
}
