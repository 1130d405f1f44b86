//! Where something lies in AzureML, and its addresses.

use super::client::Workspace;
use super::names::AzureName;
use std::fmt::{Display, Formatter};

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
