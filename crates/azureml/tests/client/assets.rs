//! Code, inputs of jobs and the files of addresses: which requests they take, and in which order.

use crate::contract::recorded_one;
use crate::jobs::{asked, service, workspace};
use crate::support::{Received, Reply, Service, json, status};
use olive_azureml::upload::{upload_code, upload_for_job};
use olive_azureml::uri::AssetUri;
use olive_azureml::workspace::WorkspaceClient;
use serde_json::{Value, json};
use std::path::Path;

/// The files of which the SDK was recorded to make a code asset.
fn recorded_code(folder: &Path) -> std::path::PathBuf {
    let code = folder.join("code");
    std::fs::create_dir(&code).unwrap();
    std::fs::write(code.join("olive"), b"\x7fELF fake").unwrap();
    std::fs::write(code.join("olive-config.json"), "{}").unwrap();
    code
}

fn datastore() -> Value {
    json!({"name": "workspaceblobstore", "properties": {"datastoreType": "AzureBlob", "accountName": "acc",
        "containerName": "con", "credentials": {"credentialsType": "AccountKey"}}})
}

/// A container that has only what `there` says is there.
fn blobs(request: &Received, there: &str) -> Reply {
    match request.method.as_str() {
        "PUT" => status(201).header("etag", "\"1\""),
        "HEAD" if request.path == there => status(200)
            .header("etag", "\"1\"")
            .header("last-modified", "Mon, 30 Nov 2026 00:00:00 GMT")
            .header("x-ms-meta-Upload_Status", "completed"),
        _ => status(404).header("x-ms-error-code", "BlobNotFound"),
    }
}

/// With random names as `*`.
fn calls(service: &Service) -> Vec<String> {
    let named = asked(service).into_iter().map(|line| {
        let parts = line.split('/').map(|part| if uuid::Uuid::parse_str(part).is_ok() { "*" } else { part });
        parts.collect::<Vec<_>>().join("/")
    });
    named.collect()
}

#[tokio::test]
async fn code_becomes_an_asset_as_with_the_sdk() {
    let (workspace, service) = service(|name, request, url| {
        if request.path.ends_with("/startPendingUpload") {
            return json(json!({"blobReferenceForConsumption": {"blobUri": format!("{url}/acc/con"),
                "credential": {"credentialType": "SAS", "sasUri": format!("{url}/acc/con?sv=1&sig=secret")}}}));
        }
        match name.split('/').next() {
            Some("GET ~") => json(json!({"value": []})),
            Some("PUT ~") => json(json!({"id": request.path})),
            _ => blobs(request, ""),
        }
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let id = upload_code(&workspace, &recorded_code(dir.path()), &|_| ()).await.unwrap();
    assert!(id.ends_with("/versions/1") && id.contains("/codes/"), "{id}");
    let mut calls = calls(&service);
    calls[3..5].sort();
    assert_eq!(
        calls,
        [
            "GET ~/codes/*/versions",
            "POST ~/codes/*/versions/1/startPendingUpload",
            "HEAD /acc/con/code/olive",
            "PUT /acc/con/code/olive",
            "PUT /acc/con/code/olive-config.json",
            "PUT /acc/con/code/olive",
            "PUT ~/codes/*/versions/1",
        ]
    );
    let received = service.received();
    let hash = "669e20f321f178a9cc6ce867e9162bc216c8cff85e12a0738a86de96de8bac67";
    assert!(
        received
            .iter()
            .any(|request| request.query("hash") == hash && request.query("hashVersion") == "202208")
    );
    let mut expected = recorded_one("PUT", "/codes/");
    expected["properties"]["codeUri"] = json!(format!("{}/acc/con/code", service.url));
    // A number with the SDK; the specification has a text.
    expected["properties"]["properties"]["hash_version"] = json!("202208");
    assert_eq!(received.last().unwrap().json(), expected);
    let marked = &received[received.len() - 2];
    assert_eq!((marked.query("comp"), marked.header("x-ms-meta-upload_status")), ("metadata", "completed"));
    assert!(!marked.header("x-ms-meta-name").is_empty() && marked.header("x-ms-meta-version") == "1");
}

#[tokio::test]
async fn code_that_is_there_is_not_uploaded() {
    let (workspace, service) =
        service(|_, _, _| json(json!({"value": [{"id": "/codes/known/versions/1"}]}))).await;
    let dir = tempfile::tempdir().unwrap();
    let id = upload_code(&workspace, &recorded_code(dir.path()), &|_| ()).await.unwrap();
    assert_eq!(id, "/codes/known/versions/1");
    assert_eq!(calls(&service), ["GET ~/codes/*/versions"]);
}

async fn uploaded(there: &'static str) -> (AssetUri, Vec<String>, Vec<String>) {
    let (workspace, service) = service(move |name, request, _| match name {
        "GET ~/datastores/workspaceblobstore" => json(datastore()),
        "POST ~/datastores/workspaceblobstore/listSecrets" => {
            json(json!({"secretsType": "Sas", "sasToken": "?sv=1&sig=secret"}))
        }
        _ => blobs(request, there),
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("train.json");
    std::fs::write(&file, r#"{"q":1}"#).unwrap();
    let store = workspace.datastore("workspaceblobstore").await.unwrap();
    let address = upload_for_job(&workspace, &store, &file, &|_| ()).await.unwrap();
    let folder = dir.path().join("folder");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("a"), "a").unwrap();
    let of_folder = upload_for_job(&workspace, &store, &folder, &|_| ()).await.unwrap().to_string();
    assert!(of_folder.ends_with("/folder/"), "{of_folder}");
    let secrets: Vec<String> = service
        .received()
        .iter()
        .filter(|request| request.path.ends_with("listSecrets"))
        .map(|r| r.body.clone())
        .collect();
    (address, asked(&service), secrets)
}

#[tokio::test]
async fn an_input_of_a_job_is_where_the_sdk_puts_it() {
    let (address, asked, secrets) = uploaded("").await;
    let expected = &recorded_one("PUT", "/jobs/")["properties"]["inputs"]["train"]["uri"];
    assert_eq!(address.to_string(), expected.as_str().unwrap());
    let place =
        "/acc/con/LocalUpload/534ba8d010b213b6af44c54b2dbacc826b4fc205ff2acc7edc0332962cde9a81/train.json";
    assert_eq!(asked[2..5], [format!("HEAD {place}"), format!("PUT {place}"), format!("PUT {place}")]);
    let secrets: Value = serde_json::from_str(&secrets[0]).unwrap();
    assert_eq!(secrets, recorded_one("POST", "/workspaceblobstore/listSecrets"));
}

#[tokio::test]
async fn an_input_that_the_sdk_has_uploaded_is_not_uploaded_again() {
    let place =
        "/acc/con/LocalUpload/534ba8d010b213b6af44c54b2dbacc826b4fc205ff2acc7edc0332962cde9a81/train.json";
    let (_, asked, _) = uploaded(place).await;
    assert_eq!(asked.iter().filter(|line| line.contains(place)).count(), 1, "{asked:?}");
}

/// A workspace with a datastore, a model and data.
async fn filled() -> WorkspaceClient {
    let (workspace, _) = service(|name, _, _| match name {
        "GET ~/datastores/workspaceblobstore" => json(datastore()),
        "GET ~/models/m/versions/3" => json(
            json!({"properties": {"modelUri": "azureml://datastores/workspaceblobstore/paths/models/m"}}),
        ),
        "GET ~/data/d/versions/1" => {
            json(json!({"properties": {"dataUri": "azureml://models/m/versions/3"}}))
        }
        "GET ~/data/circle/versions/1" => {
            json(json!({"properties": {"dataUri": "azureml://data/circle/versions/1"}}))
        }
        _ => status(404),
    })
    .await;
    workspace
}

#[tokio::test]
async fn addresses_lead_to_containers() {
    let client = filled().await;
    let long = "azureml://subscriptions/00000000-1111-2222-3333-444444444444/resourcegroups/RG1/workspaces/WS1/\
                datastores/workspaceblobstore/paths/a/";
    for (address, path) in [
        ("azureml://datastores/workspaceblobstore/paths/a/b", "a/b"),
        (long, "a/"),
        ("azureml://datastores/workspaceblobstore/ExperimentRun/dcid.j", "ExperimentRun/dcid.j"),
        ("azureml://models/m/versions/3", "models/m"),
        (&format!("azureml:{}/models/m/versions/3", workspace().path()), "models/m"),
        ("azureml://data/d/versions/1", "models/m"),
    ] {
        let found = client.locate(&address.parse().unwrap()).await.unwrap();
        assert_eq!(found.path, path, "{address}");
        assert!(found.container.url().path().ends_with("/acc/con"));
    }
}

#[tokio::test]
async fn addresses_that_lead_nowhere_are_named() {
    let client = filled().await;
    for (address, part) in [
        (
            "azureml://subscriptions/99999999-1111-2222-3333-444444444444/resourcegroups/rg1/workspaces/ws1/datastores/d/paths/p",
            "workspace that is configured",
        ),
        ("azureml://datastores/none/paths/p", "datastore `none`"),
        ("azureml://models/none/versions/1", "model `none`"),
        ("azureml://models/m/labels/latest", "instead of a label"),
        ("azureml://environments/e/versions/1", "a model or data"),
        ("azureml://registries/r/models/m/versions/1", "of a datastore"),
        ("azureml://data/circle/versions/1", "leads to files"),
    ] {
        let error = client.locate(&address.parse().unwrap()).await.unwrap_err().to_string();
        assert!(error.contains(part), "{address}: {error}");
    }
}
