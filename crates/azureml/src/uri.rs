//! The ways in which Azure ML names files, assets and outputs of jobs.
//!
//! Source: the patterns of `azure.ai.ml.constants._common` of azure-ai-ml 1.35.2.

use crate::error::{Error, Result};
use crate::workspace::Workspace;
use std::fmt;
use std::str::FromStr;

/// What an address names. `Display` writes it in the form in which it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AssetUri {
    /// A file, or a folder with `/` at its end, of a datastore: `azureml://datastores/D/paths/P`, or with the workspace,
    /// `azureml://subscriptions/S/resourcegroups/G/workspaces/W/datastores/D/paths/P`.
    Datastore { workspace: Option<Workspace>, datastore: String, path: String },
    /// What a run wrote beside its outputs, logs for example: `azureml://datastores/D/ExperimentRun/…`.
    RunArtifact { datastore: String, path: String },
    /// `azureml://jobs/J/outputs/O/paths/P`; without `paths` the whole output.
    JobOutput { job: String, output: String, path: Option<String> },
    /// A file that MLflow logged: `runs:/R/P`.
    Mlflow { run: String, path: String },
    /// A version of a model, a data set, a piece of code or an environment.
    Asset { place: Place, kind: String, name: String, version: Version },
    /// A version of something whose kind only the context tells: `azureml:N:V` or `azureml:N@L`.
    Short { name: String, version: Version },
}

/// Where an asset is registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// `azureml:/subscriptions/S/resourceGroups/G/providers/Microsoft.MachineLearningServices/workspaces/W/…`: its id
    /// in ARM.
    Arm(Workspace),
    /// `azureml://subscriptions/S/resourceGroups/G/workspaces/W/…`
    Workspace(Workspace),
    /// `azureml://locations/L/workspaces/I/…`, where the workspace is known by its identifier.
    Location { location: String, workspace_id: String },
    /// `azureml://registries/R/…`
    Registry(String),
    /// `azureml://…`: the workspace in which it is used.
    Here,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Version {
    /// `versions/V` or `:V`
    Number(String),
    /// `labels/L` or `@L`; `latest` is one.
    Label(String),
}

const PROVIDER: &str = "Microsoft.MachineLearningServices";

/// What logs and other files of a run lie under.
const RUNS: &str = "ExperimentRun";

impl AssetUri {
    /// The file or folder `path` of a datastore of the workspace in which the address is used.
    pub fn datastore(datastore: impl Into<String>, path: impl Into<String>) -> AssetUri {
        AssetUri::Datastore { workspace: None, datastore: datastore.into(), path: path.into() }
    }

    /// Datastore and path in it, of what lies in one.
    pub fn stored(&self) -> Option<(&str, &str)> {
        match self {
            AssetUri::Datastore { datastore, path, .. } | AssetUri::RunArtifact { datastore, path } => {
                Some((datastore, path))
            }
            _ => None,
        }
    }

    /// The workspace that it names, if it names one.
    pub fn workspace(&self) -> Option<&Workspace> {
        match self {
            AssetUri::Datastore { workspace, .. } => workspace.as_ref(),
            AssetUri::Asset { place: Place::Arm(workspace) | Place::Workspace(workspace), .. } => {
                Some(workspace)
            }
            _ => None,
        }
    }

    /// What a job of `workspace` takes for an input of this address: assets of the workspace by their id in ARM,
    /// everything else as it is. `kind` (`models`, `data`) is that of a [`AssetUri::Short`].
    pub fn for_job(&self, workspace: &Workspace, kind: &str) -> String {
        match self {
            AssetUri::Short { name, version } => Asset { kind, name, version }.arm_id(workspace),
            AssetUri::Asset { place, kind, name, version } => {
                let asset = Asset { kind, name, version };
                match place {
                    Place::Here => asset.arm_id(workspace),
                    Place::Arm(other) | Place::Workspace(other) => asset.arm_id(other),
                    Place::Location { .. } | Place::Registry(_) => self.to_string(),
                }
            }
            _ => self.to_string(),
        }
    }
}

impl FromStr for AssetUri {
    type Err = Error;

    fn from_str(text: &str) -> Result<AssetUri> {
        let uri = ["file:", "folder:"].iter().find_map(|prefix| text.strip_prefix(prefix)).unwrap_or(text);
        let read = if let Some(rest) = uri.strip_prefix("runs:/") {
            mlflow(rest)
        } else if let Some(rest) = uri.strip_prefix("azureml://") {
            long(rest)
        } else if let Some(rest) = uri.strip_prefix("azureml:/").or_else(|| uri.strip_prefix('/')) {
            arm(rest)
        } else {
            uri.strip_prefix("azureml:").and_then(short)
        };
        read.ok_or_else(|| Error::Invalid {
            what: "address",
            value: text.to_owned(),
            expected: "expected azureml://datastores/NAME/paths/PATH, azureml://jobs/JOB/outputs/NAME/paths/PATH, \
                       azureml://registries/NAME/models/NAME/versions/VERSION, azureml:NAME:VERSION or the like",
        })
    }
}

/// After `azureml://`.
fn long(rest: &str) -> Option<AssetUri> {
    let (head, after) = rest.split_once('/')?;
    match head {
        "datastores" => stored(None, after),
        "jobs" => job_output(after),
        "registries" => {
            let (registry, after) = part(after)?;
            asset(Place::Registry(registry), after)
        }
        "locations" => {
            let (location, after) = part(after)?;
            let (workspace_id, after) = part(after.strip_prefix("workspaces/")?)?;
            asset(Place::Location { location, workspace_id }, after)
        }
        "subscriptions" => {
            let (workspace, after) = workspace(after, "/workspaces/")?;
            match after.strip_prefix("datastores/") {
                Some(after) => stored(Some(workspace), after),
                None => asset(Place::Workspace(workspace), after),
            }
        }
        _ => asset(Place::Here, rest),
    }
}

/// After `azureml:/` or `/`.
fn arm(rest: &str) -> Option<AssetUri> {
    let rest = rest.strip_prefix("subscriptions/")?;
    let (workspace, after) = workspace(rest, &format!("/providers/{PROVIDER}/workspaces/"))?;
    asset(Place::Arm(workspace), after)
}

/// `S/resourceGroups/G`, `between`, `W/`, of which all but the names may be in small letters; and what follows.
fn workspace<'a>(rest: &'a str, between: &str) -> Option<(Workspace, &'a str)> {
    let (subscription_id, rest) = part(rest)?;
    let (resource_group, rest) = part(strip_ignoring_case(rest, "resourceGroups/")?)?;
    // `part` has taken the first `/` of what is between.
    let (name, rest) = part(strip_ignoring_case(rest, between.strip_prefix('/')?)?)?;
    Some((Workspace::new(&subscription_id, &resource_group, &name).ok()?, rest))
}

fn stored(workspace: Option<Workspace>, rest: &str) -> Option<AssetUri> {
    let (datastore, rest) = part(rest)?;
    match rest.strip_prefix("paths/") {
        Some(path) => {
            (!path.is_empty()).then(|| AssetUri::Datastore { workspace, datastore, path: path.to_owned() })
        }
        None if workspace.is_none() && rest.strip_prefix(RUNS)?.len() > 1 => {
            Some(AssetUri::RunArtifact { datastore, path: rest.to_owned() })
        }
        None => None,
    }
}

fn job_output(rest: &str) -> Option<AssetUri> {
    let (job, rest) = part(rest)?;
    let rest = rest.strip_prefix("outputs/")?;
    let (output, path) = match rest.split_once('/') {
        None => (rest, None),
        Some((output, "")) => (output, None),
        Some((output, rest)) => (output, Some(rest.strip_prefix("paths/")?)),
    };
    let path = path.filter(|path| !path.is_empty()).map(str::to_owned);
    (!output.is_empty()).then(|| AssetUri::JobOutput { job, output: output.to_owned(), path })
}

fn mlflow(rest: &str) -> Option<AssetUri> {
    let (run, path) = part(rest)?;
    (!path.is_empty() && !run.contains('?')).then(|| AssetUri::Mlflow { run, path: path.to_owned() })
}

/// `KIND/NAME/versions/VERSION` or `KIND/NAME/labels/LABEL`.
fn asset(place: Place, rest: &str) -> Option<AssetUri> {
    let (kind, rest) = part(rest)?;
    let (name, rest) = part(rest)?;
    let version = match rest.split_once('/')? {
        ("versions", version) => Version::Number(version.to_owned()),
        ("labels", label) => Version::Label(label.to_owned()),
        _ => return None,
    };
    version.is_one().then_some(AssetUri::Asset { place, kind, name, version })
}

/// After `azureml:`.
fn short(rest: &str) -> Option<AssetUri> {
    let (name, version) = match (rest.split_once(':'), rest.split_once('@')) {
        (Some((name, version)), _) => (name, Version::Number(version.to_owned())),
        (None, Some((name, label))) => (name, Version::Label(label.to_owned())),
        (None, None) => return None,
    };
    let is_name = !name.is_empty() && !name.contains('/');
    (is_name && version.is_one()).then(|| AssetUri::Short { name: name.to_owned(), version })
}

/// A part that is not empty, and what follows the `/` after it.
fn part(rest: &str) -> Option<(String, &str)> {
    let (part, rest) = rest.split_once('/')?;
    (!part.is_empty()).then(|| (part.to_owned(), rest))
}

fn strip_ignoring_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

impl Version {
    fn is_one(&self) -> bool {
        let (Version::Number(text) | Version::Label(text)) = self;
        !text.is_empty() && !text.contains('/')
    }
}

/// Kind, name and version, to be written after a place.
struct Asset<'a> {
    kind: &'a str,
    name: &'a str,
    version: &'a Version,
}

impl Asset<'_> {
    fn arm_id(&self, workspace: &Workspace) -> String {
        format!("{}/{self}", workspace.path())
    }
}

impl fmt::Display for Asset<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, version) = match self.version {
            Version::Number(version) => ("versions", version),
            Version::Label(label) => ("labels", label),
        };
        write!(f, "{}/{}/{word}/{version}", self.kind, self.name)
    }
}

impl fmt::Display for AssetUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AssetUri::Datastore { workspace: None, datastore, path } => {
                write!(f, "azureml://datastores/{datastore}/paths/{path}")
            }
            AssetUri::Datastore { workspace: Some(workspace), datastore, path } => {
                let place = in_parts(workspace, "resourcegroups");
                write!(f, "{place}datastores/{datastore}/paths/{path}")
            }
            AssetUri::RunArtifact { datastore, path } => write!(f, "azureml://datastores/{datastore}/{path}"),
            AssetUri::JobOutput { job, output, path } => {
                write!(f, "azureml://jobs/{job}/outputs/{output}")?;
                path.as_ref().map_or(Ok(()), |path| write!(f, "/paths/{path}"))
            }
            AssetUri::Mlflow { run, path } => write!(f, "runs:/{run}/{path}"),
            AssetUri::Asset { place, kind, name, version } => {
                write!(f, "{place}{}", Asset { kind, name, version })
            }
            AssetUri::Short { name, version: Version::Number(version) } => {
                write!(f, "azureml:{name}:{version}")
            }
            AssetUri::Short { name, version: Version::Label(label) } => write!(f, "azureml:{name}@{label}"),
        }
    }
}

/// With the `/` after it.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Arm(workspace) => write!(f, "azureml:{}/", workspace.path()),
            Place::Workspace(workspace) => f.write_str(&in_parts(workspace, "resourceGroups")),
            Place::Location { location, workspace_id } => {
                write!(f, "azureml://locations/{location}/workspaces/{workspace_id}/")
            }
            Place::Registry(registry) => write!(f, "azureml://registries/{registry}/"),
            Place::Here => f.write_str("azureml://"),
        }
    }
}

/// Services write `resourcegroups` before datastores, and `resourceGroups` before assets.
fn in_parts(workspace: &Workspace, groups: &str) -> String {
    let (subscription, group) = (workspace.subscription_id(), workspace.resource_group());
    format!("azureml://subscriptions/{subscription}/{groups}/{group}/workspaces/{}/", workspace.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace() -> Workspace {
        Workspace::new("00000000-1111-2222-3333-444444444444", "g", "ws1").unwrap()
    }

    fn number(text: &str) -> Version {
        Version::Number(text.into())
    }

    fn asset(place: Place, kind: &str, name: &str, version: &str) -> AssetUri {
        AssetUri::Asset { place, kind: kind.into(), name: name.into(), version: number(version) }
    }

    #[test]
    fn every_form_is_read_and_written() {
        let output = |path: Option<&str>| AssetUri::JobOutput {
            job: "j".into(),
            output: "o".into(),
            path: path.map(str::to_owned),
        };
        let arm = "azureml:/subscriptions/00000000-1111-2222-3333-444444444444/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/ws1/models/m/versions/3";
        let here = "azureml://subscriptions/00000000-1111-2222-3333-444444444444/resourceGroups/g/workspaces/ws1/data/d/versions/1";
        let long = "azureml://subscriptions/00000000-1111-2222-3333-444444444444/resourcegroups/g/workspaces/ws1/datastores/d/paths/a/b.json";
        let location = Place::Location { location: "eastus".into(), workspace_id: "22-0".into() };
        let cases = [
            ("azureml://datastores/d/paths/a/b/", AssetUri::datastore("d", "a/b/")),
            (
                long,
                AssetUri::Datastore {
                    workspace: Some(workspace()),
                    datastore: "d".into(),
                    path: "a/b.json".into(),
                },
            ),
            (
                "azureml://datastores/d/ExperimentRun/dcid.j",
                AssetUri::RunArtifact { datastore: "d".into(), path: "ExperimentRun/dcid.j".into() },
            ),
            ("azureml://jobs/j/outputs/o/paths/p/q", output(Some("p/q"))),
            ("azureml://jobs/j/outputs/o", output(None)),
            ("runs:/r/model/x", AssetUri::Mlflow { run: "r".into(), path: "model/x".into() }),
            (arm, asset(Place::Arm(workspace()), "models", "m", "3")),
            (here, asset(Place::Workspace(workspace()), "data", "d", "1")),
            (
                "azureml://locations/eastus/workspaces/22-0/data/d/versions/1",
                asset(location, "data", "d", "1"),
            ),
            (
                "azureml://registries/azureml/models/m/versions/2",
                asset(Place::Registry("azureml".into()), "models", "m", "2"),
            ),
            ("azureml://models/m/versions/2", asset(Place::Here, "models", "m", "2")),
            (
                "azureml://registries/r/environments/e/labels/latest",
                AssetUri::Asset {
                    place: Place::Registry("r".into()),
                    kind: "environments".into(),
                    name: "e".into(),
                    version: Version::Label("latest".into()),
                },
            ),
            ("azureml:m:3", AssetUri::Short { name: "m".into(), version: number("3") }),
            (
                "azureml:m@latest",
                AssetUri::Short { name: "m".into(), version: Version::Label("latest".into()) },
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<AssetUri>().unwrap(), expected, "{text}");
            assert_eq!(expected.to_string(), text);
        }
    }

    #[test]
    fn other_spellings_are_understood() {
        let long =
            "00000000-1111-2222-3333-444444444444/resourceGroups/g/workspaces/ws1/datastores/d/paths/p";
        let parsed: AssetUri = format!("folder:azureml://subscriptions/{long}").parse().unwrap();
        assert_eq!((parsed.stored(), parsed.workspace()), (Some(("d", "p")), Some(&workspace())));
        let id = "/subscriptions/00000000-1111-2222-3333-444444444444/resourcegroups/g/providers/microsoft.machinelearningservices/workspaces/ws1/models/m/versions/3";
        assert_eq!(id.parse::<AssetUri>().unwrap().workspace(), Some(&workspace()));
        let whole: AssetUri = "azureml://jobs/j/outputs/o/paths/".parse().unwrap();
        assert_eq!(whole.to_string(), "azureml://jobs/j/outputs/o");
    }

    #[test]
    fn what_is_no_address_is_named() {
        for text in [
            "",
            "azureml:",
            "azureml:name",
            "azureml:name:",
            "azureml::3",
            "azureml://",
            "azureml://datastores/d/paths/",
            "azureml://datastores//paths/p",
            "azureml://datastores/d/other/p",
            "azureml://datastores/d/ExperimentRun/",
            "azureml://jobs/j/outputs/",
            "azureml://jobs/j/outputs/o/other",
            "azureml://registries/r/models/m",
            "azureml://registries/r/models/m/versions/",
            "azureml://locations/l/models/m/versions/1",
            "azureml://subscriptions/00000000-1111-2222-3333-444444444444/resourceGroups/g/workspaces/w",
            "runs:/r",
            "runs:/r?x/p",
            "https://host/p",
            "/etc/passwd",
            "data/train.json",
        ] {
            let error = text.parse::<AssetUri>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{text}`")), "{error}");
        }
    }

    #[test]
    fn a_job_gets_assets_of_its_workspace_by_their_ids() {
        let id = |text: &str| text.parse::<AssetUri>().unwrap().for_job(&workspace(), "models");
        let path = workspace().path();
        assert_eq!(id("azureml:m:3"), format!("{path}/models/m/versions/3"));
        assert_eq!(id("azureml://data/d/versions/1"), format!("{path}/data/d/versions/1"));
        assert_eq!(id(&format!("azureml:{path}/models/m/versions/3")), format!("{path}/models/m/versions/3"));
        for same in ["azureml://registries/r/models/m/versions/2", "azureml://datastores/d/paths/p"] {
            assert_eq!(id(same), same);
        }
    }
}
