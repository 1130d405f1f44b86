//! A job from the first upload to the last download, with all that may go wrong on the way.

use crate::support::{options, start};
use olive_azureml::Error;
use olive_azureml::download::download_folder;
use olive_azureml::environment::Environment;
use olive_azureml::http::Client;
use olive_azureml::job::{CommandJob, Identity, JobInput, JobName, JobOutput, Source, Target};
use olive_azureml::logs::{Pace, RunEvent, follow};
use olive_azureml::status::JobStatus;
use olive_azureml::upload::{upload_code, upload_for_job};
use olive_azureml::workspace::{EnvironmentImage, EnvironmentSpec, WorkspaceClient};
use olive_azureml_fake::FakeAzure;
use olive_azureml_fake::command_runner::CommandRunner;
use olive_azureml_fake::exchange::Exchange;
use olive_azureml_fake::faults::{Fault, FaultKind};
use olive_azureml_fake::identity::MachineIdentity;
use olive_azureml_fake::place::workspace_path;
use olive_azureml_fake::runner::{Outcome, Script};
use olive_azureml_fake::world::{FakeOptions, StoreSecrets};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Nobody waits for a service on this machine.
const PACE: Pace = Pace { shortest: Duration::from_millis(5), longest: Duration::ZERO };

fn running_commands() -> FakeOptions {
    FakeOptions {
        runner: Arc::new(CommandRunner::default()),
        machine: MachineIdentity::Present,
        ..FakeOptions::default()
    }
}

/// A folder of code and a file of data.
fn files() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let code = folder.path().join("code");
    std::fs::create_dir_all(code.join("lib")).unwrap();
    std::fs::write(
        code.join("run.sh"),
        ". lib/text.sh; cat \"$1\" | tr a-z A-Z > \"$2/out.txt\"; echo $GREETING $3\n",
    )
    .unwrap();
    std::fs::write(code.join("lib/text.sh"), "GREETING=${GREETING:-none}\n").unwrap();
    std::fs::write(folder.path().join("train.json"), "{\"q\": 1}\n").unwrap();
    folder
}

/// Uploads what the job needs, and says what it is.
async fn prepared(workspace: &WorkspaceClient, folder: &Path, command: &str) -> Result<CommandJob, Error> {
    let store = workspace.default_datastore().await?;
    let code = upload_code(workspace, &folder.join("code"), &|_| {}).await?;
    let train = upload_for_job(workspace, &store, &folder.join("train.json"), &|_| {}).await?;
    let image = EnvironmentImage::Existing("image:1".into());
    let spec = EnvironmentSpec { image, conda: None, is_anonymous: true };
    let environment = workspace.put_environment("olive", "1", &spec).await?;
    Ok(CommandJob {
        experiment_name: Some("olive".into()),
        code_id: Some(code),
        environment_id: environment,
        compute_id: Some(format!("{}/computes/gpu-cluster", workspace_path())),
        command: command.into(),
        environment_variables: [("GREETING".to_owned(), "hello".to_owned())].into(),
        inputs: [
            ("train".to_owned(), JobInput::UriFile(Source::at(train.for_job(workspace.workspace(), "data")))),
            ("rate".to_owned(), JobInput::Literal { value: "0.5".into() }),
        ]
        .into(),
        outputs: [("model".to_owned(), JobOutput::UriFolder(Target::default()))].into(),
        identity: Some(Identity::UserIdentity),
        ..CommandJob::default()
    })
}

const COMMAND: &str = "bash run.sh ${{inputs.train}} ${{outputs.model}} $[[${{inputs.rate}}]]";

struct Watched {
    status: JobStatus,
    log: String,
    failure: String,
}

async fn watched(workspace: &WorkspaceClient, name: &JobName) -> Result<Watched, Error> {
    let mut log = String::new();
    let details = follow(workspace, name, PACE, |event| {
        if let RunEvent::Log { text, .. } = event {
            log.push_str(text);
        }
    })
    .await?;
    let failure = details.failure.map(|failure| failure.to_string()).unwrap_or_default();
    Ok(Watched { status: details.status, log, failure })
}

async fn downloaded(workspace: &WorkspaceClient, name: &JobName, target: &Path) -> String {
    let address = workspace.output_address(name, "model").await.unwrap().unwrap();
    let location = workspace.locate(&address).await.unwrap();
    download_folder(&location.container, &location.path, target, &|_| {}).await.unwrap();
    std::fs::read_to_string(target.join("out.txt")).unwrap()
}

/// Every body that was sent is one that the service's specification has.
fn check_bodies(fake: &FakeAzure) {
    assert_eq!(fake.violations(), Vec::<String>::new());
    let is_body = |request: &&Exchange| {
        matches!(request.method.as_str(), "PUT" | "POST") && request.path.starts_with("/subscriptions/")
    };
    let checked = fake.requests().iter().filter(is_body).count();
    assert!(checked > 3, "{checked}");
}

/// A job from the first upload to the last download.
async fn runs_well(workspace: &WorkspaceClient, folder: &Path, name: &JobName) -> CommandJob {
    let job = prepared(workspace, folder, COMMAND).await.unwrap();
    workspace.put_job(name, &job).await.unwrap();
    let watched = watched(workspace, name).await.unwrap();
    assert_eq!(
        (watched.status, watched.log.as_str()),
        (JobStatus::Completed, "hello 0.5\n"),
        "{}",
        watched.failure
    );
    assert_eq!(downloaded(workspace, name, &folder.join("target")).await, "{\"Q\": 1}\n");
    job
}

#[tokio::test]
async fn a_job_takes_files_in_and_gives_files_out() {
    let (fake, workspace) = start(running_commands()).await;
    let folder = files();
    let name = JobName::new("olive-1").unwrap();
    let job = runs_well(&workspace, folder.path(), &name).await;
    check_bodies(&fake);

    // The same again: nothing is uploaded, and the job is the one that was there.
    let puts = |fake: &FakeAzure| {
        let blobs = |request: &&olive_azureml_fake::exchange::Exchange| {
            request.method == "PUT" && request.path.starts_with("/blob/")
        };
        fake.requests().iter().filter(blobs).count()
    };
    let before = puts(&fake);
    let again = prepared(&workspace, folder.path(), COMMAND).await.unwrap();
    assert_eq!((puts(&fake), &again), (before, &job));
    assert_eq!(workspace.put_job(&name, &again).await.unwrap().status, JobStatus::Completed);
}

#[tokio::test]
async fn what_goes_wrong_on_the_way_changes_nothing() {
    let (fake, workspace) = start(running_commands()).await;
    let faults = [
        Fault::new("GET", "/datastores", FaultKind::Throttled(0)),
        Fault::new("PUT", "/environments/", FaultKind::Throttled(0)).times(2),
        Fault::new("PUT", "/codes/", FaultKind::AnswerLost),
        Fault::new("PUT", "/code/run.sh", FaultKind::AnswerLost),
        Fault::new("PUT", "train.json", FaultKind::SignatureExpired),
        Fault::new("PUT", "/jobs/", FaultKind::AnswerLost),
        Fault::new("GET", "/details", FaultKind::Unavailable),
        Fault::new("GET", "std_log.txt", FaultKind::SignatureExpired),
        Fault::new("POST", "/rundata", FaultKind::Throttled(0)),
        Fault::new("GET", "/out.txt", FaultKind::AnswerLost),
    ];
    let planned = faults.len();
    for fault in faults {
        fake.add_fault(fault);
    }
    let folder = files();
    let name = JobName::new("olive-2").unwrap();
    runs_well(&workspace, folder.path(), &name).await;
    assert_eq!(
        (fake.world().faults.left(), fake.world().jobs().len()),
        (0, 1),
        "all {planned} happened, to one job"
    );
}

#[tokio::test]
async fn an_account_without_keys_is_used_with_the_users_token() {
    let (_fake, workspace) =
        start(FakeOptions { store_secrets: StoreSecrets::Nothing, ..running_commands() }).await;
    let folder = files();
    let name = JobName::new("olive-3").unwrap();
    let job = prepared(&workspace, folder.path(), COMMAND).await.unwrap();
    workspace.put_job(&name, &job).await.unwrap();
    assert_eq!(watched(&workspace, &name).await.unwrap().status, JobStatus::Completed);
    assert_eq!(downloaded(&workspace, &name, &folder.path().join("target")).await, "{\"Q\": 1}\n");
}

#[tokio::test]
async fn a_command_that_fails_is_a_job_that_fails() {
    let (_fake, workspace) = start(running_commands()).await;
    let folder = files();
    let name = JobName::new("olive-4").unwrap();
    let job =
        prepared(&workspace, folder.path(), "echo no disk >&2; exit 3 # ${{inputs.train}}").await.unwrap();
    workspace.put_job(&name, &job).await.unwrap();
    let watched = watched(&workspace, &name).await.unwrap();
    assert_eq!((watched.status, watched.log.as_str()), (JobStatus::Failed, "no disk\n"));
    assert!(
        watched.failure.starts_with("UserError/UserProcessFailed: Execution failed"),
        "{}",
        watched.failure
    );
    assert!(watched.failure.contains("exit status: 3"), "{}", watched.failure);
}

#[tokio::test]
async fn inside_of_a_job_the_secret_of_the_vault_is_there() {
    let (fake, workspace) = start(running_commands()).await;
    fake.world().vault.set("hf-token", "hf_123");
    let folder = files();
    let name = JobName::new("olive-5").unwrap();
    // The command's own variables are what a client inside of it is made of.
    let job =
        prepared(&workspace, folder.path(), "env | grep -E '^(OBO|MSI|AZURE|OLIVE)' # ${{inputs.train}}")
            .await
            .unwrap();
    workspace.put_job(&name, &job).await.unwrap();
    let watched = watched(&workspace, &name).await.unwrap();
    let variables: Environment = watched.log.lines().filter_map(|line| line.split_once('=')).collect();
    let client = Client::in_job(&variables, options()).unwrap();
    let vault = olive_azureml::keyvault::KeyVault::new(client, "kv-1").unwrap();
    assert_eq!(vault.secret("hf-token").await.unwrap().expose(), "hf_123");
}

#[tokio::test]
async fn a_job_that_waits_or_runs_is_cancelled() {
    let stuck = FakeOptions { runner: Arc::new(Script::queueing_for_ever()), ..FakeOptions::default() };
    for (options, command) in
        [(stuck, "true # ${{inputs.train}}"), (running_commands(), "exec sleep 600 # ${{inputs.train}}")]
    {
        let (_fake, workspace) = start(options).await;
        let folder = files();
        let name = JobName::new("olive-6").unwrap();
        let job = prepared(&workspace, folder.path(), command).await.unwrap();
        workspace.put_job(&name, &job).await.unwrap();
        workspace.job(&name).await.unwrap();
        workspace.cancel_job(&name).await.unwrap();
        assert_eq!(watched(&workspace, &name).await.unwrap().status, JobStatus::Canceled);
        workspace.cancel_job(&name).await.unwrap();
    }
}

#[tokio::test]
async fn failures_of_the_service_are_told_to_their_ground() {
    let outcome = Outcome::failed("the node was lost", &["ServiceError", "ComputeError", "NodeLost"]);
    let runner = Arc::new(Script::ending(outcome).line("one").line("two"));
    let (_fake, workspace) = start(FakeOptions { runner, ..FakeOptions::default() }).await;
    let folder = files();
    let name = JobName::new("olive-7").unwrap();
    let job = prepared(&workspace, folder.path(), COMMAND).await.unwrap();
    workspace.put_job(&name, &job).await.unwrap();
    let watched = watched(&workspace, &name).await.unwrap();
    assert_eq!((watched.status, watched.log.as_str()), (JobStatus::Failed, "one\ntwo\n"));
    assert_eq!(watched.failure, "ServiceError/ComputeError/NodeLost: the node was lost");
}
