//! Olive's resource paths: where a model or data lies.

use super::client::{AZUREML_CLIENT, AzureMlClient};
use super::environment::{VERSION, version};
use super::names::NameFault;
use super::place::AzureMlPlace;
use crate::option::{Block, Kind, Opt, Special};
use crate::options;
use crate::statement::OptionValue;
use crate::values::Setting;
use serde::{Serialize, Serializer};
use serde_json::json;
use std::fmt::{Display, Formatter};

/// Where a model or data lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResourcePath {
    /// A path of this machine, or a name on the hub, as written.
    Local(String),
    AzureMl(Box<AzureMlResource>),
}

impl ResourcePath {
    /// What is written, unless that is a place in AzureML.
    pub fn local(&self) -> Option<&str> {
        match self {
            ResourcePath::Local(path) => Some(path),
            ResourcePath::AzureMl(_) => None,
        }
    }

    pub fn azureml(&self) -> Option<&AzureMlResource> {
        match self {
            ResourcePath::Local(_) => None,
            ResourcePath::AzureMl(resource) => Some(resource),
        }
    }
}

impl Display for ResourcePath {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            ResourcePath::Local(path) => f.write_str(path),
            ResourcePath::AzureMl(resource) => resource.fmt(f),
        }
    }
}

// One text, whatever the file makes of it.
impl Serialize for ResourcePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Something in AzureML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AzureMlResource {
    /// The workspace that has it and how that is reached; `None` is the workspace of the job, or of the top level.
    pub client: Option<AzureMlClient>,
    pub place: AzureMlPlace,
}

impl AzureMlResource {
    /// The same, in the workspace of `client` unless it names one of its own.
    pub fn within(&self, client: Option<&AzureMlClient>) -> AzureMlResource {
        AzureMlResource { client: self.client.as_ref().or(client).cloned(), place: self.place.clone() }
    }

    /// # Errors
    /// The first name that is a placeholder, or that Azure would refuse.
    pub fn check_names(&self) -> Result<(), NameFault> {
        let workspace = match (&self.client, &self.place) {
            (_, AzureMlPlace::RegistryModel { .. }) | (None, _) => None,
            (Some(client), _) => Some(client.workspace.names()),
        };
        let names = workspace.into_iter().flatten().chain(self.place.names());
        names.into_iter().try_for_each(|(key, name, text)| name.check(key, text))
    }
}

/// As an `azureml://` address.
impl Display for AzureMlResource {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str("azureml://")?;
        if let Some(AzureMlClient { workspace, .. }) = &self.client
            && !matches!(self.place, AzureMlPlace::RegistryModel { .. })
        {
            let (subscription, group) = (&workspace.subscription_id, &workspace.resource_group);
            let name = &workspace.workspace_name;
            write!(f, "subscriptions/{subscription}/resourcegroups/{group}/workspaces/{name}/")?;
        }
        self.place.fmt(f)
    }
}

static RESOURCE_PATH: Special = Special::unchecked(
    "a text, or an object with `type` and `config`",
    || json!({"anyOf": [{"type": ["string", "null"]}, {"$ref": "#/$defs/resource"}]}),
);

// The reader attaches what is more than a text.
impl OptionValue for ResourcePath {
    const KIND: Kind = Kind::Special(&RESOURCE_PATH);

    fn read(setting: &Setting) -> Option<ResourcePath> {
        let text = || Some(ResourcePath::Local(setting.json.as_str()?.to_owned()));
        setting.object().or_else(text)
    }
}

const TYPE: &[Opt] = &[Opt::new(
    "type",
    Kind::Text,
    "`azureml_datastore`, `azureml_model`, `azureml_registry_model`, `azureml_job_output`, `file`, `folder` or `string_name`.",
)];

pub(crate) static AZUREML_DATASTORE: Block = Block {
    name: "azureml_datastore",
    doc: "A resource path: a file or folder in a datastore. As a text: `azureml://datastores/NAME/paths/PATH`, or with \
          `azureml://subscriptions/ID/resourcegroups/GROUP/workspaces/NAME/` before `datastores`.",
    wrapper: Some("config"),
    outer: TYPE,
    parts: &[DATASTORE],
    open: None,
};

options! {
    /// `azureml_datastore`, as written.
    pub struct DatastoreOptions {
        DATASTORE {
            /// Its workspace; that of the job, or of the top level, if it is left out.
            - "azureml_client" = Kind::Block(&AZUREML_CLIENT);
            /// Name of the datastore.
            pub datastore_name: Option<String>;
            /// Path in the datastore.
            pub relative_path: Option<String>;
            /// The address, instead of the other options.
            - "datastore_url" = Kind::Text;
        }
    }
}

pub(crate) static AZUREML_MODEL: Block = Block {
    name: "azureml_model",
    doc: "A resource path: a model that is registered in a workspace. As a text: `azureml:NAME:VERSION`.",
    wrapper: Some("config"),
    outer: TYPE,
    parts: &[MODEL],
    open: None,
};

options! {
    /// `azureml_model`, as written.
    pub struct ModelAssetOptions {
        MODEL {
            /// Its workspace; that of the job, or of the top level, if it is left out.
            - "azureml_client" = Kind::Block(&AZUREML_CLIENT);
            /// Name of the model.
            pub name: Option<String>, required();
            /// Version of the model.
            pub version: Option<String> = Kind::Special(&VERSION), required() => version;
        }
    }
}

pub(crate) static AZUREML_REGISTRY_MODEL: Block = Block {
    name: "azureml_registry_model",
    doc: "A resource path: a model of a registry. As a text: `azureml://registries/REGISTRY/models/NAME/versions/VERSION`.",
    wrapper: Some("config"),
    outer: TYPE,
    parts: &[REGISTRY_MODEL],
    open: None,
};

options! {
    /// `azureml_registry_model`, as written.
    pub struct RegistryModelOptions {
        REGISTRY_MODEL {
            /// How AzureML is reached; registries belong to no workspace.
            - "azureml_client" = Kind::Block(&AZUREML_CLIENT), quiet();
            /// Name of the registry.
            pub registry_name: Option<String>, required();
            /// Name of the model.
            pub name: Option<String>, required();
            /// Version of the model.
            pub version: Option<String> = Kind::Special(&VERSION), required() => version;
        }
    }
}

pub(crate) static AZUREML_JOB_OUTPUT: Block = Block {
    name: "azureml_job_output",
    doc: "A resource path: what a job made. As a text: `azureml://jobs/JOB/outputs/OUTPUT/paths/PATH`.",
    wrapper: Some("config"),
    outer: TYPE,
    parts: &[JOB_OUTPUT],
    open: None,
};

options! {
    /// `azureml_job_output`, as written.
    pub struct JobOutputOptions {
        JOB_OUTPUT {
            /// Its workspace; that of the job, or of the top level, if it is left out.
            - "azureml_client" = Kind::Block(&AZUREML_CLIENT);
            /// Id of the job.
            pub job_name: Option<String>, required();
            /// Name of the output.
            pub output_name: Option<String>, required();
            /// Path in the output.
            pub relative_path: Option<String>, required();
        }
    }
}
