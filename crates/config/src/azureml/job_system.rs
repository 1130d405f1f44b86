//! `systems` of the type `AzureML`: a compute whose jobs run passes.

use super::client::{AZUREML_CLIENT, AzureMlClient};
use super::environment::{
    AML_DOCKER_CONFIG, AML_ENVIRONMENT_CONFIG, ImageSource, JobEnvironment, expected, scalar,
};
use crate::node::{Node, NodeValue};
use crate::option::{BOOL, Block, Kind, Misfit, MisfitPlace, Special, TEXT, at_least};
use crate::options;
use crate::statement::OptionValue;
use crate::values::Setting;
use regex::Regex;
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::LazyLock;

/// A compute that passes run on, with all that its jobs need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AzureMlSystem {
    pub client: AzureMlClient,
    /// Name of the compute.
    pub compute: String,
    pub environment: JobEnvironment,
    /// Key vault whose secret `hf-token` the jobs log in to the Hugging Face Hub with, if they do.
    pub hf_token_vault: Option<String>,
    pub tags: BTreeMap<String, String>,
    pub resources: JobResources,
    /// Datastore that takes what jobs are given and what they make.
    pub datastore: String,
    /// Whether the results of all steps come back, not only that of the last.
    pub download_intermediate: bool,
    pub timeout: Option<JobTimeout>,
    /// The program that jobs run; `None` is this one.
    pub binary: Option<PathBuf>,
}

impl AzureMlSystem {
    /// The files and folders of this machine that jobs are made of, by the option that names them.
    pub fn files(&self) -> Vec<(&'static str, PathBuf)> {
        let mut files: Vec<_> = self.binary.iter().map(|path| ("binary", path.clone())).collect();
        if let Some(image) = self.environment.image() {
            match &image.source {
                ImageSource::Registry { conda_file, .. } => {
                    files.extend(conda_file.iter().map(|path| ("conda_file_path", path.clone())));
                }
                ImageSource::Build { context, dockerfile } => {
                    files.push(("dockerfile", context.join(dockerfile)));
                }
            }
        }
        files
    }
}

/// What a job asks of its compute.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobResources {
    /// Which machine of a Kubernetes compute.
    pub instance_type: Option<String>,
    /// Shared memory of the container, a number and a unit: `16g`.
    pub shm_size: Option<String>,
    /// Further arguments of `docker run`.
    pub docker_args: Option<String>,
    pub properties: Map<String, Json>,
}

options! {
    /// A system of the type `AzureML`, as written.
    pub struct AzureMlSystemOptions {
        AZURE_ML_OPTIONS {
            /// Name of the compute cluster.
            pub aml_compute: Option<String>;
            /// Image of the jobs; used where `aml_environment_config` names no environment that is there.
            - "aml_docker_config" = Kind::Block(&AML_DOCKER_CONFIG);
            /// Registered environment of the jobs.
            - "aml_environment_config" = Kind::Block(&AML_ENVIRONMENT_CONFIG);
            /// Another workspace than the top level's.
            - "azureml_client" = Kind::Block(&AZUREML_CLIENT), also(&["azureml_client_config"]);
            /// Whether jobs log in to the Hugging Face Hub with the secret `hf-token` of the key vault.
            pub hf_token: bool, default("false");
            /// Tags of the jobs: an object of texts.
            pub tags: BTreeMap<String, String> = Kind::Special(&TAGS) => tags;
            /// Resources of the jobs.
            - "resources" = Kind::Block(&JOB_RESOURCES);
            /// Machines per job; more than one is not supported yet.
            pub instance_count: usize = at_least(1), default("1");
            /// Datastore that takes what jobs are given and what they make.
            pub datastores: String, default("\"workspaceblobstore\"");
            /// Bring back the results of all passes, not only that of the last.
            pub download_intermediate: bool, default("false");
            /// Longest time of a job, in seconds or as an ISO 8601 duration: `PT12H`.
            pub timeout: Option<JobTimeout>;
            /// Build the environment with `conda_file_path`, which no pass needs.
            pub build_conda_env: bool, default("false");
            /// The program that jobs run, for Linux; null is this program.
            pub binary: Option<PathBuf>;
            /// Let the program choose the image.
            pub olive_managed_env: bool, default("false");
            /// Packages of the Python environment.
            - "requirements_file" = TEXT, quiet();
            /// Use Olive's sources.
            - "is_dev" = BOOL, quiet();
        }
    }
}

pub(crate) static JOB_RESOURCES: Block = Block {
    name: "resources",
    doc: "What AzureML jobs ask of their compute.",
    wrapper: None,
    outer: &[],
    parts: &[RESOURCES],
    open: None,
};

options! {
    /// `resources`, as written.
    pub struct JobResourceOptions {
        RESOURCES {
            /// Which machine of a Kubernetes compute.
            pub instance_type: Option<String>;
            /// Machines per job; more than one is not supported yet.
            pub instance_count: Option<usize> = at_least(1);
            /// Shared memory of the container: `16g`.
            pub shm_size: Option<String> = Kind::Special(&SHM_SIZE);
            /// Further arguments of `docker run`.
            pub docker_args: Option<String>;
            /// Properties of the compute's own.
            pub properties: Map<String, Json> = Kind::Special(&PROPERTIES);
        }
    }
}

/// A limit of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobTimeout {
    pub seconds: u64,
}

/// As ISO 8601 has it.
impl std::fmt::Display for JobTimeout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PT{}S", self.seconds)
    }
}

static TIMEOUT: Special = Special {
    value: "seconds, or an ISO 8601 duration",
    schema: || json!({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": "^P"}, {"type": "null"}]}),
    check: |node| timeout(node).map(drop),
};

impl OptionValue for JobTimeout {
    const KIND: Kind = Kind::Special(&TIMEOUT);

    fn read(setting: &Setting) -> Option<JobTimeout> {
        timeout(&Node::from_json(&setting.json)).ok()
    }
}

/// Months and years have no fixed length, so a limit has none.
static DURATION: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?$").expect("a valid pattern")
});

fn timeout(node: &Node) -> Result<JobTimeout, Misfit> {
    let seconds = match &node.value {
        NodeValue::Int(seconds) => u64::try_from(*seconds).ok(),
        NodeValue::Text(text) => text.trim().parse().ok().or_else(|| duration(text.trim())),
        _ => None,
    };
    let seconds = seconds.filter(|seconds| *seconds > 0);
    seconds.map(|seconds| JobTimeout { seconds }).ok_or_else(|| Misfit {
        message: format!("expected seconds or an ISO 8601 duration, found {}", node.describe()),
        hint: Some("for example 43200 or \"PT12H\"".into()),
        place: MisfitPlace::Value,
    })
}

/// The seconds of `P1DT12H`.
fn duration(text: &str) -> Option<u64> {
    const UNITS: [u64; 5] = [7 * 86_400, 86_400, 3600, 60, 1];
    let parts = DURATION.captures(text)?;
    let mut seconds = 0u64;
    for (index, unit) in UNITS.into_iter().enumerate() {
        let Some(part) = parts.get(index + 1) else { continue };
        seconds = seconds.checked_add(part.as_str().parse::<u64>().ok()?.checked_mul(unit)?)?;
    }
    Some(seconds)
}

static SHM_SIZE: Special = Special {
    value: "a number and a unit: b, k, m or g",
    schema: || json!({"type": ["string", "null"], "pattern": "^\\d+[bBkKmMgG]$"}),
    check: |node| match node
        .as_text()
        .and_then(|text| text.strip_suffix(['b', 'B', 'k', 'K', 'm', 'M', 'g', 'G']))
    {
        Some(number) if !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit()) => Ok(()),
        _ => Err(expected("a number and a unit, such as `16g`", node)),
    },
};

static PROPERTIES: Special = Special {
    value: "an object",
    schema: || json!({"type": ["object", "null"]}),
    check: |node| node.as_object().map(drop).ok_or_else(|| expected("an object", node)),
};

static TAGS: Special = Special {
    value: "an object of texts",
    schema: || json!({"type": ["object", "null"], "additionalProperties": {"type": ["string", "number", "boolean"]}}),
    check: |node| {
        let entries = node.as_object().ok_or_else(|| expected("an object of texts", node))?;
        let odd = entries.iter().find(|entry| scalar(&entry.node.to_json()).is_none());
        odd.map_or(Ok(()), |entry| Err(expected(&format!("a text as the tag `{}`", entry.key), &entry.node)))
    },
};

fn tags(setting: &Setting) -> Option<BTreeMap<String, String>> {
    let tags = setting.json.as_object().into_iter().flatten();
    Some(tags.filter_map(|(key, value)| Some((key.clone(), scalar(value)?))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(json: &str) -> Option<u64> {
        let node = Node::from_json(&serde_json::from_str(json).expect("JSON"));
        timeout(&node).ok().map(|timeout| timeout.seconds)
    }

    #[test]
    fn limits_are_seconds_or_durations() {
        for (json, expected) in [
            ("43200", Some(43_200)),
            ("\"43200\"", Some(43_200)),
            ("\"PT12H\"", Some(43_200)),
            ("\"P1DT1H1M1S\"", Some(90_061)),
            ("\"P2W\"", Some(1_209_600)),
            ("0", None),
            ("-5", None),
            ("\"PT0S\"", None),
            ("\"P1M\"", None),
            ("\"12h\"", None),
            ("\"PT99999999999999999999H\"", None),
        ] {
            assert_eq!(seconds(json), expected, "{json}");
        }
        assert_eq!(JobTimeout { seconds: 43_200 }.to_string(), "PT43200S");
    }
}
