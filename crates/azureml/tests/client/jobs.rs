//! Jobs: the body that is submitted, and submitting, cancelling and listing against a service that loses answers.

use crate::contract::{recorded_one, violations};
use crate::support::{
    Received, Reply, Service, SkippingClock, broken, client, client_with, json, signs_in, status,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use olive_azureml::job::{
    CommandJob, Distribution, Identity, JobInput, JobName, JobOutput, Limits, OutputMode, Resources, Source,
    Target,
};
use olive_azureml::jobs::JobFilter;
use olive_azureml::status::JobStatus;
use olive_azureml::uri::AssetUri;
use olive_azureml::workspace::{Workspace, WorkspaceClient};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

pub fn workspace() -> Workspace {
    Workspace::new("00000000-1111-2222-3333-444444444444", "rg1", "ws1").unwrap()
}

/// A service that answers requests, named by method and the path below the workspace.
pub async fn service(
    answer: impl Fn(&str, &Received, &str) -> Reply + Send + Sync + 'static,
) -> (WorkspaceClient, Service) {
    let service = Service::start(move |request, url| {
        let name = format!("{} {}", request.method, request.path.replace(&workspace().path(), "~"));
        signs_in(request).unwrap_or_else(|| answer(&name, request, url))
    })
    .await;
    let client = client_with(&service, &SkippingClock::new(), &[("OLIVE_AZUREML_BLOB_URL", &service.url)]);
    (WorkspaceClient::new(client, workspace()), service)
}

/// Requests other than for tokens.
pub fn asked(service: &Service) -> Vec<String> {
    let received = service.received().into_iter().filter(|request| signs_in(request).is_none());
    received
        .map(|request| format!("{} {}", request.method, request.path.replace(&workspace().path(), "~")))
        .collect()
}

fn texts<const N: usize>(pairs: [(&str, &str); N]) -> std::collections::BTreeMap<String, String> {
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// The job that the SDK was recorded to submit.
fn recorded_job() -> CommandJob {
    let id = |rest: &str| format!("{}/{rest}", workspace().path());
    let uri = |text: &str| Source::at(text.parse::<AssetUri>().unwrap().for_job(&workspace(), "models"));
    let long = "azureml://subscriptions/00000000-1111-2222-3333-444444444444/resourcegroups/rg1/workspaces/ws1/\
                datastores/workspaceblobstore/paths/data/train.json";
    let hash = "534ba8d010b213b6af44c54b2dbacc826b4fc205ff2acc7edc0332962cde9a81";
    let download = Some(olive_azureml::job::InputMode::Download);
    let environment = "538b9c1bdaf8e4721398b14416bc79b4946e0b3a3df4aa42e7a8dafd263b9a4b";
    CommandJob {
        display_name: Some("lora".into()),
        description: Some("Run olive lora pass".into()),
        experiment_name: Some("olive-pass".into()),
        tags: texts([("Pass", "LoRA")]),
        code_id: Some(id("codes/d66c6754-60cb-44ef-b9df-0cda238ec443/versions/1")),
        environment_id: id(&format!("environments/CliV2AnonymousEnvironment/versions/{environment}")),
        compute_id: Some(id("computes/gpu-cluster")),
        command: "./olive run --config olive-config.json --output ${{outputs.pipeline_output}} \
                  --data ${{inputs.train}} $[[--extra ${{inputs.opt}}]]"
            .into(),
        environment_variables: texts([
            ("OLIVE_LOG_LEVEL", "INFO"),
            ("HF_LOGIN", "True"),
            ("KEYVAULT_NAME", "kv1"),
        ]),
        inputs: [
            (
                "train".to_owned(),
                JobInput::UriFile(uri(&format!(
                    "azureml://datastores/workspaceblobstore/paths/LocalUpload/{hash}/train.json"
                ))),
            ),
            ("ds".to_owned(), JobInput::UriFile(Source { mode: download, ..uri(long) })),
            ("model".to_owned(), JobInput::CustomModel(uri("azureml:mymodel:3"))),
            ("opt".to_owned(), JobInput::UriFolder(uri("azureml://datastores/workspaceblobstore/paths/x/"))),
            ("lr".to_owned(), JobInput::Literal { value: "0.0001".into() }),
        ]
        .into(),
        outputs: [("pipeline_output".to_owned(), JobOutput::UriFolder(Target::default()))].into(),
        distribution: Some(Distribution::Mpi { process_count_per_instance: 1 }),
        resources: Some(Resources {
            instance_count: Some(2),
            shm_size: Some("16g".into()),
            ..Resources::default()
        }),
        identity: Some(Identity::UserIdentity),
        ..CommandJob::default()
    }
}

#[test]
fn the_body_is_that_of_the_sdk() {
    let mut expected = recorded_one("PUT", "/jobs/");
    // Not sent: an empty map of what other services than Azure ML read.
    let properties = expected["properties"]["resources"].as_object_mut().unwrap().remove("properties");
    assert_eq!(properties, Some(json!({})));
    let job = recorded_job();
    job.check().unwrap();
    assert_eq!(serde_json::to_value(job.body()).unwrap(), expected);
}

#[test]
fn what_the_recorded_job_does_not_have_keeps_to_the_contract() {
    let target =
        Target { uri: Some("azureml://datastores/d/paths/o/".into()), mode: Some(OutputMode::Upload) };
    let job = CommandJob {
        environment_id: "e".into(),
        command: "x".into(),
        outputs: [
            ("a".to_owned(), JobOutput::UriFile(target.clone())),
            ("b".to_owned(), JobOutput::CustomModel(target.clone())),
            ("c".to_owned(), JobOutput::MlflowModel(target)),
        ]
        .into(),
        inputs: [
            ("a".to_owned(), JobInput::MlTable(Source::at("u"))),
            ("b".to_owned(), JobInput::MlflowModel(Source::at("u"))),
            ("c".to_owned(), JobInput::TritonModel(Source::at("u"))),
        ]
        .into(),
        limits: Some(Limits::Command { timeout: Duration::from_secs(60) }),
        resources: Some(Resources {
            instance_type: Some("gpu".into()),
            docker_args: Some("--ipc=host".into()),
            ..Resources::default()
        }),
        ..CommandJob::default()
    };
    for distribution in [
        Distribution::PyTorch { process_count_per_instance: 2 },
        Distribution::TensorFlow { worker_count: 1, parameter_server_count: 1 },
    ] {
        for identity in [Identity::AmlToken, Identity::Managed { client_id: None }] {
            let job =
                CommandJob { distribution: Some(distribution), identity: Some(identity), ..job.clone() };
            assert_eq!(
                violations("/subscriptions/s/jobs/j", &serde_json::to_value(job.body()).unwrap()),
                [""; 0]
            );
        }
    }
}

fn small(command: &str) -> CommandJob {
    CommandJob { environment_id: "e".into(), command: command.into(), ..CommandJob::default() }
}

fn name() -> JobName {
    JobName::new("job-1").unwrap()
}

fn resource(name: &str, status: &str, command: &str) -> Value {
    json!({"id": "i", "name": name, "properties": {"jobType": "Command", "status": status, "command": command,
        "tags": {"Pass": "LoRA"}, "properties": null, "newField": 1,
        "services": {"Studio": {"endpoint": "https://ml.azure.com/runs/job-1?wsid=/w"}, "Other": null},
        "outputs": {"default": {"uri": "azureml://datastores/a/ExperimentRun/dcid.job-1"}, "o": {"uri": null}}}})
}

#[tokio::test]
async fn a_job_of_the_user_carries_a_token_for_azure_ml() {
    let (workspace, service) = service(|_, _, _| json(resource("job-1", "Starting", "x"))).await;
    let job = workspace.put_job(&name(), &recorded_job()).await.unwrap();
    assert_eq!((job.status.clone(), job.tags["Pass"].as_str()), (JobStatus::Starting, "LoRA"));
    assert_eq!(job.outputs.len(), 1);
    let put = service.received().into_iter().find(|request| request.method == "PUT").unwrap();
    assert!(!put.header("x-azureml-token").is_empty());
    assert_eq!(put.query("api-version"), "2024-10-01");
    let scopes: Vec<String> =
        service.received().iter().filter_map(|request| request.form().remove("scope")).collect();
    assert!(scopes.contains(&"https://ml.azure.com/.default".to_owned()), "{scopes:?}");
    workspace.put_job(&name(), &small("x")).await.unwrap();
    assert_eq!(service.received().last().unwrap().header("x-azureml-token"), "");
}

#[tokio::test]
async fn a_job_whose_answer_was_lost_is_found() {
    // The service accepts the first request, whose answer is lost, and refuses to create the job again.
    let puts = AtomicUsize::new(0);
    let (workspace, service) = service(move |name, _, _| match name {
        "PUT ~/jobs/job-1" if puts.fetch_add(1, Ordering::Relaxed) == 0 => broken(),
        "PUT ~/jobs/job-1" => {
            status(409).body(json!({"error": {"code": "UserError", "message": "already exists"}}).to_string())
        }
        "GET ~/jobs/job-1" => json(resource("job-1", "Queued", "mine")),
        _ => status(500),
    })
    .await;
    let job = workspace.put_job(&name(), &small("mine")).await.unwrap();
    assert_eq!(job.status, JobStatus::Queued);
    assert_eq!(asked(&service), ["PUT ~/jobs/job-1", "PUT ~/jobs/job-1", "GET ~/jobs/job-1"]);
    // Another job of this name is not taken for it.
    let error = workspace.put_job(&name(), &small("other")).await.unwrap_err();
    assert_eq!(error.service().unwrap().status, 409);
}

#[tokio::test]
async fn what_cannot_be_submitted_is_not_sent() {
    let (workspace, service) = service(|_, _, _| status(500)).await;
    let error = workspace.put_job(&name(), &small("run ${{inputs.none}}")).await.unwrap_err().to_string();
    assert!(error.contains("inputs.none"), "{error}");
    assert_eq!(service.count(), 0);
}

#[tokio::test]
async fn cancelling_waits_until_it_is_accepted() {
    let (workspace, service) = service(|name, _, url| match name {
        "POST ~/jobs/job-1/cancel" => {
            status(202).header("Location", format!("{url}/operation/jc:job-1")).header("Retry-After", "1")
        }
        "GET /operation/jc:job-1" => status(200),
        _ => status(500),
    })
    .await;
    workspace.cancel_job(&name()).await.unwrap();
    assert_eq!(asked(&service), ["POST ~/jobs/job-1/cancel", "GET /operation/jc:job-1"]);
}

#[tokio::test]
async fn a_job_that_has_ended_needs_no_cancelling() {
    for (state, ended) in [("Completed", true), ("Running", false)] {
        let (workspace, _) = service(move |name, _, _| match name {
            "POST ~/jobs/job-1/cancel" => status(400)
                .body(json!({"error": {"code": "UserError", "message": "not possible"}}).to_string()),
            _ => json(resource("job-1", state, "x")),
        })
        .await;
        assert_eq!(workspace.cancel_job(&name()).await.is_ok(), ended, "{state}");
    }
}

#[tokio::test]
async fn jobs_are_listed_by_tag_and_name() {
    let (workspace, service) = service(|name, request, url| match (name, request.query("page")) {
        ("GET ~/jobs", "") => json(json!({
            "value": [resource("olive-1", "Completed", "x"), resource("other", "Completed", "x")],
            "nextLink": format!("{url}{}/jobs?page=2", self::workspace().path()),
        })),
        ("GET ~/jobs", "2") => {
            json(json!({"value": [resource("olive-2", "Warming", "x"), {"name": "olive-3",
            "properties": {"jobType": "Command", "tags": {"Pass": "other"}}}]}))
        }
        _ => status(500),
    })
    .await;
    let filter = JobFilter { tag: Some(("Pass".into(), "LoRA".into())), name_prefix: Some("olive-".into()) };
    let jobs = workspace.jobs(&filter).await.unwrap();
    let found: Vec<(&str, &str)> = jobs.iter().map(|job| (job.name.as_str(), job.status.as_str())).collect();
    assert_eq!(found, [("olive-1", "Completed"), ("olive-2", "Warming")]);
    let first = service.received().into_iter().find(|request| request.method == "GET").unwrap();
    assert_eq!((first.query("tag"), first.query("listViewType")), ("Pass", "ActiveOnly"));
}

#[tokio::test]
async fn a_job_may_be_missing() {
    let (workspace, _) = service(|_, _, _| {
        status(404).body(json!({"error": {"code": "UserError", "message": "Not found"}}).to_string())
    })
    .await;
    assert_eq!(workspace.find_job(&name()).await.unwrap(), None);
    let error = workspace.job(&name()).await.unwrap_err().to_string();
    assert!(error.contains("job `job-1`") && error.contains("ws1"), "{error}");
}

/// A service whose tokens say this of themselves.
async fn service_with_claims(claims: Value) -> WorkspaceClient {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let token = format!("{}.{}.", part(json!({"alg": "none"})), part(claims));
    let service = Service::start(move |request, _| match signs_in(request) {
        Some(_) => json(json!({"token_type": "Bearer", "expires_in": 3599, "access_token": token})),
        None => json(resource("job-1", "Running", "x")),
    })
    .await;
    WorkspaceClient::new(client(&service, &SkippingClock::new()), workspace())
}

#[tokio::test]
async fn the_page_of_a_job_names_the_tenant() {
    let client = service_with_claims(json!({"tid": "t-1"})).await;
    let job = client.job(&name()).await.unwrap();
    let url = client.studio_url(&job).await.unwrap();
    assert_eq!(url.as_deref(), Some("https://ml.azure.com/runs/job-1?wsid=/w&tid=t-1"));
}

#[tokio::test]
async fn only_a_token_for_azure_ml_is_handed_on() {
    let job = CommandJob { identity: Some(Identity::UserIdentity), ..small("x") };
    for (audience, taken) in [("https://ml.azure.com", true), ("https://management.azure.com", false)] {
        let client = service_with_claims(json!({"aud": audience})).await;
        assert_eq!(client.put_job(&name(), &job).await.is_ok(), taken, "{audience}");
    }
}
