//! A registry of models, which belongs to no workspace: its models are what lies in its container, below name and version.

use crate::exchange::{Exchange, Reply};
use crate::place::{ACCOUNT, Place, REGISTRY, RESOURCE_GROUP, SUBSCRIPTION};
use crate::signature::Rights;
use crate::workspace::missing;
use crate::world::{RegistryAccess, World};
use serde_json::json;

/// A request of discovery, or to the control plane of registries; `parts` are those of its path.
pub fn answer(world: &World, request: &Exchange, parts: &[&str]) -> Option<Reply> {
    Some(match (request.method.as_str(), parts) {
        ("GET", ["registrymanagement", "v1.0", "registries", name, "discovery"]) => discovery(world, name),
        (
            method,
            [
                "mferp",
                "managementfrontend",
                "subscriptions",
                _,
                "resourceGroups",
                _,
                "providers",
                _,
                "registries",
                rest @ ..,
            ],
        ) => match (method, rest) {
            ("GET", [REGISTRY_NAME, "models", name, "versions", version]) => model(world, name, version),
            ("POST", [REGISTRY_NAME, "datarefs", name, "versions", version]) => {
                reference(world, request, name, version)
            }
            _ => missing("registry", rest.first().unwrap_or(&"")),
        },
        _ => return None,
    })
}

const REGISTRY_NAME: &str = REGISTRY.0;

/// The files of a model that a job names.
pub fn place(uri: &str) -> Option<Place> {
    let rest = uri.strip_prefix("azureml://registries/")?.strip_prefix(REGISTRY.0)?;
    let (name, version) = rest.strip_prefix("/models/")?.split_once("/versions/")?;
    Some(place_of(name, version))
}

fn place_of(name: &str, version: &str) -> Place {
    Place { container: REGISTRY.1.into(), path: format!("{name}/{version}") }
}

fn discovery(world: &World, name: &str) -> Reply {
    if name != REGISTRY.0 {
        return missing("registry", name);
    }
    Reply::json(
        200,
        &json!({"registryName": name, "primaryRegion": "eastus", "subscriptionId": SUBSCRIPTION,
            "resourceGroup": RESOURCE_GROUP, "primaryRegionResourceProviderUri": format!("{}/", world.url)}),
    )
}

fn address(world: &World, place: &Place) -> String {
    format!("{}/{ACCOUNT}/{}/{}", world.blob_url(), place.container, place.path)
}

fn id(name: &str, version: &str) -> String {
    format!("azureml://registries/{}/models/{name}/versions/{version}", REGISTRY.0)
}

fn model(world: &World, name: &str, version: &str) -> Reply {
    let place = place_of(name, version);
    if world.blobs.list(&place.container, &place.path).is_empty() {
        return missing("model", name);
    }
    // The SDK cannot read a model that says nothing of them.
    let properties = json!({"modelUri": address(world, &place), "modelType": "custom_model", "flavors": {}});
    let created = json!({"createdAt": "2026-11-24T00:00:00Z", "createdBy": "me", "createdByType": "User"});
    Reply::json(
        200,
        &json!({"id": id(name, version), "name": version, "properties": properties, "systemData": created}),
    )
}

fn reference(world: &World, request: &Exchange, name: &str, version: &str) -> Reply {
    let (body, uri) = (request.json(), address(world, &place_of(name, version)));
    if body["assetId"] != id(name, version) || body["blobUri"] != uri {
        return Reply::refusal(400, "ValidationError", "The asset and its blob do not belong together.");
    }
    let container = format!("{}/{ACCOUNT}/{}", world.blob_url(), REGISTRY.1);
    let credential = match world.options.registry {
        RegistryAccess::Signature => {
            let sas = world.signatures.issue(REGISTRY.1, None, Rights::Read);
            json!({"credentialType": "SAS", "sasUri": format!("{container}?{sas}")})
        }
        RegistryAccess::Everybody => json!({"credentialType": "NoCredentials"}),
    };
    Reply::json(
        200,
        &json!({"blobReferenceForConsumption": {"blobUri": uri, "storageAccountArmId": "/x", "credential": credential}}),
    )
}
