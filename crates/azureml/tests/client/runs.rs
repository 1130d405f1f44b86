//! Runs: their logs while they grow, and where their outputs are.

use crate::jobs::{asked, service, workspace};
use crate::support::{Received, Reply, json, status};
use olive_azureml::job::JobName;
use olive_azureml::logs::{Pace, RunEvent, follow};
use olive_azureml::status::JobStatus;
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};

fn run() -> JobName {
    JobName::new("job-1").unwrap()
}

/// The workspace and its service discovery, or what `other` says.
fn answered(
    name: &str,
    request: &Received,
    url: &str,
    other: impl Fn(&str, &Received, &str) -> Reply,
) -> Reply {
    match name {
        "GET ~" => json(
            json!({"id": workspace().path(), "properties": {"discoveryUrl": format!("{url}/discovery")}}),
        ),
        "GET /discovery" => json(json!({"api": format!("{url}/api")})),
        _ => other(name, request, url),
    }
}

/// What is there of a log of this content, from where the request wants it.
fn ranged(request: &Received, content: &str) -> Reply {
    let range = request.header("range").strip_prefix("bytes=").unwrap();
    let start: usize = range.split('-').next().unwrap().parse().unwrap();
    match content.get(start..).filter(|rest| !rest.is_empty()) {
        Some(rest) => status(206).body(rest),
        None => status(416).header("Content-Range", format!("bytes */{}", content.len())),
    }
}

/// Events as texts.
fn told(event: &RunEvent<'_>) -> String {
    match event {
        RunEvent::Status(status) => format!("[{status}]"),
        RunEvent::Log { text, .. } => (*text).to_owned(),
        RunEvent::LogRestarted { .. } => "[again]".into(),
        RunEvent::Unreachable(_) => "[unreachable]".into(),
    }
}

const DETAILS: &str = "GET /api/history/v1.0~/runs/job-1/details";

#[tokio::test]
async fn a_log_is_read_as_it_grows_and_its_access_is_renewed() {
    let looks = AtomicUsize::new(0);
    let reads = AtomicUsize::new(0);
    let (workspace, service) = service(move |name, request, url| {
        answered(name, request, url, |name, request, url| match name {
            DETAILS => {
                let look = looks.fetch_add(1, Ordering::Relaxed);
                let status = ["Queued", "Running", "Running", "Running", "Completed"][look.min(4)];
                let log = format!("{url}/log?sig=secret{look}");
                json(json!({"runId": "job-1", "status": status, "logFiles":
                    {"user_logs/std_log.txt": log, "system_logs/x.txt": "https://elsewhere"}}))
            }
            "GET /log" => match reads.fetch_add(1, Ordering::Relaxed) {
                0 => status(404),
                1 => ranged(request, "one\n"),
                // The signature ended while the log was read.
                2 => status(403).header("x-ms-error-code", "AuthenticationFailed"),
                3 => ranged(request, "one\ntwo\n"),
                _ => ranged(request, "one\ntwo\nthree\n"),
            },
            _ => status(500),
        })
    })
    .await;
    let mut events = Vec::new();
    let details =
        follow(&workspace, &run(), Pace::default(), |event| events.push(told(&event))).await.unwrap();
    assert_eq!(details.status, JobStatus::Completed);
    assert_eq!(events, ["[Queued]", "[Running]", "one\n", "two\n", "[Completed]", "three\n"]);
    let received = service.received();
    let logs: Vec<&Received> = received.iter().filter(|request| request.path == "/log").collect();
    let signatures: Vec<&str> = logs.iter().map(|request| request.query("sig")).collect();
    assert_eq!(signatures, ["secret0", "secret1", "secret2", "secret3", "secret4"]);
    assert!(logs.iter().all(|request| request.header("authorization").is_empty()));
    assert!(logs[4].header("range").starts_with("bytes=8-"));
}

#[tokio::test]
async fn a_log_that_begins_anew_is_read_from_its_beginning() {
    let looks = AtomicUsize::new(0);
    let (workspace, _) = service(move |name, request, url| {
        answered(name, request, url, |name, request, url| match name {
            DETAILS => {
                let look = looks.fetch_add(1, Ordering::Relaxed);
                let status = if look < 2 { "Running" } else { "Canceled" };
                json(json!({"status": status, "logFiles": {"user_logs/std_log.txt": format!("{url}/log{look}")}}))
            }
            "GET /log0" => ranged(request, "a long first attempt\n"),
            "GET /log1" => ranged(request, "second\n"),
            _ => ranged(request, "second\nend\n"),
        })
    })
    .await;
    let mut events = Vec::new();
    follow(&workspace, &run(), Pace::default(), |event| events.push(told(&event))).await.unwrap();
    let expected = ["[Running]", "a long first attempt\n", "[again]", "second\n", "[Canceled]", "end\n"];
    assert_eq!(events, expected);
}

#[tokio::test]
async fn a_service_that_is_away_for_a_while_is_waited_for() {
    let looks = AtomicUsize::new(0);
    let (workspace, _) = service(move |name, request, url| {
        answered(name, request, url, |_, _, _| match looks.fetch_add(1, Ordering::Relaxed) {
            0 => json(json!({"status": "Running"})),
            1..=8 => status(503),
            _ => json(json!({"status": "Failed", "error": {"error": {"code": "UserError", "message": "no",
                "innerError": {"code": "OutOfMemory"}}}})),
        })
    })
    .await;
    let mut events = Vec::new();
    let details =
        follow(&workspace, &run(), Pace::default(), |event| events.push(told(&event))).await.unwrap();
    assert_eq!(events, ["[Running]", "[unreachable]", "[unreachable]", "[Failed]"]);
    assert_eq!(details.failure.unwrap().to_string(), "UserError/OutOfMemory: no");
}

#[tokio::test]
async fn a_service_that_stays_away_ends_the_watch() {
    let (workspace, _) =
        service(|name, request, url| answered(name, request, url, |_, _, _| status(503))).await;
    let error = follow(&workspace, &run(), Pace::default(), |_| ()).await.unwrap_err();
    assert_eq!(error.service().unwrap().status, 503);
}

#[tokio::test]
async fn a_log_is_not_asked_for_in_the_clear() {
    let (workspace, _) = service(|name, request, url| {
        answered(name, request, url, |_, _, _| {
            json(json!({"status": "Running", "logFiles": {"user_logs/std_log.txt": "http://host/log?sig=secret"}}))
        })
    })
    .await;
    let error = follow(&workspace, &run(), Pace::default(), |_| ()).await.unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(text.contains("only https") && !text.contains("secret"), "{text}");
}

#[tokio::test]
async fn an_output_is_where_run_history_says() {
    let data = "azureml://locations/eastus/workspaces/22222222/data/azureml_job-1_output_data_o/versions/1";
    let stored = "azureml://subscriptions/00000000-1111-2222-3333-444444444444/resourcegroups/rg1/workspaces/ws1/\
                  datastores/workspaceblobstore/paths/azureml/job-1/o/";
    let model = "azureml://locations/eastus/workspaces/22222222/models/m/versions/1";
    let (workspace, service) = service(move |name, request, url| {
        answered(name, request, url, |name, _, _| match name {
            "POST /api/history/v1.0~/rundata" => json(json!({"runMetadata": {"outputs": {
                "o": {"assetId": data, "type": "uri_folder"}, "m": {"assetId": model, "type": "CustomModel"}}}})),
            "POST /api/data/v1.0~/dataversion/batchGetResolvedUris" => {
                json(json!({"values": {data: {"uri": stored, "type": "UriFolder"}}}))
            }
            "POST /api/modelregistry/v1.0~/models/batchGetResolvedUris" => {
                json(json!({"values": {model: {"path": "azureml://datastores/d/paths/m"}}}))
            }
            _ => status(500),
        })
    })
    .await;
    let address = workspace.output_address(&run(), "o").await.unwrap().unwrap();
    assert_eq!(address.to_string(), stored);
    let address = workspace.output_address(&run(), "m").await.unwrap().unwrap();
    assert_eq!(address.stored(), Some(("d", "m")));
    // As the SDK asks.
    for (index, part) in [(2, "/rundata"), (3, "/dataversion/")] {
        let request = &service
            .received()
            .into_iter()
            .filter(|request| request.path != "/tenant-1/oauth2/v2.0/token")
            .nth(index)
            .unwrap();
        let mut expected = crate::contract::recorded_one("POST", part);
        if index == 2 {
            expected["runId"] = json!("job-1");
        } else {
            expected["values"] = json!([data]);
        }
        assert_eq!(request.json(), expected);
    }
}

#[tokio::test]
async fn an_output_that_run_history_does_not_know_is_looked_for() {
    let (workspace, service) = service(|name, request, url| {
        answered(name, request, url, |name, request, _| match name {
            "POST /api/history/v1.0~/rundata" => json(json!({"runMetadata": {"outputs": null}})),
            "GET ~/datastores" => json(json!({"value": [{"name": "store", "properties": {"datastoreType": "AzureBlob",
                "accountName": "acc", "containerName": "con", "credentials": {"credentialsType": "AccountKey"}}}]})),
            "POST ~/datastores/store/listSecrets" => json(json!({"secretsType": "Sas", "sasToken": "sig=x"})),
            "GET /acc/con" => {
                let blob = match request.query("prefix") {
                    "dataset/job-1/o/" => {
                        "<Blob><Name>dataset/job-1/o/f</Name><Properties><Etag>1</Etag>\
                         <Content-Length>1</Content-Length></Properties></Blob>"
                    }
                    _ => "",
                };
                status(200).body(format!("<EnumerationResults><Blobs>{blob}</Blobs></EnumerationResults>"))
            }
            _ => status(500),
        })
    })
    .await;
    let address = workspace.output_address(&run(), "o").await.unwrap().unwrap();
    assert_eq!(address.to_string(), "azureml://datastores/store/paths/dataset/job-1/o/");
    assert_eq!(workspace.output_address(&run(), "none").await.unwrap(), None);
    assert!(asked(&service).contains(&"POST ~/datastores/store/listSecrets".to_owned()));
}
