//! Clouds that describe themselves, as Azure Stack and sovereign clouds do.
//!
//! Source: the answer of Resource Manager to `/metadata/endpoints`, and what Microsoft's Python SDK, 1.35, makes of it.

use crate::cloud::{CLOUD, Cloud, Endpoints, METADATA_URL, PlainHttp};
use crate::described_cloud::DescribedCloud;
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::http::{ClientOptions, transport};
use crate::safe_url::SafeUrl;
use reqwest::{Method, Request, Url};
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;

/// The SDK's variables of the address by which registries are found, and of the region in it.
const REGISTRY_URL: &str = "REGISTRY_DISCOVERY_ENDPOINT_URL";
const REGISTRY_REGION: &str = "REGISTRY_DISCOVERY_ENDPOINT_REGION";
const USUAL_REGION: &str = "west";

/// How long the address may be silent.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The environment, with the cloud that its `ARM_CLOUD_METADATA_URL` describes: the one of the name in `AZUREML_CURRENT_CLOUD`,
/// or else the one whose control plane has that address. Nothing is asked where the variable is not set, or names nothing new.
///
/// # Errors
/// The address does not answer with such a cloud, or is not encrypted.
pub async fn with_described_cloud(environment: &Environment, plain_http: PlainHttp) -> Result<Environment> {
    let name = environment.get(CLOUD);
    let Some(text) = environment.get(METADATA_URL).filter(|_| name.and_then(Cloud::named).is_none()) else {
        return Ok(environment.clone());
    };
    let url = Url::parse(text).map_err(|_| Error::Variable {
        name: METADATA_URL,
        value: SafeUrl::parse(text).to_string(),
        expected: "expected an address, https://…".into(),
    })?;
    if url.scheme() != "https" && !Endpoints::new(&Environment::default(), plain_http)?.is_local_test(&url) {
        let reason = "only https keeps what it says of the cloud from being changed on the way";
        return Err(Error::UntrustedHost { url: SafeUrl::from(&url), reason });
    }
    let options = ClientOptions { read_timeout: TIMEOUT, ..ClientOptions::default() };
    let answer = transport(&options)?.send(Request::new(Method::GET, url.clone())).await?.accepted()?;
    let clouds = described(answer.json()?);
    let fits = |cloud: &&Described| match name {
        Some(name) => cloud.name == name,
        None => host(&cloud.resource_manager) == host(url.as_str()),
    };
    let Some(cloud) = clouds.iter().find(fits) else {
        let names: Vec<&str> = clouds.iter().map(|cloud| cloud.name.as_str()).collect();
        return Err(Error::Variable {
            name: METADATA_URL,
            value: SafeUrl::from(&url).to_string(),
            expected: format!("expected that {CLOUD} names a cloud that it describes: {}", names.join(", ")),
        });
    };
    if Cloud::named(&cloud.name).is_some() {
        return Ok(environment.clone().with(CLOUD, &cloud.name));
    }
    let odd = || Error::Protocol {
        url: SafeUrl::from(&url),
        what: format!("what it says of the cloud {} makes no addresses", cloud.name.escape_debug()),
    };
    Ok(environment.with_cloud(cloud.addresses(environment).ok_or_else(odd)?))
}

/// What a cloud says of itself.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Described {
    name: String,
    portal: String,
    resource_manager: String,
    authentication: Authentication,
    suffixes: Suffixes,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Authentication {
    login_endpoint: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Suffixes {
    storage: String,
    key_vault_dns: String,
}

/// The clouds of an answer. Those of which it does not say enough are left out, as by the SDK.
fn described(answer: Value) -> Vec<Described> {
    let all = match answer {
        Value::Array(all) => all,
        one => vec![one],
    };
    all.into_iter().filter_map(|cloud| serde_json::from_value(cloud).ok()).collect()
}

impl Described {
    /// `None` if something that it says makes no address.
    fn addresses(&self, environment: &Environment) -> Option<DescribedCloud> {
        // `portal.azure.com`: the addresses of Azure ML have the same end.
        let end = domain(host(&self.portal)?.splitn(3, '.').nth(2)?)?;
        let registry = match environment.get(REGISTRY_URL) {
            Some(address) => address.to_owned(),
            None => {
                let region = environment.get(REGISTRY_REGION).unwrap_or(USUAL_REGION);
                format!("https://{}{region}.api.ml.azure.{end}", self.name.to_lowercase())
            }
        };
        Some(DescribedCloud {
            arm: host(&self.resource_manager)?,
            authority: Url::parse(&self.authentication.login_endpoint).ok()?.to_string(),
            machine_learning: format!("https://ml.azure.{end}"),
            data_plane: format!("api.ml.azure.{end}"),
            storage: domain(&self.suffixes.storage)?,
            vault: domain(&self.suffixes.key_vault_dns)?,
            registry_discovery: Url::parse(&registry).ok()?.to_string(),
        })
    }
}

/// Host and port of an address.
fn host(address: &str) -> Option<String> {
    let url = Url::parse(address).ok()?;
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    Some(format!("{}{port}", url.host_str()?))
}

/// What names of hosts end with, with or without a dot before it.
fn domain(text: &str) -> Option<String> {
    let name = text.trim_start_matches('.');
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    (!name.is_empty() && name.bytes().all(fits)).then(|| name.to_owned())
}
