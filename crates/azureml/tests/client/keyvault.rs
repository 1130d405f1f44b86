//! Secrets of vaults, and vaults that ask for tokens which are not for them.

use crate::support::{Received, Reply, Service, SkippingClock, TOKEN, client, json, signs_in, status};
use olive_azureml::Error;
use olive_azureml::keyvault::KeyVault;
use serde_json::json;

const CHALLENGE: &str = r#"Bearer authorization="https://login.microsoftonline.com/tenant-9", resource="https://vault.azure.net""#;

/// A vault that challenges as told, and then answers so.
async fn vault(challenge: &'static str, answer: impl Fn() -> Reply + Send + Sync + 'static) -> Service {
    Service::start(move |request, _| {
        signs_in(request).unwrap_or_else(|| match request.header("authorization") {
            "" => status(401).header("www-authenticate", challenge),
            _ => answer(),
        })
    })
    .await
}

fn refusal(status_code: u16, code: &str, inner: &str) -> Reply {
    let body = json!({"error": {"code": code, "message": "no", "innererror": {"code": inner}}});
    status(status_code).body(body.to_string())
}

async fn secret(service: &Service) -> Result<String, Error> {
    let vault = KeyVault::new(client(service, &SkippingClock::new()), "kv-1").unwrap();
    Ok(vault.secret("hf-token").await?.expose().to_owned())
}

#[tokio::test]
async fn a_secret_is_read_with_the_token_that_the_vault_asks_for() {
    let service =
        vault(CHALLENGE, || json(json!({"value": "hf_123", "id": "x", "attributes": {"enabled": true}})))
            .await;
    assert_eq!(secret(&service).await.unwrap(), "hf_123");
    let received = service.received();
    let ask = |request: &Received| {
        assert!(request.is("GET", "/secrets/hf-token/"), "{request:?}");
        assert_eq!(request.query("api-version"), "7.4");
        request.header("authorization").to_owned()
    };
    assert_eq!(ask(&received[0]), "", "no token before it is asked for");
    assert_eq!(received[1].form()["scope"], "https://vault.azure.net/.default");
    assert_eq!(ask(&received[2]), format!("Bearer {TOKEN}"));
}

#[tokio::test]
async fn a_vault_that_asks_for_another_token_gets_none() {
    for challenge in [
        r#"Bearer authorization="https://login.microsoftonline.com/t", resource="https://management.azure.com""#,
        r#"Bearer authorization="https://login.microsoftonline.com/t", resource="https://vault.azure.net.evil.example""#,
        r#"Bearer authorization="https://login.microsoftonline.com/t", resource="https://vault.azure.cn""#,
        r#"Bearer resource="nonsense""#,
    ] {
        let service = vault(challenge, || json(json!({"value": "hf_123"}))).await;
        let error = secret(&service).await.unwrap_err();
        assert!(matches!(error, Error::UntrustedHost { .. }), "{error}");
        assert_eq!(service.count(), 1, "nobody was asked for a token");
    }
    for challenge in ["", "Basic realm=x", "Bearer authorization=\"https://login.example/t\""] {
        let service = vault(challenge, || status(200)).await;
        let error = secret(&service).await.unwrap_err().to_string();
        assert!(error.contains("401 without `WWW-Authenticate"), "{error}");
    }
}

#[tokio::test]
async fn a_challenge_may_name_a_scope() {
    let challenge = r#"Bearer authorization="https://login.microsoftonline.com/t", scope="https://vault.azure.net/.default""#;
    let service = vault(challenge, || json(json!({"value": "hf_123"}))).await;
    assert_eq!(secret(&service).await.unwrap(), "hf_123");
}

#[tokio::test]
async fn refusals_say_what_to_do() {
    type Case = (fn() -> Reply, &'static str, &'static str);
    let cases: [Case; 4] = [
        (
            || refusal(403, "Forbidden", "ForbiddenByRbac"),
            "403 Forbidden/ForbiddenByRbac",
            "Key Vault Secrets User",
        ),
        (
            || refusal(403, "Forbidden", "ForbiddenByPolicy"),
            "403 Forbidden/ForbiddenByPolicy",
            "permission Get",
        ),
        (
            || refusal(404, "SecretNotFound", ""),
            "there is no secret `hf-token` in key vault `kv-1`",
            "az keyvault secret set",
        ),
        (|| refusal(401, "Unauthorized", ""), "401 Unauthorized", "sign in again"),
    ];
    for (answer, message, hint) in cases {
        let error = secret(&vault(CHALLENGE, answer).await).await.unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
        assert!(error.hint().unwrap().contains(hint), "{:?}", error.hint());
    }
}

#[tokio::test]
async fn names_that_would_change_the_address_are_refused() {
    let service = Service::start(|_, _| status(500)).await;
    let client = client(&service, &SkippingClock::new());
    assert!(KeyVault::new(client.clone(), "evil.example/").is_err());
    let vault = KeyVault::new(client, "kv-1").unwrap();
    for name in ["", "a/b", "../keys", "a?b"] {
        assert!(matches!(vault.secret(name).await, Err(Error::Invalid { .. })), "{name}");
    }
    assert_eq!(service.count(), 0);
}
