//! Jobs of Azure ML when services, jobs, or those who wait for them, fail: nothing is sent twice, nothing is lost.

use crate::azure_project::{Project, computes};
use olive_azureml_fake::faults::{Fault, FaultKind};
use olive_azureml_fake::place::{ARTIFACT_STORE, BLOB_STORE};
use olive_azureml_fake::runner::{Gate, InTurn, JobRunner, Outcome, Script};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const LORA: [&str; 1] = ["lora"];

/// The one job that there is.
fn only_job(project: &Project) -> String {
    let jobs = project.jobs();
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    jobs[0].clone()
}

#[test]
fn requests_that_fail_are_sent_again_and_the_job_is_there_once() {
    // The job waits until it is watched: after a lost answer it could have ended before.
    let gate = Arc::new(Gate::closed(computes(None)));
    let project = Project::new(&LORA, gate.clone());
    for fault in [
        Fault::new("GET", "/computes/", FaultKind::Throttled(1)),
        Fault::new("GET", "/datastores", FaultKind::Unavailable),
        Fault::new("PUT", "/jobs/", FaultKind::Throttled(1)),
        Fault::new("PUT", "/jobs/", FaultKind::AnswerLost),
        Fault::new("GET", "/details", FaultKind::Unavailable).after(2),
        Fault::new("GET", "user_logs/", FaultKind::SignatureExpired),
        Fault::new("GET", "/output/", FaultKind::SignatureExpired).after(1),
        Fault::new("GET", "/output/", FaultKind::Unavailable).after(2),
    ] {
        project.fake.add_fault(fault);
    }
    let mut run = project.start(&[]);
    run.wait_for("the job is Queued");
    gate.open();
    let (code, told) = run.end();
    assert_eq!(code, Some(0), "{told}");
    let faults = &project.fake.world().faults;
    assert_eq!(faults.left(), 0, "all of it happened: {faults:?}");
    only_job(&project);
    assert!(project.at("out/adapter/adapter_model.safetensors").is_file());
}

#[test]
fn why_the_service_ended_a_job_is_told_and_the_next_one_has_a_number() {
    let failure = Outcome::failed("The image cannot be pulled.", &["UserError", "ImagePull", "NotFound"]);
    let first: Vec<Arc<dyn JobRunner>> = vec![Arc::new(Script::ending(failure))];
    let project = Project::new(&LORA, Arc::new(InTurn::new(first, computes(None))));
    let told = project.run_badly(&[]);
    let name = only_job(&project);
    let expected =
        format!("job {name} ended as Failed: UserError/ImagePull/NotFound: The image cannot be pulled.");
    assert!(told.contains(&expected), "{told}");
    project.run_well(&[]);
    assert_eq!(project.jobs(), [name.clone(), format!("{name}-2")]);
}

/// A script for the shell of a job: no file gets larger than this. A merged model is, an adapter is not.
fn limit(dir: &Path) -> std::path::PathBuf {
    let script = dir.join("limit.sh");
    std::fs::write(&script, "exec() { trap '' XFSZ; ulimit -f 2300; builtin exec \"$@\"; }\n").unwrap();
    script
}

#[test]
fn what_a_failed_job_had_finished_is_not_done_again() {
    let dir = tempfile::tempdir().unwrap();
    let first: Vec<Arc<dyn JobRunner>> = vec![computes(Some(&limit(dir.path())))];
    let passes = ["lora", "merge_adapter_weights", "builder"];
    let project = Project::new(&passes, Arc::new(InTurn::new(first, computes(None))));
    project.configure(|config| config["passes"]["lora"]["config"]["lora_r"] = json!(4));
    let told = project.run_badly(&[]);
    assert!(told.contains("ended as Failed") && told.contains("File too large"), "{told}");
    let first = only_job(&project);
    let (table, _) = project.run_well(&[]);
    assert_eq!((table.matches("cached").count(), table.matches(" run ").count()), (1, 2), "{table}");
    let second = project.jobs().into_iter().find(|job| *job != first).unwrap();
    assert_eq!(project.job(&second)["tags"]["Pass"], "MergeAdapterWeights,ModelBuilder");

    // Nor when who waited for the failed job did not live to see its end.
    std::fs::remove_dir_all(project.at("cache")).unwrap();
    std::fs::remove_dir_all(project.at("out")).unwrap();
    project.run_well(&[]);
    assert_eq!(project.jobs().len(), 2);
}

#[test]
fn a_job_goes_on_without_the_run_that_sent_it() {
    let gate = Arc::new(Gate::closed(computes(None)));
    let project = Project::new(&LORA, gate.clone());
    let mut run = project.start(&[]);
    run.wait_for("the job is Queued");
    run.interrupt();
    let (code, told) = run.end();
    let name = only_job(&project);
    assert_eq!(code, Some(130), "{told}");
    assert!(told.contains(&format!("job {name} goes on")), "{told}");
    let mut run = project.start(&[]);
    run.wait_for("is Queued");
    gate.open();
    let (code, told) = run.end();
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(
        (only_job(&project), project.at("out/adapter/adapter_model.safetensors").exists()),
        (name, true)
    );
}

#[test]
fn an_interrupted_run_cancels_its_job_if_it_is_to() {
    let gate = Arc::new(Gate::closed(computes(None)));
    let project = Project::new(&LORA, gate.clone());
    let mut run = project.start(&["--cancel-on-interrupt"]);
    run.wait_for("the job is Queued");
    run.interrupt();
    let (code, told) = run.end();
    let name = only_job(&project);
    assert_eq!(code, Some(130), "{told}");
    assert!(told.contains(&format!("job {name} is cancelled")), "{told}");
    gate.open();
    project.run_well(&[]);
    assert_eq!(project.jobs(), [name.clone(), format!("{name}-2")]);
}

#[test]
fn a_job_that_is_deleted_ends_the_run_and_is_sent_again_by_the_next() {
    let gate = Arc::new(Gate::closed(computes(None)));
    let project = Project::new(&LORA, gate.clone());
    let mut run = project.start(&[]);
    run.wait_for("the job is Queued");
    let name = only_job(&project);
    project.fake.world().jobs().remove(&name).unwrap().cancel.cancel();
    let (code, told) = run.end();
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains(&format!("job {name} is not there any more")), "{told}");
    gate.open();
    project.run_well(&[]);
    assert_eq!(only_job(&project), name);
}

#[test]
fn a_run_that_is_killed_again_and_again_sends_one_job_and_loses_nothing() {
    let project = Project::new(&LORA, computes(None));
    let requests = || project.fake.world().requests().len();
    let mut ended = 0;
    for number in 0..20 {
        let mut child = project.command(&[]).stderr(std::process::Stdio::null()).spawn().unwrap();
        // Some way into what a run asks for, never as far as twice before.
        let enough = requests() + 1 + (number * 7) % 45;
        while requests() < enough && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(2));
        }
        match child.try_wait().unwrap() {
            Some(status) => {
                assert!(status.success(), "{status}");
                ended += 1;
                // What is here goes, so that the next one fetches it again.
                std::fs::remove_dir_all(project.at("cache")).unwrap();
                std::fs::remove_dir_all(project.at("out")).unwrap();
            }
            None => child.kill().unwrap(),
        }
        child.wait().unwrap();
    }
    assert!(ended < 20, "none was killed");
    project.run_well(&[]);
    only_job(&project);
    assert!(project.at("out/adapter/adapter_model.safetensors").is_file());
}

#[test]
fn a_cluster_is_given_its_instance_type_and_no_token_of_the_user() {
    let project = Project::new(&LORA, computes(None));
    project.configure(|config| config["systems"]["aml"]["config"]["aml_compute"] = json!("arc"));
    project.run_well(&[]);
    let job = project.job(&only_job(&project));
    assert_eq!(job["identity"]["identityType"], "Managed");
    assert_eq!(job["resources"]["instanceType"], "gpu");
    assert!(project.fake.requests().iter().all(|request| request.header("x-azureml-token").is_empty()));
}

/// Files below a folder that have this in them.
fn files_with(dir: &Path, part: &[u8]) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, part));
        } else if has(&std::fs::read(&path).unwrap(), part) {
            found.push(path);
        }
    }
    found
}

fn has(content: &[u8], part: &[u8]) -> bool {
    content.windows(part.len()).any(|window| window == part)
}

#[test]
fn the_token_for_the_hub_is_read_in_the_job_and_stands_nowhere() {
    const TOKEN: &str = "hf_Zq81xxPwdOfTheVault";
    let project = Project::new(&LORA, computes(None));
    project.configure(|config| {
        config["azureml_client"]["keyvault_name"] = json!("vault-of-ours");
        config["systems"]["aml"]["config"]["hf_token"] = json!(true);
    });
    let told = project.run_badly(&[]);
    assert!(told.contains("hf-token"), "{told}");
    let vault = &project.fake.world().vault;
    vault.set("hf-token", TOKEN);
    let (printed, told) = project.run_well(&[]);
    let asked = |request: &&olive_azureml_fake::exchange::Exchange| {
        request.path.starts_with("/secrets/hf-token") && request.bearer().is_some()
    };
    let requests = project.fake.requests();
    assert_eq!(requests.iter().filter(asked).count(), 2, "once in every job");
    for request in &requests {
        assert!(!has(format!("{request:?}").as_bytes(), TOKEN.as_bytes()), "{}", request.path);
    }
    for container in [BLOB_STORE.1, ARTIFACT_STORE.1] {
        for (name, blob) in project.fake.world().blobs.list(container, "") {
            assert!(!has(&blob.content, TOKEN.as_bytes()), "{name}");
        }
    }
    assert!(!printed.contains(TOKEN) && !told.contains(TOKEN));
    assert!(files_with(&project.at(""), TOKEN.as_bytes()).is_empty());
}
