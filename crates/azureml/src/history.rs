//! What run history knows of a job: its status, its logs, its failure, and where its outputs are.

use crate::blob::Container;
use crate::error::{Error, Result};
use crate::job::JobName;
use crate::secret::{Secret, redacted};
use crate::status::JobStatus;
use crate::uri::AssetUri;
use crate::workspace::WorkspaceClient;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

const SERVICE: &str = "history/v1.0";
const VERSION: &str = "v1.0";

/// Deeper nesting of a failure is not followed.
const DEEPEST: usize = 8;

/// Where a run stands.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunDetails {
    pub status: JobStatus,
    log_files: Option<BTreeMap<String, Secret>>,
    #[serde(rename = "error")]
    pub failure: Option<RunFailure>,
    warnings: Option<Vec<Warning>>,
    #[serde(rename = "startTimeUtc")]
    pub started: Option<String>,
    #[serde(rename = "endTimeUtc")]
    pub ended: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct Warning {
    message: Option<String>,
}

impl RunDetails {
    /// Addresses of logs, each with the right to read it for a while, by name: `user_logs/std_log.txt`.
    pub fn logs(&self) -> impl Iterator<Item = (&str, &Secret)> + Clone {
        self.log_files.iter().flatten().map(|(name, address)| (name.as_str(), address))
    }

    pub fn warnings(&self) -> impl Iterator<Item = &str> {
        self.warnings.iter().flatten().filter_map(|warning| warning.message.as_deref())
    }
}

/// Why a run failed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "Value")]
pub struct RunFailure {
    /// Codes from the outside in, `UserError` first. The last is the most exact.
    pub codes: Vec<String>,
    pub message: String,
}

impl From<Value> for RunFailure {
    fn from(told: Value) -> RunFailure {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let root = told.get("error").unwrap_or(&told);
        let inside = |error: &Value| error.get("innerError").filter(|inner| inner.is_object()).cloned();
        let chain = std::iter::successors(Some(root.clone()), inside).take(DEEPEST);
        let details = root["details"].as_array().into_iter().flatten();
        let mut messages = text(&root["message"]).into_iter().collect::<Vec<_>>();
        messages.extend(details.filter_map(|detail| text(&detail["message"])));
        messages.dedup();
        RunFailure {
            codes: chain.filter_map(|error| text(&error["code"])).collect(),
            message: redacted(&messages.join("\n")).into_owned(),
        }
    }
}

impl fmt::Display for RunFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.codes.is_empty(), self.message.as_str()) {
            (true, message) => f.write_str(message),
            (false, "") => f.write_str(&self.codes.join("/")),
            (false, message) => write!(f, "{}: {message}", self.codes.join("/")),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RunDataRequest<'a> {
    run_id: &'a str,
    select_run_metadata: bool,
    select_run_definition: bool,
    select_job_specification: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RunData {
    run_metadata: Option<RunMetadata>,
}

#[derive(Deserialize)]
struct RunMetadata {
    outputs: Option<BTreeMap<String, Asset>>,
}

/// An output that became an asset.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asset {
    asset_id: String,
    #[serde(rename = "type")]
    kind: Option<String>,
}

#[derive(Serialize)]
struct ResolveRequest<'a> {
    values: [&'a str; 1],
}

#[derive(Deserialize)]
struct Resolved {
    #[serde(default)]
    values: BTreeMap<String, Place>,
}

/// `uri` of data, `path` of a model.
#[derive(Deserialize)]
struct Place {
    #[serde(alias = "path")]
    uri: Option<String>,
}

impl WorkspaceClient {
    /// # Errors
    /// There is no such run, or it may not be seen.
    pub async fn run_details(&self, run: &JobName) -> Result<RunDetails> {
        let call = self.data_plane(SERVICE, &format!("/runs/{run}/details")).await?;
        let missing = || format!("run of job `{run}` in workspace {}", self.workspace());
        let found = self.client().get(&call.query("api-version", VERSION)).await;
        found.map_err(|error: Error| error.for_missing(missing))
    }

    /// Where an output of a job is: what run history says, or else one of the places where services put outputs.
    /// `None` if it is nowhere.
    ///
    /// # Errors
    /// The service refuses, or what it says is no address.
    pub async fn output_address(&self, job: &JobName, output: &str) -> Result<Option<AssetUri>> {
        let call = self.data_plane(SERVICE, "/rundata").await?.query("api-version", VERSION);
        let request = RunDataRequest {
            run_id: job.as_str(),
            select_run_metadata: true,
            select_run_definition: true,
            select_job_specification: true,
        };
        let told: RunData = self.client().post(&call, &request).await?;
        let outputs = told.run_metadata.and_then(|metadata| metadata.outputs).unwrap_or_default();
        if let Some(asset) = outputs.get(output)
            && let Some(text) = self.resolve(asset).await?
        {
            return text.parse().map(Some);
        }
        let store = self.default_datastore().await?;
        let container = Container::of_datastore(self, &store)?;
        for folder in ["azureml", "dataset"] {
            let path = format!("{folder}/{job}/{output}/");
            if container.has_any(&path).await? {
                return Ok(Some(AssetUri::datastore(store.name, path)));
            }
        }
        Ok(None)
    }

    /// Where an asset is that is known by its id only.
    async fn resolve(&self, asset: &Asset) -> Result<Option<String>> {
        let (service, path, version) = match asset.kind.as_deref() {
            Some("CustomModel" | "MLFlowModel" | "TritonModel") => {
                ("modelregistry/v1.0", "/models/batchGetResolvedUris", "1.0.0")
            }
            _ => ("data/v1.0", "/dataversion/batchGetResolvedUris", "1.5.0"),
        };
        let call = self.data_plane(service, path).await?.query("api-version", version);
        let request = ResolveRequest { values: [&asset.asset_id] };
        let mut resolved: Resolved = self.client().post(&call, &request).await?;
        Ok(resolved.values.remove(&asset.asset_id).and_then(|place| place.uri))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_deepest_code_of_a_failure_is_the_last() {
        let told = json!({
            "error": {
                "code": "UserError",
                "message": "Execution failed. AccountKey=abc",
                "details": [{"code": "x", "message": "exit code 1"}],
                "innerError": {"code": "JobRun", "innerError": {"code": "ScriptExecution", "innerError": null}},
            },
            "correlation": {"operation": "o"}, "time": "t",
        });
        let failure: RunFailure = serde_json::from_value(told).unwrap();
        let expected = "UserError/JobRun/ScriptExecution: Execution failed. AccountKey=***\nexit code 1";
        assert_eq!(failure.to_string(), expected);
        let bare: RunFailure = serde_json::from_value(json!({"code": "ServiceError"})).unwrap();
        assert_eq!(bare.to_string(), "ServiceError");
    }

    #[test]
    fn details_are_read_tolerantly_and_hold_no_signatures() {
        let told = json!({
            "runId": "r", "status": "Running", "error": null, "warnings": [{"source": "s", "message": "w"}, {}],
            "logFiles": {"user_logs/std_log.txt": "https://a/b?sig=hidden"}, "startTimeUtc": "t", "new": 1,
        });
        let details: RunDetails = serde_json::from_value(told).unwrap();
        assert_eq!(details.warnings().collect::<Vec<_>>(), ["w"]);
        assert!(!format!("{details:?}").contains("hidden"));
        assert_eq!(details.logs().count(), 1);
        let bare = json!({"status": "Queued", "warnings": null, "logFiles": null});
        let bare: RunDetails = serde_json::from_value(bare).unwrap();
        assert!(bare.logs().next().is_none() && bare.failure.is_none());
    }
}
