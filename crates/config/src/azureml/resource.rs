//! Olive's resource paths: where a model or data lies.

use super::client::{AZUREML_CLIENT, AzureMlClient, Workspace};
use super::job_system::{VERSION, version};
use super::names::AzureName;
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
    AzureMl(AzureMlResource),
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

/// Where in AzureML, by the kinds that Olive has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AzureMlPlace {
    Datastore {
        datastore: String,
        path: String,
    },
    Model {
        name: String,
        version: String,
    },
    /// Registries belong to no workspace.
    RegistryModel {
        registry: String,
        name: String,
        version: String,
    },
    JobOutput {
        job: String,
        output: String,
        path: String,
    },
}

impl AzureMlPlace {
    /// Completes "it lies in …".
    pub fn describe(&self) -> &'static str {
        match self {
            AzureMlPlace::Datastore { .. } => "a datastore of AzureML",
            AzureMlPlace::Model { .. } => "a model of AzureML",
            AzureMlPlace::RegistryModel { .. } => "a registry of AzureML",
            AzureMlPlace::JobOutput { .. } => "the output of a job of AzureML",
        }
    }
}

impl AzureMlPlace {
    /// The names that it is made of, by the options of Olive's objects.
    pub(crate) fn names(&self) -> Vec<(&'static str, AzureName, &str)> {
        match self {
            AzureMlPlace::Datastore { datastore, path } => vec![
                ("datastore_name", AzureName::Datastore, datastore),
                ("relative_path", AzureName::Path, path),
            ],
            AzureMlPlace::Model { name, version } => {
                vec![("name", AzureName::Model, name), ("version", AzureName::Version, version)]
            }
            AzureMlPlace::RegistryModel { registry, name, version } => vec![
                ("registry_name", AzureName::Registry, registry),
                ("name", AzureName::Model, name),
                ("version", AzureName::Version, version),
            ],
            AzureMlPlace::JobOutput { job, output, path } => vec![
                ("job_name", AzureName::Job, job),
                ("output_name", AzureName::Output, output),
                ("relative_path", AzureName::Path, path),
            ],
        }
    }

    /// The place that an `azureml:` address names, and its workspace if that is part of it. `None`: it is no address of a
    /// datastore, a model or the output of a job.
    ///
    /// Addresses are those of AzureML's SDK: `azureml://` with or without a workspace, `azureml:NAME:VERSION` of models, and
    /// `azureml:/subscriptions/…`, the ids of resource management.
    pub(crate) fn of_address(address: &str) -> Option<(Option<Workspace>, AzureMlPlace)> {
        let mut rest = address;
        while let Some(inner) = rest.strip_prefix("azureml:") {
            rest = inner;
        }
        if !rest.contains('/') {
            let (name, version) = rest.split_once(':')?;
            let whole = !name.is_empty() && !version.is_empty();
            return whole.then(|| (None, AzureMlPlace::Model { name: name.into(), version: version.into() }));
        }
        let parts: Vec<&str> = rest.trim_start_matches('/').split('/').collect();
        let [first, subscription, groups, group, rest @ ..] = parts.as_slice() else { return None };
        if *first != "subscriptions" || !groups.eq_ignore_ascii_case("resourceGroups") {
            return AzureMlPlace::of_parts(&parts).map(|place| (None, place));
        }
        let rest = match rest {
            ["providers", "Microsoft.MachineLearningServices", rest @ ..] => rest,
            rest => rest,
        };
        let ["workspaces", workspace, rest @ ..] = rest else { return None };
        let workspace = Workspace {
            subscription_id: (*subscription).to_owned(),
            resource_group: (*group).to_owned(),
            workspace_name: (*workspace).to_owned(),
        };
        let place = AzureMlPlace::of_parts(rest)?;
        (!matches!(place, AzureMlPlace::RegistryModel { .. })).then_some((Some(workspace), place))
    }

    fn of_parts(parts: &[&str]) -> Option<AzureMlPlace> {
        let text = |part: &&str| (*part).to_owned();
        Some(match parts {
            ["datastores", datastore, "paths", path @ ..] if !path.is_empty() => {
                AzureMlPlace::Datastore { datastore: text(datastore), path: path.join("/") }
            }
            ["models", name, "versions", version] => {
                AzureMlPlace::Model { name: text(name), version: text(version) }
            }
            ["registries", registry, "models", name, "versions", version] => AzureMlPlace::RegistryModel {
                registry: text(registry),
                name: text(name),
                version: text(version),
            },
            ["jobs", job, "outputs", output, "paths", path @ ..] if !path.is_empty() => {
                AzureMlPlace::JobOutput { job: text(job), output: text(output), path: path.join("/") }
            }
            _ => return None,
        })
    }
}

/// The end of an `azureml://` address, below a workspace or nothing.
impl Display for AzureMlPlace {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            AzureMlPlace::Datastore { datastore, path } => write!(f, "datastores/{datastore}/paths/{path}"),
            AzureMlPlace::Model { name, version } => write!(f, "models/{name}/versions/{version}"),
            AzureMlPlace::RegistryModel { registry, name, version } => {
                write!(f, "registries/{registry}/models/{name}/versions/{version}")
            }
            AzureMlPlace::JobOutput { job, output, path } => {
                write!(f, "jobs/{job}/outputs/{output}/paths/{path}")
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(address: &str) -> Option<(Option<[String; 3]>, String)> {
        let (workspace, place) = AzureMlPlace::of_address(address)?;
        let names = |it: Workspace| [it.subscription_id, it.resource_group, it.workspace_name];
        Some((workspace.map(names), place.to_string()))
    }

    #[test]
    fn addresses_are_those_of_the_sdk() {
        let of = |place: &str| Some((None, place.to_owned()));
        for (address, expected) in [
            ("azureml://datastores/store/paths/a/b.jsonl", of("datastores/store/paths/a/b.jsonl")),
            ("azureml:azureml://datastores/store/paths/a", of("datastores/store/paths/a")),
            ("azureml:phi:3", of("models/phi/versions/3")),
            ("azureml://registries/meta/models/phi/versions/3", of("registries/meta/models/phi/versions/3")),
            ("azureml://jobs/j/outputs/model/paths/a", of("jobs/j/outputs/model/paths/a")),
            ("azureml:phi", None),
            ("azureml:phi@latest", None),
            ("azureml://datastores/store", None),
            ("azureml://datastores/store/paths", None),
            ("azureml://locations/west/workspaces/w/models/m/versions/1", None),
            ("azureml://subscriptions/s/resourcegroups/g/registries/r/models/m/versions/1", None),
        ] {
            assert_eq!(read(address), expected, "{address}");
        }
        let workspace = ["s", "g", "w"].map(str::to_owned);
        for (address, place) in [
            (
                "azureml://subscriptions/s/resourcegroups/g/workspaces/w/datastores/d/paths/p",
                "datastores/d/paths/p",
            ),
            (
                "azureml:/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w/models/m/versions/1",
                "models/m/versions/1",
            ),
        ] {
            assert_eq!(read(address), Some((Some(workspace.clone()), place.to_owned())), "{address}");
        }
    }
}
