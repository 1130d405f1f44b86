//! Files to and from blobs, against a storage account in this process.

mod azurite;
mod downloads;
mod service;
mod uploads;

use async_trait::async_trait;
use olive_azureml::auth::{AccessToken, Credential, Refusal, TokenRequest};
use olive_azureml::blob::{AccessSource, Container};
use olive_azureml::clock::{Clock, SystemClock};
use olive_azureml::cloud::PlainHttp;
use olive_azureml::environment::Environment;
use olive_azureml::http::{Client, ClientOptions};
use olive_azureml::retry::RetryPolicy;
use olive_azureml::secret::Secret;
use olive_azureml::transfer::Moved;
use olive_azureml::workspace::StoreAccess;
use service::Service;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// Longer than a piece, by some bytes.
const LONG: usize = (8 << 20) + 5;

#[derive(Debug)]
struct Token;

#[async_trait]
impl Credential for Token {
    fn name(&self) -> &'static str {
        "test"
    }

    async fn token(&self, _: &TokenRequest) -> Result<AccessToken, Refusal> {
        let expires_on = SystemTime::now() + Duration::from_secs(3600);
        Ok(AccessToken { secret: Secret::new("token-for-storage"), expires_on })
    }
}

/// A clock that stands still until it is set.
#[derive(Debug, Default)]
struct SetClock(AtomicU64);

#[async_trait]
impl Clock for SetClock {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.0.load(Ordering::Relaxed))
    }

    async fn sleep(&self, _: Duration) {}
}

fn client() -> Client {
    client_at(Arc::new(SystemClock))
}

fn client_at(clock: Arc<dyn Clock>) -> Client {
    let retry = RetryPolicy { backoff: Duration::ZERO, ..RetryPolicy::default() };
    let options = ClientOptions { plain_http: PlainHttp::Loopback, retry, clock, ..ClientOptions::default() };
    Client::with_credential(&Environment::default(), &options, Arc::new(Token)).unwrap()
}

/// Gives the signature that is valid when it is asked.
struct Signatures(Service);

impl std::fmt::Debug for Signatures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("signatures")
    }
}

#[async_trait]
impl AccessSource for Signatures {
    async fn access(&self) -> olive_azureml::Result<StoreAccess> {
        let signature = self.0.with(|account| {
            account.asked_for_access += 1;
            account.signature
        });
        // It ends after an hour, where the clock begins in 1970.
        Ok(StoreAccess::Sas(Secret::new(format!("sv=1&sig=secret{signature}&se=1970-01-01T01%3A00%3A00Z"))))
    }
}

fn container(service: &Service) -> Container {
    container_at(service, Arc::new(SetClock::default()))
}

fn container_at(service: &Service, clock: Arc<dyn Clock>) -> Container {
    let source = Arc::new(Signatures(service.clone()));
    Container::new(&client_at(clock), &service.url, "account", "files", source).unwrap()
}

fn silent(_: Moved) {}

/// Bytes that differ from place to place.
fn bytes(length: usize) -> Vec<u8> {
    (0..length as u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn write(folder: &Path, files: &[(&str, &[u8])]) {
    for (name, content) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}

#[tokio::test]
async fn an_account_without_keys_gets_a_token() {
    let service = Service::start().await;
    service.put("a", "content");
    let keyless = ("GET".to_owned(), 403, "KeyBasedAuthenticationNotPermitted");
    service.with(|account| account.refusals.push(keyless));
    let container = container(&service);
    assert_eq!(container.list("").await.unwrap().len(), 1);
    assert_eq!(service.with(|account| account.tokens.clone()), ["Bearer token-for-storage"]);
}

#[tokio::test]
async fn a_refusal_says_what_to_do_and_holds_no_signature() {
    let service = Service::start().await;
    let mismatch = ("HEAD".to_owned(), 403, "AuthorizationPermissionMismatch");
    service.with(|account| account.refusals.push(mismatch));
    let error = container(&service).properties("a").await.unwrap_err();
    assert!(error.hint().unwrap().contains("Storage Blob Data Contributor"), "{error}");
    // The answer to a HEAD has no body: the code is in a header.
    let text = format!("{error} {error:?}");
    assert!(text.contains("AuthorizationPermissionMismatch") && !text.contains("secret0"), "{text}");
    assert_eq!(service.requests("").len(), 1, "another signature would not help");
}

#[tokio::test]
async fn a_signature_that_stays_refused_is_an_error() {
    let service = Service::start().await;
    let never = ("".to_owned(), 403, "AuthenticationFailed");
    service.with(|account| account.refusals.push(never));
    let error = container(&service).list("x/").await.unwrap_err();
    assert_eq!(error.service().unwrap().status, 403);
    assert_eq!(service.requests("").len(), 2);
}

#[tokio::test]
async fn a_signature_does_not_travel_in_the_clear() {
    let source = Arc::new(StoreAccess::Sas(Secret::new("sig=x")));
    let url = "http://account.blob.core.windows.net".parse().unwrap();
    let container = Container::new(&client(), &url, "account", "files", source).unwrap();
    let error = container.list("").await.unwrap_err().to_string();
    assert!(error.contains("only https"), "{error}");
}

#[tokio::test]
async fn a_signature_is_renewed_before_it_ends() {
    let service = Service::start().await;
    let clock = Arc::new(SetClock::default());
    let container = container_at(&service, Arc::clone(&clock) as Arc<dyn Clock>);
    // Some minutes before its end, and when it is over in any case, but not with every request.
    for (seconds, asked) in [(0, 1), (3200, 1), (3400, 2), (3430, 2), (5000, 3)] {
        clock.0.store(seconds, Ordering::Relaxed);
        container.list("").await.unwrap();
        assert_eq!(service.with(|account| account.asked_for_access), asked, "after {seconds} s");
    }
}

#[tokio::test]
async fn a_container_does_not_show_its_access() {
    let service = Service::start().await;
    let container = container(&service);
    container.list("").await.unwrap();
    assert!(!format!("{container:?}").contains("secret0"));
    let key = Arc::new(StoreAccess::Key(Secret::new("c2VjcmV0")));
    let container = Container::new(&client(), &service.url, "account", "files", key).unwrap();
    container.list("").await.unwrap();
    // As bytes: "secret".
    assert!(!format!("{container:?}").contains("115, 101, 99"));
}
