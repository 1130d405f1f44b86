//! The control plane's jobs: submitting, looking, listing, cancelling.

use crate::exchange::{Exchange, Reply};
use crate::job::{Input, Job, RunningJob};
use crate::place::{ARTIFACT_STORE, Place, workspace_path};
use crate::registry;
use crate::runner::Outcome;
use crate::tokens;
use crate::workspace::{missing, resource};
use crate::world::World;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A request below `/jobs`; `rest` are the further parts of its path.
pub fn answer(world: &Arc<World>, request: &Exchange, rest: &[&str]) -> Reply {
    match (request.method.as_str(), rest) {
        ("PUT", [name]) => put(world, request, name),
        ("GET", []) => list(world, request),
        ("GET", [name]) => found(world, name, |job| {
            job.polled();
            Reply::json(200, &described(world, job))
        }),
        ("POST", [name, "cancel"]) => found(world, name, |job| cancel(world, job)),
        _ => {
            Reply::refusal(404, "NotFound", &format!("The fake has no {} {}.", request.method, request.path))
        }
    }
}

/// `GET …/mfeOperationsStatus/jc:{name}`: accepted at first, done from the second time on.
pub fn cancellation(world: &World, name: &str) -> Reply {
    let mut cancellations = world.cancellations();
    let Some(asked) = cancellations.get_mut(name) else { return missing("operation", name) };
    *asked += 1;
    if *asked < 2 { pending(world, name) } else { Reply::status(200) }
}

fn found(world: &World, name: &str, answer: impl FnOnce(&Arc<Job>) -> Reply) -> Reply {
    let job = world.jobs().get(name).cloned();
    match job {
        Some(job) => answer(&job),
        None => Reply::refusal(404, "UserError", &format!("Not found component for id {name}")),
    }
}

fn put(world: &Arc<World>, request: &Exchange, name: &str) -> Reply {
    let properties = request.json()["properties"].clone();
    if let Some(refusal) = refused(world, request, name, &properties) {
        return refusal;
    }
    if let Some(job) = world.jobs().get(name) {
        if job.properties != properties {
            let message = "A job with this name already exists and is not the same.";
            return Reply::refusal(400, "UserError", message);
        }
        return Reply::json(200, &described(world, job));
    }
    Reply::json(201, &described(world, &submit(world, name, properties)))
}

/// Takes a job that is as it should be, and begins to run it.
pub fn submit(world: &Arc<World>, name: &str, properties: Value) -> Arc<Job> {
    let mut jobs = world.jobs();
    let job = Arc::new(Job::new(name, properties, jobs.len()));
    jobs.insert(name.to_owned(), Arc::clone(&job));
    drop(jobs);
    tokio::spawn(run(Arc::clone(world), running(world, &job)));
    job
}

/// What is wrong with a job.
fn refused(world: &World, request: &Exchange, name: &str, properties: &Value) -> Option<Reply> {
    let wrong = |what: &str| Some(Reply::refusal(400, "ValidationError", what));
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if name.len() > 255 || !name.bytes().all(fits) {
        return wrong("The name of the job is invalid.");
    }
    if properties["jobType"] != "Command" || !properties["command"].is_string() {
        return wrong("The job has no command.");
    }
    let base = format!("{}/", workspace_path());
    let below = |field: &str| properties[field].as_str().and_then(|id| id.strip_prefix(&base));
    let is_registered = |id: &str| id.starts_with("azureml://registries/");
    let environment = properties["environmentId"].as_str().is_some_and(is_registered)
        || below("environmentId").is_some_and(|path| world.assets().contains_key(path));
    if !environment {
        return wrong("The environment of the job does not exist.");
    }
    let compute = below("computeId").and_then(|path| path.strip_prefix("computes/"));
    if !compute.is_some_and(|name| world.options.computes.contains_key(name)) {
        return wrong("The compute of the job does not exist.");
    }
    if properties["codeId"].is_string()
        && !below("codeId").is_some_and(|path| world.assets().contains_key(path))
    {
        return wrong("The code of the job does not exist.");
    }
    let user = tokens::audience(request.header("x-azureml-token"));
    if properties["identity"]["identityType"] == "UserIdentity"
        && user.as_deref() != Some("https://ml.azure.com")
    {
        return wrong("A job that runs as its user needs the user's token for Azure ML.");
    }
    None
}

/// Finds what the job names.
fn running(world: &World, job: &Arc<Job>) -> RunningJob {
    let asset = |id: &str, field: &str| {
        let path = id.strip_prefix(&format!("{}/", workspace_path()))?;
        world.assets().get(path)?["properties"][field].as_str().map(str::to_owned)
    };
    let code = job.properties["codeId"].as_str().and_then(|id| world.place(&asset(id, "codeUri")?));
    let mut inputs = BTreeMap::new();
    for (name, input) in job.properties["inputs"].as_object().into_iter().flatten() {
        if let Some(value) = input["value"].as_str() {
            inputs.insert(name.clone(), Input::Literal(value.to_owned()));
        } else if let Some(uri) = input["uri"].as_str() {
            let place = world.place(uri).or_else(|| world.place(&asset(uri, "modelUri")?));
            let place = place.or_else(|| output_of(world, uri)).or_else(|| registry::place(uri));
            inputs.extend(place.map(|place| (name.clone(), Input::Files(place))));
        }
    }
    let names = job.properties["outputs"].as_object().into_iter().flatten().map(|(name, _)| name);
    let outputs = names.map(|name| (name.clone(), job.output(name, &world.blob_url()))).collect();
    let variables = world.job_variables();
    RunningJob { job: Arc::clone(job), blobs: Arc::clone(&world.blobs), code, inputs, outputs, variables }
}

/// What another job made, `azureml://jobs/{job}/outputs/{output}/paths/{path}`.
fn output_of(world: &World, uri: &str) -> Option<Place> {
    let (job, rest) = uri.strip_prefix("azureml://jobs/")?.split_once("/outputs/")?;
    let (output, path) = rest.split_once("/paths/")?;
    let place = world.jobs().get(job)?.output(output, &world.blob_url());
    Some(Place { path: format!("{}/{path}", place.path.trim_end_matches('/')), ..place })
}

async fn run(world: Arc<World>, running: RunningJob) {
    let outcome = tokio::select! {
        biased;
        outcome = world.options.runner.run(&running) => outcome,
        () = running.cancelled() => Outcome::Canceled,
    };
    let mut state = running.job.state();
    state.status = outcome.status().to_owned();
    if let Outcome::Failed(error) = outcome {
        state.error = error;
    }
}

/// A job as the control plane shows it.
fn described(world: &World, job: &Job) -> Value {
    let mut properties = job.properties.clone();
    properties["status"] = json!(job.state().status);
    properties["services"] = json!({
        "Tracking": {"jobServiceType": "Tracking", "endpoint": "azureml://fake/"},
        "Studio": {"jobServiceType": "Studio",
            "endpoint": format!("{}/studio/runs/{}?wsid={}", world.url, job.name, workspace_path())}});
    let logs = job.log_folder();
    properties["outputs"]["default"] = json!({"jobOutputType": "uri_folder", "mode": "ReadWriteMount",
        "uri": format!("azureml://datastores/{}/{}", ARTIFACT_STORE.0, logs.trim_end_matches('/'))});
    let mut described = resource(&format!("jobs/{}", job.name), &job.name, &properties);
    described["systemData"]["createdAt"] = json!(job.created);
    described
}

fn list(world: &World, request: &Exchange) -> Reply {
    let jobs = world.jobs();
    let tag = request.query("tag");
    let fits = |job: &&Arc<Job>| tag.is_empty() || !job.properties["tags"][tag].is_null();
    let skip: usize = request.query("$skip").parse().unwrap_or(0);
    let all: Vec<&Arc<Job>> = jobs.values().filter(fits).collect();
    let size = world.options.page_size;
    let page: Vec<Value> = all.iter().skip(skip).take(size).map(|job| described(world, job)).collect();
    let mut body = json!({ "value": page });
    if skip + size < all.len() {
        let next = format!(
            "{}{}/jobs?api-version={}&tag={tag}&$skip={}",
            world.url,
            workspace_path(),
            request.query("api-version"),
            skip + size
        );
        body["nextLink"] = json!(next);
    }
    Reply::json(200, &body)
}

fn cancel(world: &World, job: &Job) -> Reply {
    if job.has_ended() {
        return Reply::refusal(400, "UserError", &format!("The job {} has ended.", job.name));
    }
    job.state().status = "CancelRequested".into();
    job.cancel.cancel();
    world.cancellations().insert(job.name.clone(), 0);
    pending(world, &job.name)
}

fn pending(world: &World, name: &str) -> Reply {
    let location =
        format!("{}{}/mfeOperationsStatus/jc:{name}?api-version=then", world.url, workspace_path());
    Reply::status(202)
        .header("location", location)
        .header("retry-after", world.options.retry_after.to_string())
}
