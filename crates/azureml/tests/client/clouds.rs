//! Clouds that describe themselves.

use crate::support::{Service, SkippingClock, environment, json, options, status};
use olive_azureml::Error;
use olive_azureml::cloud::{PlainHttp, Scope};
use olive_azureml::cloud_metadata::with_described_cloud;
use olive_azureml::http::Client;
use reqwest::Url;
use serde_json::{Value, json};

fn cloud(name: &str, resource_manager: &str) -> Value {
    json!({
        "name": name, "portal": "https://portal.azure.north.example/", "resourceManager": resource_manager,
        "authentication": {"loginEndpoint": "https://login.north.example", "audiences": [], "tenant": "common"},
        "suffixes": {"storage": "core.north.example", "keyVaultDns": ".vault.north.example"},
    })
}

async fn service() -> Service {
    Service::start(|request, url| match request.path.as_str() {
        "/metadata/endpoints" => json(json!([
            {"name": "Incomplete", "portal": "https://portal.azure.com"},
            cloud("North", "https://management.north.example/"),
            cloud("Here", url),
            cloud("Odd host", "https://management.odd.example/"),
        ])),
        "/one" => json(cloud("North", "https://management.north.example/")),
        _ => status(500),
    })
    .await
}

/// The environment with these variables, and the cloud that the service describes.
async fn described(
    service: &Service,
    path: &str,
    more: &[(&str, &str)],
) -> Result<olive_azureml::environment::Environment, Error> {
    let address = format!("{}{path}", service.url);
    let own: [(&str, &str); 1] = [("ARM_CLOUD_METADATA_URL", &address)];
    with_described_cloud(&environment(&[&own, more].concat()), PlainHttp::Loopback).await
}

#[tokio::test]
async fn a_cloud_has_the_addresses_that_it_says_and_they_alone_get_tokens() {
    let service = service().await;
    let named = [("AZUREML_CURRENT_CLOUD", "North")];
    for path in ["/metadata/endpoints?api-version=2019-05-01", "/one"] {
        let variables = described(&service, path, &named).await.unwrap();
        let client = Client::new(&variables, options(&SkippingClock::new())).unwrap();
        let endpoints = client.endpoints();
        assert_eq!(endpoints.arm.as_str(), "https://management.north.example/");
        assert_eq!(endpoints.authority.as_str(), "https://login.north.example/");
        assert_eq!(endpoints.resource(Scope::Arm), "https://management.north.example");
        assert_eq!(endpoints.resource(Scope::MachineLearning), "https://ml.azure.north.example");
        let blobs = endpoints.blobs("acct", "https", None).unwrap();
        assert_eq!(blobs.as_str(), "https://acct.blob.core.north.example/");
        assert_eq!(endpoints.vault("kv1").unwrap().as_str(), "https://kv1.vault.north.example/");
        let registry = endpoints.registry_discovery();
        assert_eq!(registry.as_str(), "https://northwest.api.ml.azure.north.example/");
        let trusts = |text: &str, scope| endpoints.trust(&Url::parse(text).unwrap(), scope).is_ok();
        assert!(trusts("https://a.api.ml.azure.north.example/history", Scope::Arm));
        assert!(trusts(blobs.as_str(), Scope::Storage));
        assert!(!trusts("https://management.azure.com/", Scope::Arm));
        assert!(!trusts("https://acct.blob.core.windows.net/", Scope::Storage));
    }
    let more = [
        named[0],
        ("REGISTRY_DISCOVERY_ENDPOINT_REGION", "2"),
        ("AZUREML_DEV_URL_MFE", "https://mfe.example"),
    ];
    let variables = described(&service, "/one", &more).await.unwrap();
    let client = Client::new(&variables, options(&SkippingClock::new())).unwrap();
    assert_eq!(client.endpoints().registry_discovery().host_str(), Some("north2.api.ml.azure.north.example"));
    assert_eq!(client.endpoints().arm.as_str(), "https://mfe.example/", "variables replace addresses");
}

#[tokio::test]
async fn without_a_name_it_is_the_cloud_that_was_asked() {
    let service = service().await;
    let variables = described(&service, "/metadata/endpoints", &[]).await.unwrap();
    let client = Client::new(&variables, options(&SkippingClock::new())).unwrap();
    let port = service.url.rsplit(':').next().unwrap();
    assert_eq!(client.endpoints().arm.as_str(), format!("https://127.0.0.1:{port}/"));
    assert_eq!(service.count(), 1);
}

#[tokio::test]
async fn what_is_known_is_not_asked_for_and_what_is_not_described_is_told() {
    let service = service().await;
    let known = described(&service, "/none", &[("AZUREML_CURRENT_CLOUD", "AzureChinaCloud")]).await.unwrap();
    let client = Client::new(&known, options(&SkippingClock::new())).unwrap();
    assert_eq!(client.endpoints().arm.as_str(), "https://management.chinacloudapi.cn/");
    assert_eq!(service.count(), 0);
    let told = async |path: &str, name: &str| {
        let found = described(&service, path, &[("AZUREML_CURRENT_CLOUD", name)]).await;
        found.unwrap_err().to_string()
    };
    assert!(
        told("/metadata/endpoints", "South").await.contains("names a cloud that it describes: North, Here")
    );
    assert!(told("/metadata/endpoints", "Odd host").await.contains("the cloud Odd host makes no addresses"));
    assert!(told("/none", "North").await.contains("500"));
    let clear = environment(&[("ARM_CLOUD_METADATA_URL", &service.url)]);
    let error = with_described_cloud(&clear, PlainHttp::Refused).await.unwrap_err().to_string();
    assert!(error.contains("only https"), "{error}");
    let alone = environment(&[("AZUREML_CURRENT_CLOUD", "North")]);
    let error = Client::new(&alone, options(&SkippingClock::new())).unwrap_err().to_string();
    assert!(error.contains("or ARM_CLOUD_METADATA_URL beside it"), "{error}");
}
