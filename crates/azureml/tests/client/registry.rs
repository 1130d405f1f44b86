//! Models of registries: which requests find one, and where its tokens do not go.

use crate::support::{Received, Reply, Service, SkippingClock, TOKEN, client_with, json, signs_in, status};
use olive_azureml::Error;
use olive_azureml::http::Client;
use serde_json::json as object;

const CONTROL: &str = "/mferp/managementfrontend/subscriptions/sub/resourceGroups/group/providers/Microsoft.MachineLearningServices/registries/r";

/// A registry whose control plane is where `provider` says; without it, here.
async fn registry(provider: Option<&'static str>) -> (Client, Service) {
    let service = Service::start(move |request: &Received, url: &str| {
        let own = format!("{url}/");
        let provider = provider.unwrap_or(&own);
        signs_in(request).unwrap_or_else(|| answer(request, url, provider))
    })
    .await;
    let (url, clock) = (service.url.clone(), SkippingClock::new());
    let more = [("OLIVE_AZUREML_REGISTRY_URL", url.as_str()), ("OLIVE_AZUREML_BLOB_URL", url.as_str())];
    (client_with(&service, &clock, &more), service)
}

fn answer(request: &Received, url: &str, provider: &str) -> Reply {
    let path = request.path.as_str();
    match path.strip_prefix(CONTROL) {
        Some("/models/m/versions/2") => json(
            object!({"properties": {"modelUri": format!("{url}/acc/con/m/files"), "modelType": "custom_model"}}),
        ),
        Some("/datarefs/m/versions/2") => {
            json(object!({"blobReferenceForConsumption": {"blobUri": "x", "credential": {
            "credentialType": "SAS", "sasUri": format!("{url}/acc/con?sv=1&sig=secret")}}}))
        }
        None if path == "/registrymanagement/v1.0/registries/r/discovery" => {
            json(object!({"registryName": "r",
            "subscriptionId": "sub", "resourceGroup": "group", "primaryRegionResourceProviderUri": provider}))
        }
        None if path == "/acc/con" => {
            status(200).body("<EnumerationResults><Blobs /><NextMarker /></EnumerationResults>")
        }
        _ => status(404),
    }
}

#[tokio::test]
async fn a_model_is_found_by_discovery_and_read_with_a_signature() {
    let (client, service) = registry(None).await;
    let found = client.locate_in_registry("r", "m", "2").await.unwrap();
    assert_eq!((found.path.as_str(), found.container.url().path()), ("m/files", "/acc/con"));
    assert!(!found.container.has_any("m/files").await.unwrap());
    let received: Vec<Received> =
        service.received().into_iter().filter(|request| signs_in(request).is_none()).collect();
    let asked: Vec<String> =
        received.iter().map(|request| format!("{} {}", request.method, request.path)).collect();
    let control = |method: &str, rest: &str| format!("{method} {CONTROL}{rest}");
    assert_eq!(
        asked,
        [
            "GET /registrymanagement/v1.0/registries/r/discovery".to_owned(),
            control("GET", "/models/m/versions/2"),
            control("POST", "/datarefs/m/versions/2"),
            "GET /acc/con".to_owned(),
        ]
    );
    assert_eq!(
        (received[0].query("api-version"), received[1].query("api-version")),
        ("v1.0", "2021-10-01-dataplanepreview")
    );
    let body = received[2].json();
    assert_eq!(body["assetId"], "azureml://registries/r/models/m/versions/2");
    assert_eq!(body["blobUri"], format!("{}/acc/con/m/files", service.url));
    assert_eq!((received[3].query("sig"), received[3].header("authorization")), ("secret", ""));
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let (client, _service) = registry(None).await;
    for (registry, name, expected) in [
        ("other", "m", "there is no registry `other`"),
        ("r", "other", "there is no model `other` of version `2` in the registry `r`"),
        ("a/b", "m", "the registry `a/b`: "),
    ] {
        let error = client.locate_in_registry(registry, name, "2").await.unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[tokio::test]
async fn discovery_leads_no_token_to_other_hosts() {
    let (client, service) = registry(Some("https://registry.example/")).await;
    let error = client.locate_in_registry("r", "m", "2").await.unwrap_err();
    assert!(matches!(error, Error::UntrustedHost { .. }), "{error}");
    assert!(!error.to_string().contains(TOKEN) && service.received().len() == 2);
}
