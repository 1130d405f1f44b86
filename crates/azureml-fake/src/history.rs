//! The data plane: run history, and where assets are that are known by their ids.

use crate::exchange::{Exchange, Reply};
use crate::job::Job;
use crate::place::{ACCOUNT, ARTIFACT_STORE, RESOURCE_GROUP, SUBSCRIPTION, WORKSPACE};
use crate::signature::Rights;
use crate::world::World;
use serde_json::{Map, Value, json};

/// `GET /history/v1.0{workspace}/runs/{name}/details`
pub fn details(world: &World, name: &str) -> Reply {
    let job = world.jobs().get(name).cloned();
    let Some(job) = job else { return missing(name) };
    job.polled();
    let state = job.state().clone();
    let address = |file: &String| {
        let blob = format!("{}{file}", job.log_folder());
        let sas = world.signatures.issue(ARTIFACT_STORE.1, Some(&blob), Rights::Read);
        (file.clone(), json!(format!("{}/{ACCOUNT}/{}/{blob}?{sas}", world.blob_url(), ARTIFACT_STORE.1)))
    };
    let logs: Map<String, Value> = state.logs.iter().map(address).collect();
    let body = json!({"runId": job.name, "target": job.properties["computeId"], "status": state.status,
        "startTimeUtc": "2026-11-24T00:00:00Z", "error": state.error, "warnings": [], "properties": {},
        "logFiles": logs, "inputs": {}, "outputs": {}});
    Reply::json(200, &body)
}

/// `POST /history/v1.0{workspace}/rundata`
pub fn run_data(world: &World, request: &Exchange) -> Reply {
    let name = request.json()["runId"].as_str().unwrap_or_default().to_owned();
    let job = world.jobs().get(&name).cloned();
    let Some(job) = job else { return missing(&name) };
    let named = job.properties["outputs"].as_object().into_iter().flatten();
    let outputs: Map<String, Value> =
        named.map(|(output, _)| (output.clone(), asset(&job, output))).collect();
    let status = job.state().status.clone();
    Reply::json(200, &json!({"runMetadata": {"runId": name, "status": status, "outputs": outputs}}))
}

fn asset(job: &Job, output: &str) -> Value {
    let id = format!(
        "azureml://locations/eastus/workspaces/33333333-0000-0000-0000-000000000000/data/\
         azureml_{}_output_data_{output}/versions/1",
        job.name
    );
    json!({"assetId": id, "type": "uri_folder"})
}

/// `POST /data/v1.0{workspace}/dataversion/batchGetResolvedUris`
pub fn resolved(world: &World, request: &Exchange) -> Reply {
    let body = request.json();
    let ids = body["values"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let known =
        ids.filter_map(|id| Some((id.to_owned(), json!({"uri": place(world, id)?, "type": "UriFolder"}))));
    Reply::json(200, &json!({"values": known.collect::<Map<String, Value>>()}))
}

/// Where the output is that an id of [`asset`] is of.
fn place(world: &World, id: &str) -> Option<String> {
    let jobs = world.jobs();
    let outputs = |job: &Job| {
        let named = job.properties["outputs"].as_object().into_iter().flatten();
        named.map(|(output, _)| output.clone()).collect::<Vec<_>>()
    };
    let (job, output) = jobs.values().find_map(|job| {
        let output = outputs(job).into_iter().find(|output| asset(job, output)["assetId"] == id)?;
        Some((job, output))
    })?;
    let short = job.output(&output, &world.blob_url()).uri()?;
    let rest = short.strip_prefix("azureml://")?;
    Some(format!(
        "azureml://subscriptions/{SUBSCRIPTION}/resourcegroups/{RESOURCE_GROUP}/workspaces/{WORKSPACE}/{rest}"
    ))
}

fn missing(run: &str) -> Reply {
    let body = json!({"error": {"code": "UserError", "message": format!("Run {run} was not found."),
        "target": null, "details": [], "innerError": {"code": "NotFoundError", "innerError": null}},
        "correlation": {"operation": "op", "request": "rq"}, "environment": "eastus", "location": "eastus",
        "time": "2026-11-24T00:00:00Z"});
    Reply::json(404, &body)
}
