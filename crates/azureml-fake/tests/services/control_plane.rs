//! Workspace, jobs, run history, vault, and what goes wrong on purpose.

use crate::support::{client, job, options, start};
use olive_azureml::Error;
use olive_azureml::cloud::Scope;
use olive_azureml::environment::Environment;
use olive_azureml::http::{Call, Client};
use olive_azureml::keyvault::KeyVault;
use olive_azureml::workspace::{StoreAccess, WorkspaceClient};
use olive_azureml_fake::FakeAzure;
use olive_azureml_fake::faults::{Fault, FaultKind};
use olive_azureml_fake::identity::MachineIdentity;
use olive_azureml_fake::runner::{Outcome, Script};
use olive_azureml_fake::world::{FakeOptions, StoreSecrets};
use serde_json::{Value, json};
use std::sync::Arc;

async fn put(workspace: &WorkspaceClient, name: &str, body: &Value) -> Result<Value, Error> {
    workspace.client().put(&workspace.arm(&format!("/jobs/{name}")), body).await
}

async fn details(workspace: &WorkspaceClient, name: &str) -> Value {
    let call = workspace.data_plane("history/v1.0", &format!("/runs/{name}/details")).await.unwrap();
    workspace.client().get(&call.query("api-version", "v1.0")).await.unwrap()
}

/// The statuses that somebody sees who looks until the job ended, each once.
async fn statuses(workspace: &WorkspaceClient, name: &str) -> (Vec<String>, Value) {
    let mut seen: Vec<String> = Vec::new();
    for _ in 0..1000 {
        let details = details(workspace, name).await;
        let status = details["status"].as_str().unwrap().to_owned();
        if seen.last() != Some(&status) {
            seen.push(status.clone());
        }
        if ["Completed", "Failed", "Canceled", "NotResponding"].contains(&status.as_str()) {
            return (seen, details);
        }
        tokio::task::yield_now().await;
    }
    panic!("the job does not end: {seen:?}");
}

fn script(script: Script) -> FakeOptions {
    FakeOptions { runner: Arc::new(script), ..FakeOptions::default() }
}

#[tokio::test]
async fn a_job_queues_runs_and_ends_with_logs_and_outputs() {
    let runner = Script::default().line("one").line("two").output("out", "model/config.json", "{}");
    let (fake, workspace) = start(script(runner)).await;
    let body = job(&workspace).await;
    let made = put(&workspace, "j-1", &body).await.unwrap();
    assert_eq!(made["properties"]["status"], "NotStarted");
    assert!(
        made["properties"]["outputs"]["default"]["uri"].as_str().unwrap().ends_with("ExperimentRun/dcid.j-1")
    );
    let (statuses, last) = statuses(&workspace, "j-1").await;
    assert_eq!(statuses.last().unwrap(), "Completed");
    assert!(statuses.iter().any(|status| status == "Running"), "{statuses:?}");
    let log = last["logFiles"]["user_logs/std_log.txt"].as_str().unwrap();
    let text = workspace.client().plain().get(log).send().await.unwrap().text().await.unwrap();
    assert_eq!(text, "one\ntwo\n");
    let output =
        fake.world().blobs.get("azureml-blobstore-0001", "azureml/j-1/out/model/config.json").unwrap();
    assert_eq!(output.content, "{}");
    let call = workspace.data_plane("history/v1.0", "/rundata").await.unwrap().query("api-version", "v1.0");
    let run: Value = workspace.client().post(&call, &json!({"runId": "j-1"})).await.unwrap();
    let asset = run["runMetadata"]["outputs"]["out"]["assetId"].as_str().unwrap();
    let call = workspace.data_plane("data/v1.0", "/dataversion/batchGetResolvedUris").await.unwrap();
    let call = call.query("api-version", "1.5.0");
    let resolved: Value =
        workspace.client().post(&call, &json!({"values": [asset, "unknown"]})).await.unwrap();
    assert_eq!(resolved["values"].as_object().unwrap().len(), 1);
    let uri = resolved["values"][asset]["uri"].as_str().unwrap();
    assert!(uri.ends_with("/datastores/workspaceblobstore/paths/azureml/j-1/out/"), "{uri}");
}

#[tokio::test]
async fn the_same_job_is_the_same_and_another_is_refused() {
    let (fake, workspace) = start(script(Script::queueing_for_ever())).await;
    let body = job(&workspace).await;
    fake.add_fault(Fault::new("PUT", "/jobs/j-1", FaultKind::AnswerLost));
    put(&workspace, "j-1", &body).await.unwrap();
    let puts = fake
        .requests()
        .iter()
        .filter(|request| request.method == "PUT" && request.path.ends_with("/j-1"))
        .count();
    assert_eq!(
        (puts, fake.world().jobs().len(), fake.world().faults.left()),
        (2, 1, 0),
        "sent again, made once"
    );
    let mut other = body.clone();
    other["properties"]["command"] = json!("other");
    let error = put(&workspace, "j-1", &other).await.unwrap_err();
    assert!(error.to_string().contains("already exists"), "{error}");
}

#[tokio::test]
async fn jobs_that_the_service_would_not_take_are_refused() {
    let (_fake, workspace) = start(FakeOptions::default()).await;
    let good = job(&workspace).await;
    let cases = [
        ("command", json!(null), "no command"),
        ("environmentId", json!("/nowhere"), "environment of the job does not exist"),
        ("computeId", json!("/nowhere"), "compute of the job does not exist"),
        ("codeId", json!("/nowhere"), "code of the job does not exist"),
        ("identity", json!({"identityType": "UserIdentity"}), "needs the user's token"),
    ];
    for (field, value, expected) in cases {
        let mut bad = good.clone();
        bad["properties"][field] = value;
        let error = put(&workspace, "j-1", &bad).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let mut of_user = good.clone();
    of_user["properties"]["identity"] = json!({"identityType": "UserIdentity"});
    for (scope, is_taken) in [(Scope::Arm, false), (Scope::MachineLearning, true)] {
        let token = workspace.client().token(scope).await.unwrap();
        let call = workspace.arm("/jobs/j-1").secret_header("x-azureml-token", &token).unwrap();
        assert_eq!(workspace.client().put::<_, Value>(&call, &of_user).await.is_ok(), is_taken, "{scope:?}");
    }
}

#[tokio::test]
async fn a_job_that_no_machine_takes_waits_until_it_is_cancelled() {
    let (_fake, workspace) = start(script(Script::queueing_for_ever())).await;
    put(&workspace, "j-1", &job(&workspace).await).await.unwrap();
    for _ in 0..20 {
        let status = details(&workspace, "j-1").await["status"].clone();
        assert!(status == "NotStarted" || status == "Queued", "{status}");
    }
    workspace.client().post_operation(&workspace.arm("/jobs/j-1/cancel")).await.unwrap();
    let (statuses, _) = statuses(&workspace, "j-1").await;
    assert_eq!(statuses.last().unwrap(), "Canceled");
    let error = workspace.client().post_operation(&workspace.arm("/jobs/j-1/cancel")).await.unwrap_err();
    assert!(error.to_string().contains("has ended"), "{error}");
}

#[tokio::test]
async fn failures_have_errors_inside_of_each_other() {
    let outcome = Outcome::failed("the disk is full", &["UserError", "BadArgument", "DiskFullError"]);
    let (_fake, workspace) = start(script(Script::ending(outcome))).await;
    put(&workspace, "j-1", &job(&workspace).await).await.unwrap();
    let (statuses, details) = statuses(&workspace, "j-1").await;
    assert_eq!(statuses.last().unwrap(), "Failed");
    let error = &details["error"]["error"];
    assert_eq!((&error["code"], &error["message"]), (&json!("UserError"), &json!("the disk is full")));
    assert_eq!(error["innerError"]["innerError"]["code"], "DiskFullError");
    assert!(error["innerError"]["innerError"]["innerError"].is_null());
}

#[tokio::test]
async fn jobs_are_listed_in_pages_and_by_tag() {
    let (fake, workspace) = start(script(Script::queueing_for_ever())).await;
    let mut body = job(&workspace).await;
    for name in ["a", "b", "c", "d", "e"] {
        put(&workspace, name, &body).await.unwrap();
    }
    body["properties"]["tags"] = json!({});
    put(&workspace, "untagged", &body).await.unwrap();
    let names = async |call: Call| {
        let jobs: Vec<Value> = workspace.client().pages(&call).await.unwrap();
        jobs.iter().map(|job| job["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let before = fake.requests().len();
    assert_eq!(names(workspace.arm("/jobs").query("tag", "Pass")).await, ["a", "b", "c", "d", "e"]);
    assert_eq!(fake.requests().len() - before, 3, "two on a page");
    assert_eq!(names(workspace.arm("/jobs")).await.len(), 6);
}

#[tokio::test]
async fn throttling_and_failures_pass() {
    let (fake, workspace) = start(FakeOptions::default()).await;
    fake.add_fault(Fault::new("GET", "/computes/", FaultKind::Throttled(0)).times(2));
    fake.add_fault(Fault::new("GET", "/computes/", FaultKind::Unavailable));
    workspace.compute("arc").await.unwrap();
    fake.add_fault(Fault::new("GET", "/computes/", FaultKind::Refused(403)).after(1));
    let arc = workspace.compute("arc").await.unwrap();
    assert_eq!(arc.instance_type_with_gpu().unwrap(), Some("gpu"));
    let error = workspace.compute("arc").await.unwrap_err();
    assert!(error.to_string().contains("403 UserError"), "{error}");
    assert_eq!(fake.world().faults.left(), 0);
    let asked = fake.requests().iter().filter(|request| request.path.ends_with("/computes/arc")).count();
    assert_eq!(asked, 6);
}

#[tokio::test]
async fn datastores_have_the_secrets_that_the_options_say() {
    for (secrets, expected) in [
        (StoreSecrets::Sas, "Sas(***)"),
        (StoreSecrets::Key, "Key(***)"),
        (StoreSecrets::Nothing, "Token"),
        (StoreSecrets::Forbidden, "Token"),
    ] {
        let (_fake, workspace) =
            start(FakeOptions { store_secrets: secrets, ..FakeOptions::default() }).await;
        let store = workspace.default_datastore().await.unwrap();
        assert_eq!(store, workspace.datastore("workspaceblobstore").await.unwrap());
        let access: StoreAccess = workspace.store_access(&store).await.unwrap();
        assert_eq!(format!("{access:?}"), expected);
    }
}

#[tokio::test]
async fn code_is_found_by_its_hash() {
    let (_fake, workspace) = start(FakeOptions::default()).await;
    assert_eq!(workspace.code_with_hash("c-1", "abc").await.unwrap(), None);
    let place = workspace.start_code_upload("c-1").await.unwrap();
    let id = workspace.put_code("c-1", &format!("{}/code", place.blob_uri), "abc").await.unwrap();
    assert_eq!(workspace.code_with_hash("c-2", "abc").await.unwrap(), Some(id));
    let latest = workspace.latest_environment("env").await.unwrap_err();
    assert!(latest.to_string().starts_with("there is no environment `env`"), "{latest}");
    job(&workspace).await;
    assert!(workspace.latest_environment("env").await.unwrap().ends_with("/environments/env/versions/1"));
}

/// The secret, as what runs inside of a job reads it.
async fn read_in_job(fake: &FakeAzure, without: &[&str]) -> (Result<String, Error>, Option<&'static str>) {
    let variables: Environment =
        fake.job_variables().into_iter().filter(|(name, _)| !without.contains(&name.as_str())).collect();
    let client = Client::in_job(&variables, options()).unwrap();
    let secret = KeyVault::new(client.clone(), "kv-1").unwrap().secret("hf-token").await;
    (secret.map(|secret| secret.expose().to_owned()), client.credential())
}

#[tokio::test]
async fn a_job_reads_the_secret_as_its_user_or_with_its_compute() {
    let (fake, workspace) =
        start(FakeOptions { machine: MachineIdentity::Present, ..FakeOptions::default() }).await;
    fake.world().vault.set("hf-token", "hf_123");
    let (secret, source) = read_in_job(&fake, &[]).await;
    assert_eq!((secret.unwrap().as_str(), source), ("hf_123", Some("AzureMLOnBehalfOfCredential")));
    let (secret, source) = read_in_job(&fake, &["OBO_ENDPOINT"]).await;
    assert_eq!((secret.unwrap().as_str(), source), ("hf_123", Some("ManagedIdentityCredential")));
    let error = KeyVault::new(workspace.client().clone(), "kv-1").unwrap().secret("other").await.unwrap_err();
    assert_eq!(error.to_string(), "there is no secret `other` in key vault `kv-1`");
}

#[tokio::test]
async fn who_shows_the_wrong_secret_or_token_is_refused() {
    let (fake, _) = start(FakeOptions::default()).await;
    let wrong = fake.variables().into_iter().map(|(name, value)| match name.as_str() {
        "AZURE_CLIENT_SECRET" => (name, "wrong".to_owned()),
        _ => (name, value),
    });
    let error = client(wrong.collect()).token(Scope::Arm).await.unwrap_err();
    assert!(error.to_string().contains("AADSTS7000215"), "{error}");
    let call = Call::arm("/subscriptions/x").scope(Scope::MachineLearning);
    let error = client(fake.variables()).get::<Value>(&call).await.unwrap_err();
    assert!(error.to_string().contains("401 InvalidAuthenticationToken"), "{error}");
    let (secret, _) = read_in_job(&fake, &["OBO_ENDPOINT", "AZURE_POD_IDENTITY_AUTHORITY_HOST"]).await;
    assert!(secret.unwrap_err().to_string().contains("Identity not found"));
}
