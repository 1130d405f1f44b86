//! The same against Microsoft's emulator, which checks signatures.
//!
//! ```sh
//! npx azurite-blob --inMemoryPersistence --skipApiVersionCheck --disableTelemetry &
//! AZURITE=http://127.0.0.1:10000/devstoreaccount1 cargo test -p olive-azureml --test blobs -- --ignored
//! ```
//!
//! With `AZURITE_SAS`, a signature for the container `olive`, access by signature is tested as well.

use crate::{LONG, bytes, client, silent, write};
use object_store::azure::{AzureAccessKey, AzureAuthorizer, AzureCredential};
use object_store::client::{HttpClient, HttpRequest, HttpRequestBody};
use olive_azureml::blob::Container;
use olive_azureml::download::{Downloaded, download_folder};
use olive_azureml::secret::Secret;
use olive_azureml::tree::LocalTree;
use olive_azureml::upload::{AssetLabel, upload};
use olive_azureml::workspace::StoreAccess;
use reqwest::Method;
use std::sync::Arc;

const ACCOUNT: &str = "devstoreaccount1";
/// The emulator's, which everybody knows.
const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

async fn create_container(address: &str) {
    let mut request = HttpRequest::new(HttpRequestBody::empty());
    *request.method_mut() = Method::PUT;
    *request.uri_mut() = format!("{address}/olive?restype=container").parse().unwrap();
    let key = AzureCredential::AccessKey(AzureAccessKey::try_new(KEY).unwrap());
    AzureAuthorizer::new(&key, ACCOUNT).authorize(&mut request);
    let status = HttpClient::new(client().plain().clone()).execute(request).await.unwrap().status();
    assert!(matches!(status.as_u16(), 201 | 409), "{status}");
}

#[tokio::test]
#[ignore = "needs Azurite"]
async fn a_folder_goes_there_and_back() {
    let address = std::env::var("AZURITE").expect("the address of the emulator's account");
    create_container(&address).await;
    let mut ways = vec![StoreAccess::Key(Secret::new(KEY))];
    ways.extend(std::env::var("AZURITE_SAS").map(|sas| StoreAccess::Sas(Secret::new(sas))));
    for (index, access) in ways.into_iter().enumerate() {
        let url = address.parse().unwrap();
        let container = Container::new(&client(), &url, ACCOUNT, "olive", Arc::new(access)).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("m");
        write(&folder, &[("long", &bytes(LONG)), ("a b&c#+ä/50%.txt", b"two"), ("empty", b"")]);
        let tree = LocalTree::read(&folder).unwrap();
        let label = AssetLabel { name: "n".into(), version: "1".into() };
        let to = format!("LocalUpload/{index}{}", std::process::id());
        let first = upload(&container, &tree, &to, &label, &silent).await.unwrap();
        let second = upload(&container, &tree, &to, &label, &silent).await.unwrap();
        assert_eq!((first.reused, second.reused), (false, true));
        let target = dir.path().join("back");
        let got = download_folder(&container, &first.name, &target, &silent).await.unwrap();
        assert_eq!(got, Downloaded { files: 3, bytes: LONG as u64 + 3 });
        assert!(std::fs::read(target.join("long")).unwrap() == bytes(LONG));
        assert_eq!(std::fs::read(target.join("a b&c#+ä/50%.txt")).unwrap(), b"two");
        assert_eq!(container.properties("none").await.unwrap(), None);
    }
}
