//! All that the services know.

use crate::blob_service::AccountPolicy;
use crate::blob_store::BlobStore;
use crate::exchange::Exchange;
use crate::faults::Faults;
use crate::identity::{self, MachineIdentity};
use crate::job::Job;
use crate::place::Place;
use crate::runner::{JobRunner, Script};
use crate::signature::Signatures;
use crate::tokens;
use crate::traffic::Traffic;
use crate::vault::Vault;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How the services are.
#[derive(Debug, Clone)]
pub struct FakeOptions {
    pub runner: Arc<dyn JobRunner>,
    pub store_secrets: StoreSecrets,
    pub account: AccountPolicy,
    pub machine: MachineIdentity,
    /// Elements on a page of a list.
    pub page_size: usize,
    /// What operations ask their callers to wait, in seconds.
    pub retry_after: u32,
    pub registry: RegistryAccess,
    /// Computes by name: what `properties` says of each.
    pub computes: BTreeMap<String, Value>,
    /// Where what the control plane hears and says is kept.
    pub traffic: Option<Arc<Traffic>>,
}

/// What the workspace has for its datastores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StoreSecrets {
    #[default]
    Sas,
    Key,
    /// Nothing: users come with their own tokens.
    Nothing,
    /// A secret that the user may not see.
    Forbidden,
}

/// Who may read the models of the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RegistryAccess {
    /// Who has a signature.
    #[default]
    Signature,
    Everybody,
}

impl Default for FakeOptions {
    fn default() -> FakeOptions {
        let cluster = json!({"computeType": "AmlCompute", "provisioningState": "Succeeded",
            "properties": {"vmSize": "STANDARD_NC6"}});
        let kubernetes = json!({"computeType": "Kubernetes", "provisioningState": "Succeeded", "isAttachedCompute": true,
            "properties": {"namespace": "default", "defaultInstanceType": "small", "instanceTypes": {
                "small": {"resources": {"limits": {"cpu": "2", "memory": "2Gi"}}},
                "gpu": {"resources": {"limits": {"cpu": "8", "memory": "64Gi", "nvidia.com/gpu": 1}}}}}});
        FakeOptions {
            runner: Arc::new(Script::default()),
            store_secrets: StoreSecrets::default(),
            account: AccountPolicy::default(),
            machine: MachineIdentity::default(),
            page_size: 2,
            retry_after: 0,
            registry: RegistryAccess::default(),
            traffic: None,
            computes: [("gpu-cluster".to_owned(), cluster), ("arc".to_owned(), kubernetes)].into(),
        }
    }
}

/// The state behind the services.
#[derive(Debug)]
pub struct World {
    /// Where the services are.
    pub url: String,
    pub options: FakeOptions,
    pub blobs: Arc<BlobStore>,
    pub signatures: Signatures,
    pub vault: Vault,
    pub faults: Faults,
    requests: Mutex<Vec<Exchange>>,
    jobs: Mutex<BTreeMap<String, Arc<Job>>>,
    /// Environments, codes, models and data, by their paths below the workspace.
    assets: Mutex<BTreeMap<String, Value>>,
    /// How often a cancellation was asked for, by job.
    cancellations: Mutex<BTreeMap<String, u32>>,
}

impl World {
    pub fn new(url: String, options: FakeOptions) -> World {
        World {
            url,
            options,
            blobs: Arc::default(),
            signatures: Signatures::default(),
            vault: Vault::default(),
            faults: Faults::default(),
            requests: Mutex::default(),
            jobs: Mutex::default(),
            assets: Mutex::default(),
            cancellations: Mutex::default(),
        }
    }

    /// Below which the accounts are.
    pub fn blob_url(&self) -> String {
        format!("{}/blob", self.url)
    }

    /// The variables that lead a client here, and sign it in as the application.
    pub fn variables(&self) -> Vec<(String, String)> {
        self.addresses(&[
            ("AZURE_TENANT_ID", tokens::TENANT),
            ("AZURE_CLIENT_ID", identity::CLIENT_ID),
            ("AZURE_CLIENT_SECRET", identity::CLIENT_SECRET),
        ])
    }

    /// The variables that lead what runs inside of a job here, as its user and with the identity of its compute.
    pub fn job_variables(&self) -> Vec<(String, String)> {
        self.addresses(&[
            ("OBO_ENDPOINT", &format!("{}/obo", self.url)),
            ("MSI_ENDPOINT", &format!("{}/msi", self.url)),
            ("MSI_SECRET", identity::MSI_SECRET),
        ])
    }

    fn addresses(&self, more: &[(&str, &str)]) -> Vec<(String, String)> {
        let url = self.url.as_str();
        let blobs = self.blob_url();
        let addresses = [
            ("AZUREML_DEV_URL_MFE", url),
            ("AZURE_AUTHORITY_HOST", url),
            ("AZURE_POD_IDENTITY_AUTHORITY_HOST", url),
            ("OLIVE_AZUREML_BLOB_URL", &blobs),
            ("OLIVE_AZUREML_KEY_VAULT_URL", url),
            ("OLIVE_AZUREML_REGISTRY_URL", url),
        ];
        let all = addresses.iter().chain(more);
        all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    pub fn place(&self, uri: &str) -> Option<Place> {
        Place::of(uri, &self.blob_url())
    }

    pub fn requests(&self) -> MutexGuard<'_, Vec<Exchange>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn jobs(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Job>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn assets(&self) -> MutexGuard<'_, BTreeMap<String, Value>> {
        self.assets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn cancellations(&self) -> MutexGuard<'_, BTreeMap<String, u32>> {
        self.cancellations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
