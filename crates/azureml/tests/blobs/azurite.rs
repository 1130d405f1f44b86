//! The same against Microsoft's emulator, which checks signatures and tokens.
//!
//! ```sh
//! npx azurite-blob --inMemoryPersistence --skipApiVersionCheck --disableTelemetry &
//! AZURITE=http://127.0.0.1:10000/devstoreaccount1 cargo test --release --test blobs -- --ignored keys
//!
//! openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 30 -subj /CN=127.0.0.1 \
//!     -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE
//! npx azurite-blob --blobPort 10443 --oauth basic --cert cert.pem --key key.pem --inMemoryPersistence \
//!     --skipApiVersionCheck --disableTelemetry &
//! AZURITE_OAUTH=https://127.0.0.1:10443/devstoreaccount1 SSL_CERT_FILE=cert.pem \
//!     cargo test --release --test blobs -- --ignored tokens
//! ```
//!
//! With `AZURITE_SAS`, a signature for the container `olive`, access by signature is tested as well.

use crate::{LONG, bytes, client, silent, write};
use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use object_store::azure::{AzureAccessKey, AzureAuthorizer, AzureCredential};
use object_store::client::{HttpClient, HttpRequest, HttpRequestBody};
use olive_azureml::Error;
use olive_azureml::auth::{AccessToken, Credential, Refusal, TokenRequest};
use olive_azureml::blob::Container;
use olive_azureml::download::{Downloaded, download_folder};
use olive_azureml::http::{Client, ClientOptions};
use olive_azureml::secret::Secret;
use olive_azureml::tree::LocalTree;
use olive_azureml::upload::{AssetLabel, upload};
use olive_azureml::workspace::StoreAccess;
use reqwest::Method;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const ACCOUNT: &str = "devstoreaccount1";
/// The emulator's, which everybody knows.
const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// Where the emulator is, with a container `olive`.
async fn emulator(variable: &str) -> String {
    let address = std::env::var(variable).expect("the address of the emulator's account");
    let mut request = HttpRequest::new(HttpRequestBody::empty());
    *request.method_mut() = Method::PUT;
    *request.uri_mut() = format!("{address}/olive?restype=container").parse().unwrap();
    let key = AzureCredential::AccessKey(AzureAccessKey::try_new(KEY).unwrap());
    AzureAuthorizer::new(&key, ACCOUNT).authorize(&mut request);
    let status = HttpClient::new(client().plain().clone()).execute(request).await.unwrap().status();
    assert!(matches!(status.as_u16(), 201 | 409), "{status}");
    address
}

fn container(client: &Client, address: &str, access: StoreAccess) -> Container {
    Container::new(client, &address.parse().unwrap(), ACCOUNT, "olive", Arc::new(access)).unwrap()
}

async fn goes_there_and_back(container: &Container, name: &str) {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("m");
    write(&folder, &[("long", &bytes(LONG)), ("a b&c#+ä/50%.txt", b"two"), ("empty", b"")]);
    let tree = LocalTree::read(&folder).unwrap();
    let label = AssetLabel { name: "n".into(), version: "1".into() };
    let to = format!("LocalUpload/{name}{}", std::process::id());
    let first = upload(container, &tree, &to, &label, &silent).await.unwrap();
    let second = upload(container, &tree, &to, &label, &silent).await.unwrap();
    assert_eq!((first.reused, second.reused), (false, true));
    let target = dir.path().join("back");
    let got = download_folder(container, &first.name, &target, &silent).await.unwrap();
    assert_eq!(got, Downloaded { files: 3, bytes: LONG as u64 + 3 });
    assert!(std::fs::read(target.join("long")).unwrap() == bytes(LONG));
    assert_eq!(std::fs::read(target.join("a b&c#+ä/50%.txt")).unwrap(), b"two");
    assert_eq!(container.properties("none").await.unwrap(), None);
}

#[tokio::test]
#[ignore = "needs Azurite"]
async fn a_folder_goes_there_and_back_with_keys_and_signatures() {
    let address = emulator("AZURITE").await;
    goes_there_and_back(&container(&client(), &address, StoreAccess::Key(Secret::new(KEY))), "key").await;
    if let Ok(sas) = std::env::var("AZURITE_SAS") {
        goes_there_and_back(&container(&client(), &address, StoreAccess::Sas(Secret::new(sas))), "sas").await;
    }
}

/// A token that nobody signed, as the emulator takes it. The emulator looks at whom it is for.
#[derive(Debug)]
struct TokenFor(&'static str);

#[async_trait]
impl Credential for TokenFor {
    fn name(&self) -> &'static str {
        "test"
    }

    async fn token(&self, _: &TokenRequest) -> Result<AccessToken, Refusal> {
        let expires_on = SystemTime::now() + Duration::from_secs(3600);
        let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap().as_secs();
        let now = seconds(SystemTime::now());
        let claims = json!({"aud": self.0, "iss": "https://sts.windows.net/11111111-1111-1111-1111-111111111111/",
            "iat": now, "nbf": now, "exp": seconds(expires_on)});
        let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let secret =
            Secret::new(format!("{}.{}.c2ln", part(json!({"alg": "RS256", "typ": "JWT"})), part(claims)));
        Ok(AccessToken { secret, expires_on })
    }
}

#[tokio::test]
#[ignore = "needs Azurite with OAuth"]
async fn a_folder_goes_there_and_back_with_tokens() {
    let address = emulator("AZURITE_OAUTH").await;
    let with_token_for = |audience| {
        // Tokens go to accounts of the cloud, and to what takes their place.
        let variables = [("OLIVE_AZUREML_BLOB_URL", address.as_str())].into_iter().collect();
        let credential = Arc::new(TokenFor(audience));
        let client = Client::with_credential(&variables, &ClientOptions::default(), credential).unwrap();
        container(&client, &address, StoreAccess::Token)
    };
    goes_there_and_back(&with_token_for("https://storage.azure.com"), "token").await;
    let error = with_token_for("https://management.azure.com").list("").await.unwrap_err();
    assert!(matches!(&error, Error::Service(refusal) if refusal.status == 403), "{error}");
}
