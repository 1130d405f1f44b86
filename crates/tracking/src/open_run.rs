//! A run on the server: beginning it, or going on with it; what is logged to it; its end.

use crate::client::{Client, Failure};
use crate::note::Metric;
use crate::run::{RunStart, Status};
use crate::settings::MlflowSettings;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Limits of `runs/log-batch` (mlflow.utils.validation): values and parameters of a request, and letters of a parameter as
/// all servers since 2.0 take it.
pub(crate) const METRICS: usize = 1000;
const PARAMS: usize = 100;
const PARAM_LETTERS: usize = 500;

/// A run that goes on.
pub(crate) struct OpenRun {
    pub(crate) id: String,
    experiment: String,
    /// The last step of each value that it has of this training.
    pub(crate) logged: BTreeMap<String, usize>,
}

impl OpenRun {
    /// Goes on with `known`, the run of this training, or with that of the settings; makes a new one where there is none.
    pub(crate) async fn open(
        client: &Client,
        settings: &MlflowSettings,
        known: Option<&str>,
        start: &RunStart,
        now: u64,
    ) -> Result<OpenRun, Failure> {
        if let Some(id) = known.or(settings.run_id.as_deref()) {
            match OpenRun::go_on(client, id, known.is_some()).await {
                // One that was deleted meanwhile, unless somebody insists on it.
                Err(failure) if settings.run_id.is_none() && failure.has_code("RESOURCE_DOES_NOT_EXIST") => {}
                opened => return opened,
            }
        }
        OpenRun::begin(client, settings, start, now).await
    }

    async fn go_on(client: &Client, id: &str, is_of_this_training: bool) -> Result<OpenRun, Failure> {
        let answer = client.get("runs/get", &[("run_id", id)]).await?;
        let run = &answer["run"];
        if run["info"]["lifecycle_stage"] == "deleted" {
            let (code, message) = ("RESOURCE_DOES_NOT_EXIST".into(), format!("the run {id} was deleted"));
            return Err(Failure::Refused { status: 404, code, message });
        }
        client.post("runs/update", &json!({"run_id": id, "status": "RUNNING"})).await?;
        let metrics = run["data"]["metrics"].as_array().filter(|_| is_of_this_training);
        let logged = metrics.into_iter().flatten().filter_map(last_step).collect();
        Ok(OpenRun { id: id.to_owned(), experiment: text(&run["info"]["experiment_id"]), logged })
    }

    async fn begin(
        client: &Client,
        settings: &MlflowSettings,
        start: &RunStart,
        now: u64,
    ) -> Result<OpenRun, Failure> {
        let experiment = match &settings.experiment {
            None => "0".to_owned(),
            Some(name) => experiment(client, name).await?,
        };
        let mut body = json!({"experiment_id": experiment, "start_time": now});
        if let Some(name) = &start.name {
            body["run_name"] = json!(name);
        }
        let answer = client.post("runs/create", &body).await?;
        match text(&answer["run"]["info"]["run_id"]) {
            id if id.is_empty() => Err(Failure::Odd("a new run has no id")),
            id => Ok(OpenRun { id, experiment, logged: BTreeMap::new() }),
        }
    }

    /// Parameters, whose values are cut to what servers take, and tags.
    pub(crate) async fn describe(
        &self,
        client: &Client,
        params: &[(String, String)],
        tags: &[(String, String)],
    ) -> Result<(), Failure> {
        for batch in params.chunks(PARAMS) {
            let params: Vec<Value> = batch.iter().map(|(key, value)| pair(key, &cut(value))).collect();
            client.post("runs/log-batch", &json!({"run_id": self.id, "params": params})).await?;
        }
        for batch in tags.chunks(PARAMS) {
            let tags: Vec<Value> = batch.iter().map(|(key, value)| pair(key, value)).collect();
            client.post("runs/log-batch", &json!({"run_id": self.id, "tags": tags})).await?;
        }
        Ok(())
    }

    /// At most [`METRICS`] values.
    pub(crate) async fn log(&self, client: &Client, metrics: &[Metric]) -> Result<(), Failure> {
        let body = json!({"run_id": self.id, "metrics": metrics});
        client.post("runs/log-batch", &body).await.map(drop)
    }

    pub(crate) async fn end(&self, client: &Client, status: Status, now: u64) -> Result<(), Failure> {
        let body = json!({"run_id": self.id, "status": status.name(), "end_time": now});
        client.post("runs/update", &body).await.map(drop)
    }

    /// Its page.
    pub(crate) fn page(&self, server: &str) -> String {
        format!("{server}/#/experiments/{}/runs/{}", self.experiment, self.id)
    }
}

/// The id of the experiment of this name, which is made if it is not there.
async fn experiment(client: &Client, name: &str) -> Result<String, Failure> {
    let find = async || client.get("experiments/get-by-name", &[("experiment_name", name)]).await;
    let id = |answer: &Value| text(&answer["experiment"]["experiment_id"]);
    match find().await {
        Err(failure) if failure.has_code("RESOURCE_DOES_NOT_EXIST") => {}
        found => return Ok(id(&found?)),
    }
    match client.post("experiments/create", &json!({"name": name})).await {
        // Another training made it meanwhile.
        Err(failure) if failure.has_code("RESOURCE_ALREADY_EXISTS") => Ok(id(&find().await?)),
        made => Ok(text(&made?["experiment_id"])),
    }
}

fn last_step(metric: &Value) -> Option<(String, usize)> {
    // Protobuf writes 64 bits as text.
    let step = &metric["step"];
    let step = step.as_u64().or_else(|| step.as_str()?.parse().ok())?;
    Some((metric["key"].as_str()?.to_owned(), usize::try_from(step).ok()?))
}

fn pair(key: &str, value: &str) -> Value {
    json!({"key": key, "value": value})
}

fn cut(value: &str) -> String {
    if value.chars().count() <= PARAM_LETTERS {
        return value.to_owned();
    }
    value.chars().take(PARAM_LETTERS - 1).chain(['…']).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
