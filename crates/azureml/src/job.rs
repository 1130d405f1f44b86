//! A command job, as it is submitted.
//!
//! Source: `CommandJob` of the control plane's interface, 2024-10-01, without what it has for others than commands.

use crate::error::{Error, Result};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// The name of a job, which is its id as well: who submits it chooses it, so that submitting twice makes one job.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobName(String);

impl JobName {
    /// # Errors
    /// The name is not 1 to 255 letters, digits, `-` and `_`, with a letter or digit in front.
    pub fn new(name: impl Into<String>) -> Result<JobName> {
        let name = name.into();
        let starts = name.starts_with(|letter: char| letter.is_ascii_alphanumeric());
        let is_name = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
        if starts && name.len() <= 255 && name.chars().all(is_name) {
            return Ok(JobName(name));
        }
        Err(Error::Invalid {
            what: "the name of the job",
            value: name,
            expected: "expected 1 to 255 letters, digits, - and _, with a letter or digit in front",
        })
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A command that runs on a compute, with files that come in and go out.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CommandJob {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Jobs of one experiment are listed together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub experiment_name: Option<String>,
    pub tags: BTreeMap<String, String>,
    pub properties: BTreeMap<String, String>,
    /// The code whose files are in the command's working folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code_id: Option<String>,
    pub environment_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compute_id: Option<String>,
    /// For a shell. `${{inputs.NAME}}` and `${{outputs.NAME}}` stand for paths and values.
    pub command: String,
    /// Everybody who sees the job sees them: no place for secrets.
    pub environment_variables: BTreeMap<String, String>,
    pub inputs: BTreeMap<String, JobInput>,
    pub outputs: BTreeMap<String, JobOutput>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distribution: Option<Distribution>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
}

/// What a command reads.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "jobInputType", rename_all = "snake_case")]
pub enum JobInput {
    UriFile(Source),
    UriFolder(Source),
    #[serde(rename = "mltable")]
    MlTable(Source),
    CustomModel(Source),
    MlflowModel(Source),
    TritonModel(Source),
    /// A text that takes the place of its name in the command.
    Literal {
        value: String,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Source {
    /// See [`crate::uri::AssetUri::for_job`].
    pub uri: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<InputMode>,
}

impl Source {
    /// A source in the mode that the service chooses.
    pub fn at(uri: impl Into<String>) -> Source {
        Source { uri: uri.into(), mode: None }
    }
}

/// How an input comes to the compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum InputMode {
    ReadOnlyMount,
    ReadWriteMount,
    Download,
    /// The command gets the address.
    Direct,
    EvalMount,
    EvalDownload,
}

/// What a command writes.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "jobOutputType", rename_all = "snake_case")]
pub enum JobOutput {
    UriFile(Target),
    UriFolder(Target),
    CustomModel(Target),
    MlflowModel(Target),
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Target {
    /// Where it goes. The service chooses a place if there is none here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<OutputMode>,
}

/// How an output leaves the compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum OutputMode {
    /// While it is written.
    ReadWriteMount,
    /// When the command ends.
    Upload,
}

/// How the processes of a job on several nodes are started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "distributionType", rename_all_fields = "camelCase")]
pub enum Distribution {
    Mpi { process_count_per_instance: u32 },
    PyTorch { process_count_per_instance: u32 },
    TensorFlow { worker_count: u32, parameter_server_count: u32 },
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// Nodes
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_count: Option<u32>,
    /// A kind of node of a Kubernetes compute. Others ignore it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_type: Option<String>,
    /// Size of the shared memory, `16g`: a number and one of b, k, m and g.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shm_size: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docker_args: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "jobLimitsType")]
pub enum Limits {
    Command {
        /// After which the job is cancelled.
        #[serde(serialize_with = "iso_8601")]
        timeout: Duration,
    },
}

/// As whom a command asks for tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "identityType", rename_all_fields = "camelCase")]
pub enum Identity {
    #[serde(rename = "AMLToken")]
    AmlToken,
    /// The identity of the compute.
    Managed {
        #[serde(skip_serializing_if = "Option::is_none")]
        client_id: Option<String>,
    },
    /// Who submits the job. Only AmlCompute can do this.
    UserIdentity,
}

/// What is sent: `{"properties": {…}}`.
#[derive(Debug, Serialize)]
pub struct JobBody<'a> {
    properties: Properties<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Properties<'a> {
    job_type: &'static str,
    is_archived: bool,
    #[serde(flatten)]
    job: &'a CommandJob,
}

impl CommandJob {
    pub fn body(&self) -> JobBody<'_> {
        JobBody { properties: Properties { job_type: "Command", is_archived: false, job: self } }
    }

    /// What the service would refuse, or what the command would stumble over.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<()> {
        for (what, text) in [("the command", &self.command), ("the environment", &self.environment_id)] {
            if !text.contains(|letter: char| letter.is_ascii_alphanumeric() || letter == '_') {
                return Err(invalid(what, text, "expected a letter or digit in it"));
            }
        }
        for name in self.inputs.keys().chain(self.outputs.keys()) {
            if !is_identifier(name) {
                return Err(invalid(
                    "the name of an input or output",
                    name,
                    "expected letters, digits and _, with no digit in front",
                ));
            }
        }
        self.check_references()?;
        let shm_size = self.resources.as_ref().and_then(|resources| resources.shm_size.as_deref());
        match shm_size {
            Some(size) if !is_size(size) => Err(invalid(
                "the size of the shared memory",
                size,
                "expected a number and b, k, m or g: `16g`",
            )),
            _ => Ok(()),
        }
    }

    /// Every `${{inputs.NAME}}` and `${{outputs.NAME}}` of the command is one that there is.
    fn check_references(&self) -> Result<()> {
        for part in self.command.split("${{").skip(1) {
            let reference = part.split_once("}}").map(|(reference, _)| reference.trim());
            let exists = match reference.and_then(|reference| reference.split_once('.')) {
                Some(("inputs", name)) => self.inputs.contains_key(name),
                Some(("outputs", name)) => self.outputs.contains_key(name),
                _ => false,
            };
            if !exists {
                let expected =
                    "expected ${{inputs.NAME}} or ${{outputs.NAME}}, with the name of one that the job has";
                return Err(invalid("the placeholder in the command", reference.unwrap_or(part), expected));
            }
        }
        Ok(())
    }
}

fn invalid(what: &'static str, value: &str, expected: &'static str) -> Error {
    Error::Invalid { what, value: value.to_owned(), expected }
}

fn is_identifier(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|letter: char| letter.is_ascii_digit())
        && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

fn is_size(text: &str) -> bool {
    text.strip_suffix(|unit: char| "bBkKmMgG".contains(unit))
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit()))
}

/// `PT12H30M`. Parts of a second are lost.
fn iso_8601<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    let seconds = duration.as_secs();
    let parts = [(seconds / 3600, 'H'), (seconds / 60 % 60, 'M'), (seconds % 60, 'S')];
    let mut text = String::from("PT");
    for (number, unit) in parts.into_iter().filter(|(number, _)| *number > 0) {
        text.push_str(&format!("{number}{unit}"));
    }
    serializer.serialize_str(if seconds == 0 { "PT0S" } else { &text })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn job(command: &str) -> CommandJob {
        let input = JobInput::UriFile(Source::at("azureml://datastores/d/paths/p"));
        CommandJob {
            command: command.into(),
            environment_id: "e".into(),
            inputs: [("train".to_owned(), input)].into(),
            outputs: [("out".to_owned(), JobOutput::UriFolder(Target::default()))].into(),
            ..CommandJob::default()
        }
    }

    #[test]
    fn a_command_names_what_the_job_has() {
        job("run ${{inputs.train}} $[[--x ${{ outputs.out }}]] $HOME ${x}").check().unwrap();
        for command in ["run ${{inputs.out}}", "run ${{train}}", "run ${{inputs.train", "-- !", ""] {
            assert!(job(command).check().is_err(), "{command}");
        }
    }

    #[test]
    fn names_and_sizes_are_checked() {
        for (size, fits) in
            [("16g", true), ("2G", true), ("512m", true), ("16", false), ("g", false), ("1.5g", false)]
        {
            let resources = Resources { shm_size: Some(size.into()), ..Resources::default() };
            let job = CommandJob { resources: Some(resources), ..job("run") };
            assert_eq!(job.check().is_ok(), fits, "{size}");
        }
        let mut job = job("run");
        job.outputs.insert("my-output".into(), JobOutput::UriFile(Target::default()));
        assert!(job.check().unwrap_err().to_string().contains("`my-output`"));
        for (name, fits) in [
            ("olive-w-0a", true),
            ("a_B", true),
            ("", false),
            ("-a", false),
            ("a/../b", false),
            ("a b", false),
        ] {
            assert_eq!(JobName::new(name).is_ok(), fits, "{name}");
        }
        assert!(JobName::new("a".repeat(255)).is_ok() && JobName::new("a".repeat(256)).is_err());
    }

    fn written(value: &impl Serialize) -> serde_json::Value {
        serde_json::to_value(value).unwrap()
    }

    #[test]
    fn kinds_are_written_with_their_tags() {
        assert_eq!(
            written(&JobInput::Literal { value: "1".into() }),
            json!({"jobInputType": "literal", "value": "1"})
        );
        let input = JobInput::MlTable(Source { uri: "u".into(), mode: Some(InputMode::EvalMount) });
        assert_eq!(written(&input), json!({"jobInputType": "mltable", "uri": "u", "mode": "EvalMount"}));
        let output = JobOutput::UriFolder(Target { uri: Some("u".into()), mode: Some(OutputMode::Upload) });
        assert_eq!(written(&output), json!({"jobOutputType": "uri_folder", "uri": "u", "mode": "Upload"}));
        let distribution = Distribution::TensorFlow { worker_count: 2, parameter_server_count: 1 };
        let expected = json!({"distributionType": "TensorFlow", "workerCount": 2, "parameterServerCount": 1});
        assert_eq!(written(&distribution), expected);
        assert_eq!(written(&Identity::AmlToken), json!({"identityType": "AMLToken"}));
        let managed = Identity::Managed { client_id: Some("c".into()) };
        assert_eq!(written(&managed), json!({"identityType": "Managed", "clientId": "c"}));
        for (seconds, text) in [(43_200, "PT12H"), (5_400, "PT1H30M"), (61, "PT1M1S"), (0, "PT0S")] {
            let limits = Limits::Command { timeout: Duration::from_secs(seconds) };
            assert_eq!(written(&limits), json!({"jobLimitsType": "Command", "timeout": text}));
        }
    }
}
