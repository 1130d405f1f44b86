//! What a workspace is asked for: the requests are those that Microsoft's SDK sends.

use crate::support::{Received, Reply, Service, SkippingClock, client, json, signs_in, status};
use olive_azureml::Error;
use olive_azureml::workspace::{
    ComputeKind, DatastoreKind, EnvironmentImage, EnvironmentSpec, StoreAccess, Workspace, WorkspaceClient,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const PATH: &str = "/subscriptions/00000000-1111-2222-3333-444444444444/resourceGroups/rg1/providers/\
                    Microsoft.MachineLearningServices/workspaces/ws1";

/// A workspace whose service answers requests, named by method and the path below the workspace, so.
async fn workspace(
    answer: impl Fn(&str, &Received, &str) -> Reply + Send + Sync + 'static,
) -> (WorkspaceClient, Service) {
    let service = Service::start(move |request, url| {
        signs_in(request).unwrap_or_else(|| answer(&named(request), request, url))
    })
    .await;
    let name = Workspace::new("00000000-1111-2222-3333-444444444444", "rg1", "ws1").unwrap();
    (WorkspaceClient::new(client(&service, &SkippingClock::new()), name), service)
}

fn named(request: &Received) -> String {
    format!("{} {}", request.method, request.path.replace(PATH, "~"))
}

fn calls(service: &Service) -> Vec<Received> {
    service.received().into_iter().filter(|request| signs_in(request).is_none()).collect()
}

fn not_found() -> Reply {
    status(404).body(json!({"error": {"code": "NotFound", "message": "no"}}).to_string())
}

#[tokio::test]
async fn the_data_plane_is_where_service_discovery_says() {
    let (workspace, service) = workspace(|name, _, url| match name {
        "GET ~" => json(json!({"id": PATH, "name": "ws1", "location": "eastus", "identity": {"type": "None"},
            "properties": {"workspaceId": "w-1", "keyVault": "/kv", "discoveryUrl": format!("{url}/discovery"), "newField": 1}})),
        "GET /discovery" => json(json!({"api": format!("{url}/api"), "history": "https://other", "studio": "https://ml.azure.com"})),
        "POST /api/history/v1.0~/rundata" => json(json!({"ok": true})),
        _ => not_found(),
    })
    .await;
    let facts = workspace.facts().await.unwrap();
    assert_eq!((facts.workspace_id.as_str(), facts.key_vault.as_deref()), ("w-1", Some("/kv")));
    for _ in 0..2 {
        let call = workspace.data_plane("history/v1.0", "/rundata").await.unwrap();
        let _: Value = workspace.client().post(&call, &json!({"runId": "r"})).await.unwrap();
    }
    let calls = calls(&service);
    let names: Vec<String> = calls.iter().map(named).collect();
    assert_eq!(names[..2], ["GET ~", "GET /discovery"]);
    assert_eq!(names.len(), 4, "both are asked once: {names:?}");
    assert_eq!(calls[1].header("authorization"), "", "discovery needs no token");
}

#[tokio::test]
async fn a_data_plane_elsewhere_gets_no_token() {
    for (discovery, api) in [("https://evil.example/discovery", ""), ("", "https://evil.example")] {
        let (workspace, _) = workspace(move |name, _, url| match name {
            "GET ~" => {
                let discovery =
                    if discovery.is_empty() { format!("{url}/discovery") } else { discovery.into() };
                json(json!({"id": PATH, "properties": {"discoveryUrl": discovery}}))
            }
            _ => json(json!({"api": api})),
        })
        .await;
        let error = workspace.data_plane("history/v1.0", "/rundata").await.unwrap_err();
        assert!(matches!(error, Error::UntrustedHost { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_workspace_that_is_missing_is_named() {
    let (workspace, _) = workspace(|_, _, _| {
        let message = "The Resource 'x' under resource group 'rg1' was not found.";
        status(404).body(json!({"error": {"code": "ResourceNotFound", "message": message}}).to_string())
    })
    .await;
    let error = workspace.facts().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no workspace ws1 of resource group rg1 of subscription 00000000-1111-2222-3333-444444444444"
    );
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("404 ResourceNotFound"));
    assert!(error.hint().is_some() && error.is_not_found());
}

fn blob_store(name: &str, credentials: &str) -> Value {
    json!({"id": "/x", "name": name, "properties": {"datastoreType": "AzureBlob", "isDefault": true, "accountName": "acct",
        "containerName": "azureml-blobstore-1", "endpoint": "core.windows.net", "protocol": "https",
        "credentials": {"credentialsType": credentials}, "serviceDataAccessAuthIdentity": "None"}})
}

#[tokio::test]
async fn datastores_are_found_by_name_and_as_the_default() {
    let (workspace, service) = workspace(|name, _, _| match name {
        "GET ~/datastores" => json(json!({"value": [blob_store("workspaceblobstore", "AccountKey")]})),
        "GET ~/datastores/lake" => {
            json(json!({"name": "lake", "properties": {"datastoreType": "AzureDataLakeGen2",
            "accountName": "lk", "filesystem": "fs"}}))
        }
        "GET ~/datastores/new" => json(json!({"name": "new", "properties": {"datastoreType": "Quantum"}})),
        _ => not_found(),
    })
    .await;
    let default = workspace.default_datastore().await.unwrap();
    assert_eq!(
        (default.name.as_str(), default.container.as_str()),
        ("workspaceblobstore", "azureml-blobstore-1")
    );
    assert_eq!((default.kind, default.account.as_str()), (DatastoreKind::Blob, "acct"));
    assert_eq!(workspace.blob_account(&default).unwrap().as_str(), "https://acct.blob.core.windows.net/");
    let query = &calls(&service)[0].query;
    assert_eq!(
        (query["isDefault"].as_str(), query["count"].as_str(), query["orderByAsc"].as_str()),
        ("true", "30", "false")
    );
    let lake = workspace.datastore("lake").await.unwrap();
    assert_eq!((lake.kind, lake.container.as_str()), (DatastoreKind::DataLake, "fs"));
    assert_eq!(workspace.datastore("new").await.unwrap().kind, DatastoreKind::Other);
    let error = workspace.datastore("none").await.unwrap_err().to_string();
    assert!(error.starts_with("there is no datastore `none` in workspace ws1"), "{error}");
    assert!(matches!(workspace.datastore("a/../b").await, Err(Error::Invalid { .. })));
}

#[tokio::test]
async fn datastores_are_entered_with_what_the_workspace_has_for_them() {
    let (workspace, service) = workspace(|name, _, _| match name {
        "GET ~/datastores/none" => json(blob_store("none", "None")),
        "POST ~/datastores/sas/listSecrets" => json(json!({"secretsType": "Sas", "sasToken": "?sv=1&sig=q"})),
        "POST ~/datastores/key/listSecrets" => json(json!({"secretsType": "AccountKey", "key": "a2V5"})),
        "POST ~/datastores/principal/listSecrets" => {
            json(json!({"secretsType": "ServicePrincipal", "clientSecret": "s"}))
        }
        "POST ~/datastores/forbidden/listSecrets" => status(403),
        "POST ~/datastores/down/listSecrets" => status(500),
        _ => json(blob_store(name.rsplit('/').next().unwrap(), "AccountKey")),
    })
    .await;
    let access = async |name: &str| {
        let store = workspace.datastore(name).await.unwrap();
        workspace.store_access(&store).await
    };
    let StoreAccess::Sas(sas) = access("sas").await.unwrap() else { panic!("a SAS") };
    assert_eq!(sas.expose(), "sv=1&sig=q");
    let StoreAccess::Key(key) = access("key").await.unwrap() else { panic!("a key") };
    assert_eq!(key.expose(), "a2V5");
    let asked = calls(&service).into_iter().find(|call| call.method == "POST").unwrap();
    assert_eq!(asked.json(), json!({"expirableSecret": true, "expireAfterHours": 1}));
    for name in ["none", "principal", "forbidden"] {
        assert!(matches!(access(name).await.unwrap(), StoreAccess::Token), "{name}");
    }
    assert!(!calls(&service).iter().any(|call| call.path.ends_with("none/listSecrets")));
    assert!(matches!(access("down").await, Err(Error::Service(_))));
    assert!(!format!("{:?} {:?}", StoreAccess::Sas(sas), StoreAccess::Key(key)).contains("a2V5"));
}

#[tokio::test]
async fn computes_tell_their_kind() {
    let (workspace, _) = workspace(|name, _, _| match name {
        "GET ~/computes/gpu-cluster" => json(json!({"id": format!("{PATH}/computes/gpu-cluster"), "name": "gpu-cluster",
            "properties": {"computeType": "AmlCompute", "provisioningState": "Succeeded", "properties": {"vmSize": "NC6"}}})),
        _ => not_found(),
    })
    .await;
    let compute = workspace.compute("gpu-cluster").await.unwrap();
    assert_eq!(compute.kind, ComputeKind::AmlCompute { vm_size: Some("NC6".into()) });
    assert_eq!(compute.id, format!("{PATH}/computes/gpu-cluster"));
    assert!(
        workspace.compute("none").await.unwrap_err().to_string().starts_with("there is no compute `none`")
    );
}

#[tokio::test]
async fn environments_are_made_and_found() {
    let (workspace, service) = workspace(|name, _, _| match name {
        "GET ~/environments/env" => json(json!({"id": "/e", "properties": {"latestVersion": "7"}})),
        "GET ~/environments/env/versions/7" => json(json!({"id": "/e/versions/7", "properties": {}})),
        "PUT ~/environments/new/versions/1" => status(201).body(json!({"id": "/new/1"}).to_string()),
        _ => not_found(),
    })
    .await;
    assert_eq!(workspace.latest_environment("env").await.unwrap(), "/e/versions/7");
    let image = EnvironmentImage::Existing("mcr.microsoft.com/azureml/x:1".into());
    let conda = "dependencies:\n- python=3.9\n".to_owned();
    let spec = EnvironmentSpec { image, conda: Some(conda.clone()), is_anonymous: true };
    assert_eq!(workspace.put_environment("new", "1", &spec).await.unwrap(), "/new/1");
    let image = EnvironmentImage::Build {
        context_uri: "https://a/c/d/".into(),
        dockerfile_path: "Dockerfile".into(),
    };
    workspace
        .put_environment("new", "1", &EnvironmentSpec { image, conda: None, is_anonymous: false })
        .await
        .unwrap();
    let bodies: Vec<Value> =
        calls(&service).iter().filter(|call| call.method == "PUT").map(Received::json).collect();
    assert_eq!(
        bodies[0],
        json!({"properties": {"image": "mcr.microsoft.com/azureml/x:1", "condaFile": conda, "osType": "Linux",
            "isAnonymous": true, "isArchived": false}})
    );
    assert_eq!(
        bodies[1],
        json!({"properties": {"build": {"contextUri": "https://a/c/d/", "dockerfilePath": "Dockerfile"},
            "osType": "Linux", "isAnonymous": false, "isArchived": false}})
    );
    let error = workspace.environment("none", "3").await.unwrap_err().to_string();
    assert!(error.starts_with("there is no environment `none` of version `3` in workspace ws1"), "{error}");
}

#[tokio::test]
async fn code_is_uploaded_once_for_each_content() {
    let (workspace, service) = workspace(|name, request, _| match name {
        "GET ~/codes/c-1/versions" if request.query("hash") == "known" => {
            json(json!({"value": [{"id": "/codes/c-0/versions/1"}]}))
        }
        "GET ~/codes/c-1/versions" => json(json!({"value": []})),
        "POST ~/codes/c-1/versions/1/startPendingUpload" => {
            json(json!({"pendingUploadId": null, "pendingUploadType": "TemporaryBlobReference",
            "blobReferenceForConsumption": {"blobUri": "https://a/c", "storageAccountArmId": "/x",
                "credential": {"credentialType": "SAS", "sasUri": "https://a/c?sig=q"}}}))
        }
        "PUT ~/codes/c-1/versions/1" => status(201).body(json!({"id": "/codes/c-1/versions/1"}).to_string()),
        _ => not_found(),
    })
    .await;
    assert_eq!(
        workspace.code_with_hash("c-1", "known").await.unwrap().as_deref(),
        Some("/codes/c-0/versions/1")
    );
    assert_eq!(workspace.code_with_hash("c-1", "new").await.unwrap(), None);
    let upload = workspace.start_code_upload("c-1").await.unwrap();
    assert_eq!((upload.blob_uri.as_str(), upload.sas_uri.expose()), ("https://a/c", "https://a/c?sig=q"));
    assert!(!format!("{upload:?}").contains("sig=q"), "{upload:?}");
    assert_eq!(workspace.put_code("c-1", "https://a/c/dir", "abc").await.unwrap(), "/codes/c-1/versions/1");
    let calls = calls(&service);
    assert_eq!((calls[0].query("hash"), calls[0].query("hashVersion")), ("known", "202208"));
    assert_eq!(calls[2].json(), json!({"pendingUploadType": "TemporaryBlobReference"}));
    // The specification has a map of texts; the SDK sends the version as a number.
    assert_eq!(
        calls[3].json(),
        json!({"properties": {"codeUri": "https://a/c/dir", "isAnonymous": true,
            "properties": {"hash_sha256": "abc", "hash_version": "202208"}}})
    );
}

#[tokio::test]
async fn models_and_data_are_registered_and_found() {
    let (workspace, service) = workspace(|name, _, _| match name {
        "GET ~/models/m/versions/3" => {
            json(json!({"id": "/m", "properties": {"modelUri": "azureml://x", "modelType": "custom_model"}}))
        }
        "GET ~/models/m/versions" => {
            json(json!({"value": [{"name": "3"}], "nextLink": "https://not.followed/"}))
        }
        "GET ~/data/d/versions/1" => {
            json(json!({"id": "/d", "properties": {"dataUri": "azureml://y", "dataType": "uri_folder"}}))
        }
        "PUT ~/models/m/versions/4" | "PUT ~/data/d/versions/2" => {
            status(201).body(json!({"id": "/made"}).to_string())
        }
        _ => not_found(),
    })
    .await;
    assert_eq!(workspace.model("m", "3").await.unwrap().model_uri, "azureml://x");
    assert_eq!(workspace.model_id("m", "3").unwrap(), format!("{PATH}/models/m/versions/3"));
    assert_eq!(workspace.latest_model_version("m").await.unwrap().as_deref(), Some("3"));
    assert_eq!(workspace.latest_model_version("none").await.unwrap(), None);
    assert_eq!(workspace.data("d", "1").await.unwrap().data_uri, "azureml://y");
    let none = BTreeMap::new();
    assert_eq!(workspace.put_model("m", "4", "azureml://z", &none, &none).await.unwrap(), "/made");
    workspace.put_data("d", "2", "uri_folder", "azureml://z").await.unwrap();
    let calls = calls(&service);
    assert_eq!((calls[1].query("$orderBy"), calls[1].query("$top")), ("createdtime desc", "1"));
    let bodies: Vec<Value> = calls.iter().filter(|call| call.method == "PUT").map(Received::json).collect();
    assert_eq!(
        bodies[0],
        json!({"properties": {"modelType": "custom_model", "modelUri": "azureml://z", "isAnonymous": false,
            "isArchived": false, "tags": {}, "properties": {}}})
    );
    assert_eq!(
        bodies[1],
        json!({"properties": {"dataType": "uri_folder", "dataUri": "azureml://z", "isAnonymous": false}})
    );
    let error = workspace.data("d", "9").await.unwrap_err().to_string();
    assert!(error.starts_with("there is no data `d` of version `9`"), "{error}");
}
