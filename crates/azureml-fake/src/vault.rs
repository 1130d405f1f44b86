//! Key Vault: a challenge, and secrets for those who have the token that it asks for.

use crate::exchange::{Exchange, Reply};
use crate::tokens;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

const RESOURCE: &str = "https://vault.azure.net";

/// The secrets of every vault.
#[derive(Debug, Default)]
pub struct Vault(Mutex<BTreeMap<String, String>>);

impl Vault {
    pub fn set(&self, name: &str, value: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), value.to_owned());
    }

    /// `GET /secrets/{name}/`
    pub fn secret(&self, request: &Exchange, name: &str) -> Reply {
        if request.query("api-version").is_empty() {
            return Reply::refusal(400, "BadParameter", "api-version must be specified");
        }
        if request.bearer().and_then(tokens::audience).as_deref() != Some(RESOURCE) {
            let challenge = format!(
                r#"Bearer authorization="https://login.microsoftonline.com/{}", resource="{RESOURCE}""#,
                tokens::TENANT
            );
            return Reply::refusal(
                401,
                "Unauthorized",
                "AKV10000: Request is missing a Bearer or PoP token.",
            )
            .header("www-authenticate", challenge);
        }
        let secrets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match secrets.get(name) {
            Some(value) => {
                let id = format!("https://fake.vault.azure.net/secrets/{name}/1");
                Reply::json(200, &json!({"value": value, "id": id, "attributes": {"enabled": true}}))
            }
            None => {
                let message = format!("A secret with (name/id) {name} was not found in this key vault.");
                Reply::refusal(404, "SecretNotFound", &message)
            }
        }
    }
}
