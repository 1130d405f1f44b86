//! Blobs, through the client that most programs in Rust have.

use crate::support::start;
use object_store::azure::{MicrosoftAzure, MicrosoftAzureBuilder};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload, RetryConfig};
use olive_azureml_fake::FakeAzure;
use olive_azureml_fake::blob_service::AccountPolicy;
use olive_azureml_fake::faults::{Fault, FaultKind};
use olive_azureml_fake::place::ACCOUNT;
use olive_azureml_fake::signature::Rights;
use olive_azureml_fake::tokens;
use olive_azureml_fake::world::FakeOptions;

const CONTAINER: &str = "azureml-blobstore-0001";

fn builder(fake: &FakeAzure) -> MicrosoftAzureBuilder {
    MicrosoftAzureBuilder::new()
        .with_account(ACCOUNT)
        .with_container_name(CONTAINER)
        .with_endpoint(format!("{}/blob/{ACCOUNT}", fake.url()))
        .with_allow_http(true)
        .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
}

fn with_sas(fake: &FakeAzure, rights: Rights) -> MicrosoftAzure {
    let sas = fake.world().signatures.issue(CONTAINER, None, rights);
    builder(fake).with_config("azure_storage_sas_key".parse().unwrap(), sas).build().unwrap()
}

#[tokio::test]
async fn blobs_are_written_read_listed_and_deleted() {
    let (fake, _) = start(FakeOptions::default()).await;
    let store = with_sas(&fake, Rights::ReadWrite);
    for name in ["a/1 & ü.txt", "a/b/2.txt", "a/b/3.txt", "c.txt"] {
        store.put(&Path::parse(name).unwrap(), PutPayload::from(name.as_bytes().to_vec())).await.unwrap();
    }
    let path = Path::from("a/b/2.txt");
    assert_eq!(store.head(&path).await.unwrap().size, 9);
    assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "a/b/2.txt");
    assert_eq!(store.get_range(&path, 2..5).await.unwrap(), "b/2");
    let all =
        futures_util::TryStreamExt::try_collect::<Vec<_>>(store.list(Some(&Path::from("a")))).await.unwrap();
    let names: Vec<&str> = all.iter().map(|meta| meta.location.as_ref()).collect();
    assert_eq!(names, ["a/1 & ü.txt", "a/b/2.txt", "a/b/3.txt"], "over two pages");
    let top = store.list_with_delimiter(None).await.unwrap();
    assert_eq!((top.common_prefixes[0].as_ref(), top.objects[0].location.as_ref()), ("a", "c.txt"));
    assert_eq!(raw(&fake, "DELETE", "a/b/2.txt?x=1", &[]).await.status(), 202);
    assert!(matches!(store.get(&path).await, Err(object_store::Error::NotFound { .. })));
    let again = store.put_opts(&Path::from("c.txt"), "x".into(), PutMode::Create.into()).await;
    assert!(matches!(again, Err(object_store::Error::AlreadyExists { .. })));
}

#[tokio::test]
async fn large_blobs_are_made_of_blocks() {
    let (fake, _) = start(FakeOptions::default()).await;
    let store = with_sas(&fake, Rights::ReadWrite);
    let path = Path::from("large");
    let mut upload = store.put_multipart(&path).await.unwrap();
    upload.put_part("first-".into()).await.unwrap();
    upload.put_part("second".into()).await.unwrap();
    assert!(store.head(&path).await.is_err(), "not before the list of blocks");
    upload.complete().await.unwrap();
    assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "first-second");
}

async fn raw(fake: &FakeAzure, method: &str, rest: &str, headers: &[(&str, &str)]) -> reqwest::Response {
    let sas = fake.world().signatures.issue(CONTAINER, None, Rights::ReadWrite);
    let url = format!("{}/blob/{ACCOUNT}/{CONTAINER}/{rest}&{sas}", fake.url());
    let mut request = reqwest::Client::new().request(method.parse().unwrap(), url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

#[tokio::test]
async fn metadata_is_set_and_told() {
    let (fake, _) = start(FakeOptions::default()).await;
    let metadata = [("x-ms-meta-upload_status", "completed"), ("x-ms-meta-name", "n")];
    assert_eq!(raw(&fake, "PUT", "a?comp=metadata", &metadata).await.status(), 404);
    fake.world().blobs.put(CONTAINER, "a", "text");
    assert_eq!(raw(&fake, "PUT", "a?comp=metadata", &metadata).await.status(), 200);
    let head = raw(&fake, "HEAD", "a?x=1", &[]).await;
    let header = |name: &str| head.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(
        (header("x-ms-meta-upload_status"), header("content-length")),
        ("completed".into(), "4".into())
    );
    raw(&fake, "PUT", "a?comp=metadata", &[("x-ms-meta-other", "1")]).await;
    assert!(
        !raw(&fake, "HEAD", "a?x=1", &[]).await.headers().contains_key("x-ms-meta-name"),
        "all are replaced"
    );
}

#[tokio::test]
async fn ranges_beyond_the_end_are_refused() {
    let (fake, _) = start(FakeOptions::default()).await;
    fake.world().blobs.put(CONTAINER, "log", "0123456789");
    for (range, status, body) in
        [("bytes=4-", 206, "456789"), ("bytes=4-5", 206, "45"), ("bytes=8-99", 206, "89")]
    {
        let answer = raw(&fake, "GET", "log?x=1", &[("range", range)]).await;
        assert_eq!(answer.status(), status);
        assert_eq!(answer.text().await.unwrap(), body, "{range}");
    }
    let answer = raw(&fake, "GET", "log?x=1", &[("range", "bytes=10-")]).await;
    assert_eq!(
        (answer.status().as_u16(), answer.headers()["x-ms-error-code"].to_str().unwrap()),
        (416, "InvalidRange")
    );
}

#[tokio::test]
async fn signatures_expire_and_allow_what_they_say() {
    let (fake, _) = start(FakeOptions::default()).await;
    fake.world().blobs.put(CONTAINER, "a", "text");
    let path = Path::from("a");
    let reader = with_sas(&fake, Rights::Read);
    reader.get(&path).await.unwrap();
    let error = reader.put(&path, "x".into()).await.unwrap_err().to_string();
    assert!(error.contains("AuthorizationPermissionMismatch"), "{error}");
    fake.add_fault(Fault::new("GET", "/a", FaultKind::SignatureExpired));
    let error = reader.get(&path).await.unwrap_err().to_string();
    assert!(error.contains("AuthenticationFailed"), "{error}");
    reader.get(&path).await.unwrap();
    fake.world().signatures.expire_all();
    let error = reader.get(&path).await.unwrap_err().to_string();
    assert!(error.contains("Signature not valid in the specified time frame"), "{error}");
    with_sas(&fake, Rights::Read).get(&path).await.unwrap();
    let log = fake.world().signatures.issue(CONTAINER, Some("other"), Rights::Read);
    let url = format!("{}/blob/{ACCOUNT}/{CONTAINER}/a?{log}", fake.url());
    assert_eq!(reqwest::get(url).await.unwrap().status(), 403, "a signature for another blob");
}

#[tokio::test]
async fn accounts_refuse_keys_or_users_without_a_role() {
    for (policy, with_key, with_token) in [
        (AccountPolicy::Open, "", ""),
        (AccountPolicy::NoKeys, "KeyBasedAuthenticationNotPermitted", ""),
        (AccountPolicy::NoRole, "", "AuthorizationPermissionMismatch"),
    ] {
        let (fake, _) = start(FakeOptions { account: policy, ..FakeOptions::default() }).await;
        fake.world().blobs.put(CONTAINER, "a", "text");
        let key = builder(&fake).with_access_key("a2V5").build().unwrap();
        let token =
            builder(&fake).with_bearer_token_authorization(tokens::issue("https://storage.azure.com"));
        let wrong =
            builder(&fake).with_bearer_token_authorization(tokens::issue("https://management.azure.com"));
        for (store, expected) in [
            (key, with_key),
            (token.build().unwrap(), with_token),
            (wrong.build().unwrap(), "InvalidAuthenticationInfo"),
        ] {
            match store.get(&Path::from("a")).await {
                Ok(_) => assert_eq!(expected, "", "{policy:?}"),
                Err(error) => {
                    let text = error.to_string();
                    assert!(!expected.is_empty() && text.contains(expected), "{policy:?}: {text}");
                }
            }
        }
    }
}
