//! The control plane besides jobs: the workspace, datastores, computes, environments, code, models, data.

use crate::exchange::{Exchange, Reply};
use crate::place::{ACCOUNT, BLOB_STORE, container_of, workspace_path};
use crate::signature::Rights;
use crate::world::{StoreSecrets, World};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The account's key, which is none.
const KEY: &str = "ZmFrZS1hY2NvdW50LWtleQ==";

/// A request below the workspace; `rest` are the parts of its path there.
pub fn answer(world: &World, request: &Exchange, rest: &[&str]) -> Reply {
    match (request.method.as_str(), rest) {
        ("GET", []) => workspace(world),
        ("GET", ["datastores"]) => Reply::json(200, &json!({"value": [datastore(world, BLOB_STORE)]})),
        ("GET", ["datastores", name]) => match container_of(name) {
            Some(container) => Reply::json(200, &datastore(world, (name, container))),
            None => missing("datastore", name),
        },
        ("POST", ["datastores", name, "listSecrets"]) => secrets(world, name),
        ("GET", ["computes", name]) => match world.options.computes.get(*name) {
            Some(properties) => Reply::json(200, &resource(&format!("computes/{name}"), name, properties)),
            None => missing("compute", name),
        },
        ("POST", ["codes", _, "versions", _, "startPendingUpload"]) => pending_upload(world),
        ("GET", ["codes", _, "versions"]) => codes_with_hash(world, request.query("hash")),
        ("GET", [kind @ ("environments" | "models" | "data"), name]) => latest(world, kind, name),
        ("GET", ["models", name, "versions"]) => versions(world, "models", name),
        ("PUT", [kind @ ("codes" | "environments" | "models" | "data"), name, "versions", version]) => {
            put(world, request, kind, name, version)
        }
        ("GET", [kind @ ("codes" | "environments" | "models" | "data"), name, "versions", version]) => {
            match world.assets().get(&format!("{kind}/{name}/versions/{version}")) {
                Some(asset) => Reply::json(200, asset),
                None => missing(kind, name),
            }
        }
        _ => {
            Reply::refusal(404, "NotFound", &format!("The fake has no {} {}.", request.method, request.path))
        }
    }
}

pub fn missing(kind: &str, name: &str) -> Reply {
    Reply::refusal(404, "ResourceNotFound", &format!("The {kind} '{name}' was not found."))
}

/// Something as the control plane writes it.
pub fn resource(path: &str, name: &str, properties: &Value) -> Value {
    let kind = path.split('/').next().unwrap_or_default();
    json!({"id": format!("{}/{path}", workspace_path()), "name": name,
        "type": format!("Microsoft.MachineLearningServices/workspaces/{kind}"), "properties": properties,
        "systemData": {"createdAt": "2026-11-24T00:00:00Z", "createdBy": "me", "createdByType": "User"}})
}

fn workspace(world: &World) -> Reply {
    let mut workspace = resource(
        "",
        "ws1",
        &json!({"friendlyName": "ws1", "workspaceId": "33333333-0000-0000-0000-000000000000",
        "storageAccount": "/subscriptions/x/sa", "keyVault": "/subscriptions/x/kv", "provisioningState": "Succeeded",
        "discoveryUrl": format!("{}/discovery", world.url)}),
    );
    workspace["id"] = json!(workspace_path());
    workspace["location"] = json!("eastus");
    Reply::json(200, &workspace)
}

fn datastore(world: &World, (name, container): (&str, &str)) -> Value {
    let credentials = match world.options.store_secrets {
        StoreSecrets::Nothing => json!({"credentialsType": "None"}),
        // Which secrets there are, without them.
        _ => json!({"credentialsType": "AccountKey", "secrets": {"secretsType": "AccountKey"}}),
    };
    let properties = json!({"datastoreType": "AzureBlob", "isDefault": name == BLOB_STORE.0, "accountName": ACCOUNT,
        "containerName": container, "endpoint": "core.windows.net", "protocol": "https",
        "credentials": credentials, "serviceDataAccessAuthIdentity": "None"});
    resource(&format!("datastores/{name}"), name, &properties)
}

fn secrets(world: &World, name: &str) -> Reply {
    let Some(container) = container_of(name) else { return missing("datastore", name) };
    match world.options.store_secrets {
        StoreSecrets::Sas => {
            let sas = world.signatures.issue(container, None, Rights::ReadWrite);
            Reply::json(200, &json!({"secretsType": "Sas", "sasToken": sas}))
        }
        StoreSecrets::Key => Reply::json(200, &json!({"secretsType": "AccountKey", "key": KEY})),
        StoreSecrets::Nothing => Reply::refusal(400, "UserError", "The datastore has no credentials."),
        StoreSecrets::Forbidden => {
            Reply::refusal(403, "AuthorizationFailed", "The client may not list secrets.")
        }
    }
}

fn pending_upload(world: &World) -> Reply {
    let container = BLOB_STORE.1;
    let uri = format!("{}/{ACCOUNT}/{container}", world.blob_url());
    let sas = world.signatures.issue(container, None, Rights::ReadWrite);
    Reply::json(
        200,
        &json!({"pendingUploadId": null, "pendingUploadType": "TemporaryBlobReference",
            "blobReferenceForConsumption": {"blobUri": uri, "storageAccountArmId": "/x",
                "credential": {"credentialType": "SAS", "sasUri": format!("{uri}?{sas}")}}}),
    )
}

fn codes_with_hash(world: &World, hash: &str) -> Reply {
    let assets = world.assets();
    let fits = |asset: &&Value| asset["properties"]["properties"]["hash_sha256"] == hash;
    let codes = assets.iter().filter(|(path, _)| path.starts_with("codes/")).map(|(_, code)| code);
    Reply::json(200, &json!({"value": codes.filter(fits).collect::<Vec<_>>()}))
}

fn of_name<'a>(assets: &'a BTreeMap<String, Value>, kind: &str, name: &str) -> Vec<&'a Value> {
    let prefix = format!("{kind}/{name}/versions/");
    assets.iter().filter(|(path, _)| path.starts_with(&prefix)).map(|(_, asset)| asset).collect()
}

fn latest(world: &World, kind: &str, name: &str) -> Reply {
    let assets = world.assets();
    match of_name(&assets, kind, name).last() {
        Some(last) => {
            let properties = json!({"latestVersion": last["name"], "isArchived": false});
            Reply::json(200, &resource(&format!("{kind}/{name}"), name, &properties))
        }
        None => missing(kind, name),
    }
}

fn versions(world: &World, kind: &str, name: &str) -> Reply {
    let assets = world.assets();
    let mut all = of_name(&assets, kind, name);
    all.reverse();
    Reply::json(200, &json!({"value": all}))
}

fn put(world: &World, request: &Exchange, kind: &str, name: &str, version: &str) -> Reply {
    let body = request.json();
    if !body["properties"].is_object() {
        return Reply::refusal(400, "ValidationError", "The body has no properties.");
    }
    let path = format!("{kind}/{name}/versions/{version}");
    let mut asset = resource(&path, version, &body["properties"]);
    if kind == "models" {
        // The SDK cannot read a model that says nothing of them.
        asset["properties"]["flavors"] = json!({});
    }
    match world.assets().insert(path, asset.clone()) {
        Some(_) => Reply::json(200, &asset),
        None => Reply::json(201, &asset),
    }
}
