//! How tokens are kept.

use crate::support::{SkippingClock, environment, options};
use async_trait::async_trait;
use olive_azureml::Error;
use olive_azureml::auth::{AccessToken, Credential, Refusal, TokenRequest};
use olive_azureml::clock::Clock;
use olive_azureml::cloud::Scope;
use olive_azureml::http::Client;
use olive_azureml::secret::Secret;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Gives tokens for an hour, and counts.
#[derive(Debug)]
struct Counting {
    clock: Arc<SkippingClock>,
    given: AtomicUsize,
    fails: AtomicBool,
}

#[async_trait]
impl Credential for Counting {
    fn name(&self) -> &'static str {
        "Counting"
    }

    async fn token(&self, request: &TokenRequest) -> Result<AccessToken, Refusal> {
        // Others have time to ask for the same.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        let number = self.given.fetch_add(1, Ordering::SeqCst);
        if self.fails.load(Ordering::SeqCst) {
            return Err(Refusal::Unavailable("not now".into()));
        }
        let secret = Secret::new(format!("{:?}-{:?}-{number}", request.scope, request.tenant));
        Ok(AccessToken { secret, expires_on: self.clock.now() + Duration::from_secs(3600) })
    }
}

fn counting() -> (Client, Arc<Counting>, Arc<SkippingClock>) {
    let clock = SkippingClock::new();
    let source = Arc::new(Counting {
        clock: Arc::clone(&clock),
        given: AtomicUsize::new(0),
        fails: AtomicBool::new(false),
    });
    let client = Client::with_credential(
        &environment(&[]),
        &options(&clock),
        Arc::clone(&source) as Arc<dyn Credential>,
    );
    (client.unwrap(), source, clock)
}

async fn token(client: &Client) -> String {
    client.token(Scope::Arm).await.unwrap().expose().to_owned()
}

#[tokio::test]
async fn who_wants_the_same_token_at_the_same_time_waits_for_one() {
    let (client, source, _) = counting();
    let all = futures_util::future::join_all((0..8).map(|_| token(&client))).await;
    assert!(all.iter().all(|token| token == "Arm-None-0"), "{all:?}");
    assert_eq!(source.given.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn scopes_and_tenants_have_their_own() {
    let (client, _, _) = counting();
    let other = TokenRequest { scope: Scope::Arm, tenant: Some("t".into()) };
    assert_eq!(token(&client).await, "Arm-None-0");
    assert_eq!(client.token(other).await.unwrap().expose(), "Arm-Some(\"t\")-1");
    assert_eq!(client.token(Scope::Storage).await.unwrap().expose(), "Storage-None-2");
    assert_eq!(token(&client).await, "Arm-None-0");
}

#[tokio::test]
async fn a_token_that_ends_soon_is_replaced_if_that_works() {
    let (client, source, clock) = counting();
    assert_eq!(token(&client).await, "Arm-None-0");
    clock.advance(3299);
    assert_eq!(token(&client).await, "Arm-None-0", "301 s left");
    source.fails.store(true, Ordering::SeqCst);
    clock.advance(2);
    assert_eq!(token(&client).await, "Arm-None-0", "the old one still works");
    assert_eq!(source.given.load(Ordering::SeqCst), 2);
    clock.advance(29);
    token(&client).await;
    assert_eq!(source.given.load(Ordering::SeqCst), 2, "not within 30 s");
    source.fails.store(false, Ordering::SeqCst);
    clock.advance(1);
    assert_eq!(token(&client).await, "Arm-None-2");
}

#[tokio::test]
async fn a_token_that_has_ended_is_not_used() {
    let (client, source, clock) = counting();
    token(&client).await;
    source.fails.store(true, Ordering::SeqCst);
    clock.advance(3600);
    let error = client.token(Scope::Arm).await.unwrap_err();
    assert!(matches!(error, Error::Auth { .. }), "{error}");
    assert_eq!(error.to_string(), "no token for https://management.azure.com: Counting: not now");
}
