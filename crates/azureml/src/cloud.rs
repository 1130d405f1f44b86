//! Azure's clouds, the addresses of their services, and which of them a token may be sent to.
//!
//! Addresses come from the cloud, and can be replaced one by one with environment variables, by which tests run against a
//! local service.

use crate::described_cloud::DescribedCloud;
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::safe_url::SafeUrl;
use percent_encoding::percent_decode_str;
use reqwest::Url;

/// The version of the control plane's interface that requests ask for.
pub const API_VERSION: &str = "2024-10-01";

/// One of Azure's separate installations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cloud {
    Public,
    UsGovernment,
    China,
    /// One that describes itself, as long as the process lives.
    Described(&'static Facts),
}

impl Cloud {
    fn described(cloud: &DescribedCloud) -> Cloud {
        // It is the same cloud until the process ends.
        let kept = |text: &str| -> &'static str { text.to_owned().leak() };
        Cloud::Described(Box::leak(Box::new(Facts {
            arm: kept(&cloud.arm),
            authority: kept(&cloud.authority),
            machine_learning: kept(&cloud.machine_learning),
            data_plane: kept(&cloud.data_plane),
            registries: kept(&cloud.data_plane),
            storage: kept(&cloud.storage),
            vault: kept(&cloud.vault),
            registry_discovery: kept(&cloud.registry_discovery),
        })))
    }

    /// By the name that `AZUREML_CURRENT_CLOUD` and `az cloud list` have for it.
    pub(crate) fn named(name: &str) -> Option<Cloud> {
        match name {
            "AzureCloud" => Some(Cloud::Public),
            "AzureUSGovernment" => Some(Cloud::UsGovernment),
            "AzureChinaCloud" => Some(Cloud::China),
            _ => None,
        }
    }

    const fn facts(self) -> &'static Facts {
        match self {
            Cloud::Public => &PUBLIC,
            Cloud::UsGovernment => &US_GOVERNMENT,
            Cloud::China => &CHINA,
            Cloud::Described(facts) => facts,
        }
    }
}

/// The host names of a cloud. Source: the tables of Microsoft's Python SDK, 1.35.
#[derive(Debug, PartialEq, Eq)]
pub struct Facts {
    /// Azure Resource Manager, the control plane.
    arm: &'static str,
    /// Entra ID, where tokens come from.
    authority: &'static str,
    /// The audience of tokens for Azure ML itself.
    machine_learning: &'static str,
    /// What the names of data planes of Azure ML end with.
    data_plane: &'static str,
    /// The same of the control planes of registries.
    registries: &'static str,
    storage: &'static str,
    vault: &'static str,
    registry_discovery: &'static str,
}

const PUBLIC: Facts = Facts {
    arm: "management.azure.com",
    authority: "https://login.microsoftonline.com",
    machine_learning: "https://ml.azure.com",
    data_plane: "api.azureml.ms",
    registries: "experiments.azureml.net",
    storage: "core.windows.net",
    vault: "vault.azure.net",
    registry_discovery: "https://eastus.api.azureml.ms",
};

const US_GOVERNMENT: Facts = Facts {
    arm: "management.usgovcloudapi.net",
    authority: "https://login.microsoftonline.us",
    machine_learning: "https://ml.azure.us",
    data_plane: "api.ml.azure.us",
    registries: "api.ml.azure.us",
    storage: "core.usgovcloudapi.net",
    vault: "vault.usgovcloudapi.net",
    registry_discovery: "https://usgovarizona.api.ml.azure.us",
};

const CHINA: Facts = Facts {
    arm: "management.chinacloudapi.cn",
    authority: "https://login.chinacloudapi.cn",
    machine_learning: "https://ml.azure.cn",
    data_plane: "api.ml.azure.cn",
    registries: "api.ml.azure.cn",
    storage: "core.chinacloudapi.cn",
    vault: "vault.azure.cn",
    registry_discovery: "https://chinaeast2.api.ml.azure.cn",
};

/// What a token is for. A token is sent to hosts of its scope only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The control plane, and the data planes of Azure ML, which take the same token.
    Arm,
    /// Azure ML itself: the user's token that goes with a job which runs as the user.
    MachineLearning,
    Storage,
    KeyVault,
}

/// Whether plain http may be spoken with this machine itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PlainHttp {
    #[default]
    Refused,
    /// For tests against a local service.
    Loopback,
}

/// The addresses of a cloud's services.
#[derive(Debug, Clone)]
pub struct Endpoints {
    pub cloud: Cloud,
    pub arm: Url,
    /// Where tokens come from, without the tenant.
    pub authority: Url,
    pub api_version: String,
    plain_http: PlainHttp,
    vault: Option<Url>,
    blob: Option<Url>,
    registry_discovery: Url,
}

/// The cloud, by the name that the Azure CLI has for it.
pub(crate) const CLOUD: &str = "AZUREML_CURRENT_CLOUD";
/// The address that describes one cloud, or several; the SDK's own name.
pub(crate) const METADATA_URL: &str = "ARM_CLOUD_METADATA_URL";
/// Replaces the address of the control plane; the SDK's own name.
const ARM_URL: &str = "AZUREML_DEV_URL_MFE";
const AUTHORITY: &str = "AZURE_AUTHORITY_HOST";
const VERSION: &str = "OLIVE_AZUREML_API_VERSION";
/// Replaces the address of every key vault.
const VAULT_URL: &str = "OLIVE_AZUREML_KEY_VAULT_URL";
/// Replaces the address of every storage account, whose name becomes the first part of the path.
const BLOB_URL: &str = "OLIVE_AZUREML_BLOB_URL";
const REGISTRY_URL: &str = "OLIVE_AZUREML_REGISTRY_URL";

impl Endpoints {
    /// The addresses of the cloud, or those that the environment puts in their place.
    ///
    /// # Errors
    /// The variable whose value is no cloud or no address.
    pub fn new(environment: &Environment, plain_http: PlainHttp) -> Result<Endpoints> {
        let cloud = match (environment.cloud(), environment.get(CLOUD)) {
            (Some(described), _) => Cloud::described(described),
            (None, None) => Cloud::Public,
            (None, Some(name)) => Cloud::named(name).ok_or_else(|| Error::Variable {
                name: CLOUD,
                value: name.into(),
                expected: format!(
                    "expected AzureCloud, AzureUSGovernment or AzureChinaCloud, or {METADATA_URL} beside it"
                ),
            })?,
        };
        let facts = cloud.facts();
        let or = |name: &'static str, default: &str| -> Result<Url> {
            Ok(address(environment, name)?.unwrap_or_else(|| known(default)))
        };
        Ok(Endpoints {
            cloud,
            arm: or(ARM_URL, &format!("https://{}", facts.arm))?,
            authority: or(AUTHORITY, facts.authority)?,
            api_version: environment.get(VERSION).unwrap_or(API_VERSION).to_owned(),
            plain_http,
            vault: address(environment, VAULT_URL)?,
            blob: address(environment, BLOB_URL)?,
            registry_discovery: or(REGISTRY_URL, facts.registry_discovery)?,
        })
    }

    /// Takes tokens from this host, with or without `https://`.
    ///
    /// # Errors
    /// It is no address.
    pub fn set_authority(&mut self, text: &str) -> Result<()> {
        self.authority = parsed(text).ok_or_else(|| Error::Invalid {
            what: "`authority`",
            value: SafeUrl::parse(text).to_string(),
            expected: "expected a host or an address, login.microsoftonline.com",
        })?;
        Ok(())
    }

    /// What tokens of the scope are for: the `resource` of a request, and its scope without `/.default`.
    pub fn resource(&self, scope: Scope) -> String {
        let facts = self.cloud.facts();
        match scope {
            Scope::Arm => format!("https://{}", facts.arm),
            Scope::MachineLearning => facts.machine_learning.to_owned(),
            Scope::Storage => "https://storage.azure.com".to_owned(),
            Scope::KeyVault => format!("https://{}", facts.vault),
        }
    }

    /// The host name that those of all vaults end with.
    pub fn vault_suffix(&self) -> &'static str {
        self.cloud.facts().vault
    }

    /// The address of a vault, by its name.
    ///
    /// # Errors
    /// The name is none of a vault.
    pub fn vault(&self, name: &str) -> Result<Url> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if !(3..=24).contains(&name.len()) || !name.bytes().all(fits) {
            return Err(Error::Invalid {
                what: "the key vault",
                value: name.into(),
                expected: "expected its name, 3 to 24 letters, digits and hyphens",
            });
        }
        Ok(match &self.vault {
            Some(url) => url.clone(),
            None => known(&format!("https://{name}.{}", self.vault_suffix())),
        })
    }

    /// The address of a storage account's blobs. `protocol` and `suffix` are those of the datastore.
    ///
    /// # Errors
    /// They make no address.
    pub fn blobs(&self, account: &str, protocol: &str, suffix: Option<&str>) -> Result<Url> {
        let suffix = suffix.unwrap_or(self.cloud.facts().storage);
        let text = match &self.blob {
            Some(url) => format!("{}/{account}", url.as_str().trim_end_matches('/')),
            None => format!("{protocol}://{account}.blob.{suffix}"),
        };
        Url::parse(&text).map_err(|_| Error::Invalid {
            what: "the storage account",
            value: text,
            expected: "expected protocol, account and endpoint of a datastore",
        })
    }

    /// The container in which a blob lies, by its address, and the name of the blob there; `None` if it is no such address.
    pub fn container_of(&self, blob: &Url) -> Option<(Url, String)> {
        // Where one address stands for all accounts, the account is a part of the path.
        let above = match self.blob.as_ref().filter(|base| same_place(base, blob)) {
            Some(base) => base.path().split('/').filter(|part| !part.is_empty()).count() + 1,
            None => 0,
        };
        let path = percent_decode_str(blob.path()).decode_utf8().ok()?;
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let (container, name) = parts.split_at_checked(above + 1)?;
        let mut url = blob.clone();
        url.set_query(None);
        url.set_fragment(None);
        url.set_path(&container.join("/"));
        Some((url, name.join("/")))
    }

    /// Where the addresses of a registry are asked for.
    pub fn registry_discovery(&self) -> &Url {
        &self.registry_discovery
    }

    /// Whether a token of this scope may be sent to the address.
    ///
    /// # Errors
    /// It may not: the host is none of the scope's, or what is sent to it can be read by others.
    pub fn trust(&self, url: &Url, scope: Scope) -> Result<()> {
        let refused = |reason| Err(Error::UntrustedHost { url: SafeUrl::from(url), reason });
        if self.is_local_test(url) {
            return Ok(());
        }
        if url.scheme() != "https" {
            return refused("only https keeps it from being read on the way");
        }
        let facts = self.cloud.facts();
        let host = url.host_str().unwrap_or_default();
        let trusted = match scope {
            Scope::Arm | Scope::MachineLearning => {
                same_place(url, &self.arm)
                    || same_place(url, &self.registry_discovery)
                    || is_within(host, facts.arm)
                    || is_within(host, facts.data_plane)
                    || is_within(host, facts.registries)
            }
            Scope::Storage => is_within(host, facts.storage) || self.is_replaced_account(url),
            Scope::KeyVault => {
                is_within(host, facts.vault)
                    || self.vault.as_ref().is_some_and(|vault| same_place(url, vault))
            }
        };
        if trusted && (url.port().is_none() || self.is_replaced(url)) {
            return Ok(());
        }
        refused("the host is none of this cloud's services for it")
    }

    /// Whether requests with secrets may go to the address of a token service.
    ///
    /// # Errors
    /// It is not encrypted.
    pub fn trust_authority(&self) -> Result<()> {
        let url = &self.authority;
        if url.scheme() == "https" || self.is_local_test(url) {
            return Ok(());
        }
        Err(Error::UntrustedHost {
            url: url.into(),
            reason: "only https keeps it from being read on the way",
        })
    }

    /// Whether the address is this machine's, and tests may use it without encryption.
    pub fn is_local_test(&self, url: &Url) -> bool {
        self.plain_http == PlainHttp::Loopback && url.scheme() == "http" && is_loopback(url)
    }

    /// Whether this is the address that a variable puts in the place of every vault's.
    pub fn is_replaced_vault(&self, url: &Url) -> bool {
        self.vault.as_ref().is_some_and(|vault| same_place(url, vault))
    }

    /// Whether this is the address that a variable puts in the place of every storage account's.
    fn is_replaced_account(&self, url: &Url) -> bool {
        self.blob.as_ref().is_some_and(|blob| same_place(url, blob))
    }

    fn is_replaced(&self, url: &Url) -> bool {
        same_place(url, &self.arm)
            || same_place(url, &self.registry_discovery)
            || self.is_replaced_account(url)
            || self.is_replaced_vault(url)
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host_str().unwrap_or_default().trim_matches(['[', ']']) {
        "localhost" => true,
        host => host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback()),
    }
}

fn same_place(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme()
        && a.host_str() == b.host_str()
        && a.port_or_known_default() == b.port_or_known_default()
}

/// Whether the host has this name, or one below it.
fn is_within(host: &str, domain: &str) -> bool {
    host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
}

/// The address in a variable.
fn address(environment: &Environment, name: &'static str) -> Result<Option<Url>> {
    let Some(value) = environment.get(name) else { return Ok(None) };
    parsed(value).map(Some).ok_or_else(|| Error::Variable {
        name,
        value: SafeUrl::parse(value).to_string(),
        expected: "expected an address, https://…".into(),
    })
}

/// An address; without a scheme it is https.
fn parsed(text: &str) -> Option<Url> {
    let whole = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    Url::parse(&whole).ok().filter(|url| url.has_host() && matches!(url.scheme(), "http" | "https"))
}

/// An address that is written in this file.
fn known(text: &str) -> Url {
    Url::parse(text).expect("an address of the table")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(variables: &[(&str, &str)], plain_http: PlainHttp) -> Result<Endpoints> {
        Endpoints::new(&variables.iter().copied().collect(), plain_http)
    }

    fn trusts(endpoints: &Endpoints, address: &str, scope: Scope) -> bool {
        endpoints.trust(&Url::parse(address).unwrap(), scope).is_ok()
    }

    #[test]
    fn tokens_go_to_the_hosts_of_their_scope_only() {
        let public = endpoints(&[], PlainHttp::Refused).unwrap();
        let table = [
            ("https://management.azure.com/subscriptions/1", Scope::Arm, true),
            ("https://westeurope.management.azure.com/x", Scope::Arm, true),
            ("https://eastus.api.azureml.ms/history", Scope::Arm, true),
            ("https://eastus.api.azureml.ms:8443/history", Scope::Arm, false),
            ("https://cert-eastus.experiments.azureml.net/mferp", Scope::Arm, true),
            ("https://cert-eastus.experiments.azureml.net/mferp", Scope::Storage, false),
            ("https://management.azure.com.evil.example/", Scope::Arm, false),
            ("https://evilmanagement.azure.com/", Scope::Arm, false),
            ("https://evilapi.azureml.ms/", Scope::Arm, false),
            ("http://management.azure.com/", Scope::Arm, false),
            ("http://127.0.0.1:8080/", Scope::Arm, false),
            ("https://management.usgovcloudapi.net/", Scope::Arm, false),
            ("https://acct.blob.core.windows.net/c", Scope::Arm, false),
            ("https://acct.blob.core.windows.net/c", Scope::Storage, true),
            ("https://kv.vault.azure.net/secrets", Scope::KeyVault, true),
            ("https://kv.vault.azure.net/secrets", Scope::Storage, false),
            ("https://kv.vault.azure.net.example/secrets", Scope::KeyVault, false),
        ];
        for (address, scope, expected) in table {
            assert_eq!(trusts(&public, address, scope), expected, "{address} {scope:?}");
        }
    }

    #[test]
    fn the_container_of_a_blob_is_the_first_part_of_its_path() {
        let parts = |endpoints: &Endpoints, address: &str| {
            let found = endpoints.container_of(&Url::parse(address).unwrap());
            found.map(|(container, name)| (container.to_string(), name))
        };
        let public = endpoints(&[], PlainHttp::Refused).unwrap();
        let of = |container: &str, name: &str| Some((container.to_owned(), name.to_owned()));
        let address = "https://acct.blob.core.windows.net/con/a%20b/model?sig=x";
        assert_eq!(parts(&public, address), of("https://acct.blob.core.windows.net/con", "a b/model"));
        let replaced = endpoints(&[(BLOB_URL, "http://127.0.0.1:1/blob")], PlainHttp::Loopback).unwrap();
        let local = "http://127.0.0.1:1/blob/acct/con/model";
        assert_eq!(parts(&replaced, local), of("http://127.0.0.1:1/blob/acct/con", "model"));
        assert_eq!(parts(&replaced, address), parts(&public, address));
        assert_eq!(parts(&replaced, "http://127.0.0.1:1/blob"), None);
    }

    #[test]
    fn this_machine_is_trusted_only_in_tests() {
        let test = endpoints(&[], PlainHttp::Loopback).unwrap();
        for (address, expected) in [
            ("http://127.0.0.1:8080/", true),
            ("http://[::1]:8080/", true),
            ("http://localhost/", true),
            ("http://localhost.evil.example/", false),
            ("http://10.0.0.1/", false),
            ("http://management.azure.com/", false),
            ("ftp://127.0.0.1/", false),
        ] {
            assert_eq!(trusts(&test, address, Scope::Arm), expected, "{address}");
        }
    }

    #[test]
    fn clouds_have_their_own_hosts() {
        let table = [
            (
                "AzureCloud",
                "https://management.azure.com/",
                "https://vault.azure.net",
                "https://ml.azure.com",
            ),
            (
                "AzureUSGovernment",
                "https://management.usgovcloudapi.net/",
                "https://vault.usgovcloudapi.net",
                "https://ml.azure.us",
            ),
            (
                "AzureChinaCloud",
                "https://management.chinacloudapi.cn/",
                "https://vault.azure.cn",
                "https://ml.azure.cn",
            ),
        ];
        for (name, arm, vault, machine_learning) in table {
            let endpoints = endpoints(&[("AZUREML_CURRENT_CLOUD", name)], PlainHttp::Refused).unwrap();
            assert_eq!(endpoints.arm.as_str(), arm);
            assert_eq!(endpoints.resource(Scope::KeyVault), vault);
            assert_eq!(endpoints.resource(Scope::MachineLearning), machine_learning);
            assert_eq!(endpoints.resource(Scope::Storage), "https://storage.azure.com");
            assert!(trusts(&endpoints, arm, Scope::Arm));
            assert_eq!(endpoints.vault("kv-1").unwrap().as_str(), vault.replace("://", "://kv-1.") + "/");
        }
        let error = endpoints(&[("AZUREML_CURRENT_CLOUD", "Moon")], PlainHttp::Refused).unwrap_err();
        assert!(error.to_string().contains("AZUREML_CURRENT_CLOUD is `Moon`"), "{error}");
    }

    #[test]
    fn variables_replace_addresses() {
        let replaced = endpoints(
            &[
                ("AZUREML_DEV_URL_MFE", "https://mfe.example:8443/base/"),
                ("AZURE_AUTHORITY_HOST", "login.example"),
                ("OLIVE_AZUREML_API_VERSION", "2025-12-01"),
                ("OLIVE_AZUREML_BLOB_URL", "http://127.0.0.1:10000"),
                ("OLIVE_AZUREML_KEY_VAULT_URL", "https://vault.example"),
            ],
            PlainHttp::Refused,
        )
        .unwrap();
        assert_eq!(replaced.authority.as_str(), "https://login.example/");
        assert_eq!(replaced.api_version, "2025-12-01");
        assert_eq!(replaced.blobs("acct", "https", None).unwrap().as_str(), "http://127.0.0.1:10000/acct");
        assert_eq!(replaced.vault("any").unwrap().as_str(), "https://vault.example/");
        assert!(trusts(&replaced, "https://mfe.example:8443/base/x", Scope::Arm));
        assert!(!trusts(&replaced, "https://mfe.example/base/x", Scope::Arm));
        assert!(trusts(&replaced, "https://vault.example/secrets", Scope::KeyVault));
        assert!(!trusts(&replaced, "https://vault.example/secrets", Scope::Arm));
        let blobs = [("OLIVE_AZUREML_BLOB_URL", "https://blobs.example:10443")];
        let replaced = endpoints(&blobs, PlainHttp::Refused).unwrap();
        assert!(trusts(&replaced, "https://blobs.example:10443/acct/c", Scope::Storage));
        assert!(!trusts(&replaced, "https://blobs.example/acct/c", Scope::Storage));
        assert!(!trusts(&replaced, "https://blobs.example:10443/acct/c", Scope::Arm));
        let error =
            endpoints(&[("AZURE_AUTHORITY_HOST", "ftp://x?sig=s3cret")], PlainHttp::Refused).unwrap_err();
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }

    #[test]
    fn accounts_and_vaults_make_addresses() {
        let public = endpoints(&[], PlainHttp::Refused).unwrap();
        let blobs = |suffix| public.blobs("acct", "https", suffix).unwrap().to_string();
        assert_eq!(blobs(None), "https://acct.blob.core.windows.net/");
        assert_eq!(blobs(Some("core.example")), "https://acct.blob.core.example/");
        for name in ["", "a", "kv.evil.example/", "kv evil", "ä-vault"] {
            assert!(public.vault(name).is_err(), "{name}");
        }
    }
}
