//! What `olive run` leaves of itself in `<output_dir>/.olive/runs`.

use crate::support::binary::{olive, root, text};
use crate::support::quickstart::Quickstart;
use olive_config::LoadOptions;
use olive_core::cancel::CancelFlag;
use olive_core::device::DeviceChoice;
use olive_engine::passes::MemoryPolicy;
use olive_engine::record::{Metric, RunRecord, RunState};
use olive_engine::{
    Environment, OutputState, Plan, REGISTRY, RunConfig, StepState, WorkflowOutcome, prospects, run_workflow,
};
use olive_model::SourceOptions;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;

/// The records of a pipeline's output folder, newest first.
fn records(quickstart: &Quickstart) -> Vec<RunRecord> {
    RunRecord::list(&quickstart.output()).iter().map(|dir| RunRecord::open(dir).unwrap()).collect()
}

fn record(quickstart: &Quickstart) -> RunRecord {
    let mut records = records(quickstart);
    assert_eq!(records.len(), 1);
    records.remove(0)
}

fn passes(outcome: &WorkflowOutcome) -> Vec<&str> {
    outcome.steps().map(|step| step.pass.as_str()).collect()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_run_can_be_read_afterwards() {
    let quickstart = Quickstart::new(2);
    let run = quickstart.run(&[]).args(["--log-format", "json"]).output().unwrap();
    assert!(run.status.success(), "{}", text(&run.stderr));

    let record = record(&quickstart);
    let document = record.run();
    assert_eq!((document.state, record.state()), (RunState::Succeeded, RunState::Succeeded));
    assert_eq!(document.config.as_deref(), root().join("configs/quickstart/olive-config.json").to_str());
    assert_eq!((document.device.as_str(), document.format), ("cpu", 1));
    assert!(document.ended.unwrap() >= document.started && document.error.is_none());

    let (plan, outcome) = (record.plan().unwrap(), record.outcome().unwrap());
    assert_eq!(passes(&outcome), ["lora", "merge_adapter_weights", "builder"]);
    assert_eq!(outcome.flows[0].output, OutputState::Written);
    for (planned, done) in plan.flows[0].steps.iter().zip(outcome.steps()) {
        assert_eq!((&planned.pass, &planned.r#type), (&done.pass, &done.r#type));
        assert_eq!(planned.key.as_ref(), Some(&done.key));
        assert_eq!(planned.host.as_deref(), Some("local_system"));
    }
    assert_eq!(plan.flows[0].steps[0].options["training"]["max_steps"], 2);
    let printed: Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(printed["steps"], serde_json::to_value(&outcome.flows[0].steps).unwrap());

    // The same lines as on stderr, whatever threads they come from.
    let mut told: Vec<String> = text(&run.stderr).lines().map(str::to_owned).collect();
    let events = RunRecord::list(&quickstart.output())[0].join("events.jsonl");
    let mut kept: Vec<String> = std::fs::read_to_string(events).unwrap().lines().map(str::to_owned).collect();
    told.sort();
    kept.sort();
    assert_eq!(told, kept);
    assert_eq!(record.events().unwrap().len(), kept.len());

    let metrics = record.metrics().unwrap();
    let is_step = |metric: &&Metric| matches!(metric, Metric::Train { pass, .. } if pass == "lora");
    assert_eq!(metrics.iter().filter(is_step).count(), 2);
    assert!(metrics.iter().any(|metric| matches!(metric, Metric::Eval { pass, .. } if pass == "lora")));
}

#[test]
fn a_run_that_changes_nothing_has_a_record_too_and_the_result_names_the_one_that_made_it() {
    let quickstart = Quickstart::new(1);
    assert!(quickstart.run(&[]).output().unwrap().status.success());
    let history = quickstart.output().join("run_history.json");
    let written = std::fs::read(&history).unwrap();
    let maker = quickstart.output().join(json(&history)["record"].as_str().unwrap());
    assert_eq!(RunRecord::open(&maker).unwrap().run().id, record(&quickstart).run().id);

    let again = quickstart.run(&[]).output().unwrap();
    assert!(text(&again.stderr).contains("is up to date"), "{}", text(&again.stderr));
    assert_eq!(std::fs::read(&history).unwrap(), written);
    let records = records(&quickstart);
    assert_eq!(records.len(), 2);
    let outcomes: Vec<_> = records.iter().map(|record| record.outcome().unwrap()).collect();
    let cached = outcomes.iter().find(|outcome| outcome.flows[0].output == OutputState::UpToDate).unwrap();
    assert!(cached.steps().all(|step| step.cached));
}

#[test]
fn flows_have_one_record_in_the_folder_above() {
    let quickstart = Quickstart::new(1);
    let flows = r#"pass_flows=[["lora"],["lora","merge_adapter_weights"]]"#;
    let run = quickstart.run(&[flows]).output().unwrap();
    assert!(run.status.success(), "{}", text(&run.stderr));
    let record = record(&quickstart);
    assert_eq!(passes(&record.outcome().unwrap()), ["lora", "lora", "merge_adapter_weights"]);
    for flow in record.plan().unwrap().flows {
        let maker = json(&flow.output_dir.join("run_history.json"))["record"].as_str().unwrap().to_owned();
        let maker = RunRecord::open(&flow.output_dir.join(maker)).unwrap();
        assert_eq!(maker.run().id, record.run().id);
    }
}

#[test]
fn looking_leaves_no_record_nor_does_a_run_without_artifacts() {
    let quickstart = Quickstart::new(1);
    assert!(quickstart.run(&[]).arg("--dry-run").output().unwrap().status.success());
    let mut validate = olive();
    validate.args(["validate", "configs/quickstart/olive-config.json"]).args(quickstart.arguments(&[]));
    assert!(validate.output().unwrap().status.success());
    assert!(!quickstart.output().exists());
    let run = quickstart.run(&["engine.no_artifacts=true"]).output().unwrap();
    assert!(run.status.success(), "{}", text(&run.stderr));
    assert!(quickstart.output().join("model.onnx").exists());
    assert!(!quickstart.output().join(".olive").exists());
}

#[test]
fn a_run_that_fails_says_why() {
    let quickstart = Quickstart::new(1);
    let run = quickstart.run(&["passes.builder.config.extra_options.num_hidden_layers=99"]).output().unwrap();
    assert!(!run.status.success());
    let record = record(&quickstart);
    assert_eq!(record.state(), RunState::Failed);
    let error = record.run().error.as_ref().unwrap();
    assert_eq!(Some(i32::from(error.exit_code)), run.status.code());
    let printed = text(&run.stderr);
    assert!(printed.contains(&format!("error: {}\n", error.message)), "{printed}");
    assert!(error.hint.iter().all(|hint| printed.contains(hint.as_str())), "{printed}");
    let events = record.events().unwrap();
    assert_eq!(events.last().unwrap()["message"], error.message.as_str());
    assert!(passes(&record.outcome().unwrap()).is_empty());
}

#[test]
fn a_plan_made_of_values_runs_without_the_command_line() {
    let quickstart = Quickstart::new(1);
    let set = quickstart.arguments(&[]).into_iter().filter(|argument| argument != "--set").collect();
    let file = root().join("configs/quickstart/olive-config.json");
    let mut config =
        RunConfig::load(&file, &LoadOptions { set, local: true, ..LoadOptions::default() }, &REGISTRY)
            .unwrap();
    config.path = PathBuf::new();
    let mut builder = config.passes.iter().find(|pass| pass.name == "builder").unwrap().clone();
    builder.name = "alone".into();
    let plan = Plan::of(&config, vec![vec![builder]]).unwrap();
    let environment = Environment {
        source: SourceOptions::default(),
        memory: MemoryPolicy::Refuse,
        device: DeviceChoice::Cpu,
        library: Default::default(),
        host: Some("here".into()),
        home: None,
        foreign_files: Default::default(),
        executors: Vec::new(),
        resources: None,
        tracking: Default::default(),
        cancel: CancelFlag::default(),
        events: Arc::default(),
    };
    let state = || prospects(&config, &plan, &environment).flows;
    assert_eq!(state(), [[StepState::ToRun { changed: None, memory: None }]]);
    let outcome = run_workflow(&config, &plan, &environment).unwrap();
    assert_eq!(passes(&outcome), ["alone"]);
    let output = outcome.flows[0].steps[0].path.clone();
    assert_eq!(state(), [[StepState::Cached { output }]]);
    let record = record(&quickstart);
    assert_eq!((&record.run().config, record.run().host.as_deref()), (&None, Some("here")));
    assert_eq!(record.outcome().unwrap(), outcome);

    environment.cancel.raise();
    let stopped = run_workflow(&config, &plan, &environment).unwrap_err();
    assert!(stopped.is_interruption());
}

/// A run at its third step of training, and what sends it signals.
fn training(quickstart: &Quickstart, at_step_3: impl Fn(&Child)) -> std::process::ExitStatus {
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin("olive"))
        .current_dir(root())
        .args(["run", "--log-format", "json", "--config", "configs/quickstart/olive-config.json"])
        .args(quickstart.arguments(&[]))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut reached = false;
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        let event: Value = serde_json::from_str(&line.unwrap()).unwrap_or_default();
        if !reached && event["event"] == "train_step" && event["step"] == 3 {
            at_step_3(&child);
            reached = true;
        }
    }
    assert!(reached, "the training got to step 3");
    child.wait().unwrap()
}

fn signal(child: &Child, signal: &str) {
    let killed = std::process::Command::new("kill").args([signal, &child.id().to_string()]).status();
    assert!(killed.unwrap().success());
}

#[test]
fn an_interrupted_run_says_so() {
    let quickstart = Quickstart::new(30);
    let status = training(&quickstart, |child| {
        let record = record(&quickstart);
        assert_eq!((record.state(), record.run().pid), (RunState::Running, child.id()));
        signal(child, "-INT");
    });
    assert_eq!(status.code(), Some(130));
    let record = record(&quickstart);
    assert_eq!(record.run().state, RunState::Interrupted);
    assert_eq!(record.run().error.as_ref().unwrap().exit_code, 130);
    let steps = record.metrics().unwrap().len();
    assert!((3..30).contains(&steps), "{steps}");
}

#[test]
fn a_run_that_is_killed_leaves_a_record_that_can_be_read() {
    let quickstart = Quickstart::new(30);
    training(&quickstart, |child| signal(child, "-KILL"));
    let record = record(&quickstart);
    assert_eq!((record.run().state, record.state()), (RunState::Running, RunState::Interrupted));
    assert!(record.metrics().unwrap().len() >= 3 && !record.events().unwrap().is_empty());
    assert!(record.plan().unwrap().flows[0].steps.iter().all(|step| step.key.is_some()));
    assert!(passes(&record.outcome().unwrap()).is_empty());
}

#[test]
fn a_place_that_cannot_have_records_stops_the_run() {
    let quickstart = Quickstart::new(1);
    std::fs::create_dir(quickstart.output()).unwrap();
    std::fs::write(quickstart.output().join(".olive"), "a file").unwrap();
    let run = quickstart.run(&[]).output().unwrap();
    assert_eq!(run.status.code(), Some(1));
    let place: PathBuf = quickstart.output().join(".olive/runs");
    assert!(text(&run.stderr).contains(&format!("failed to create `{}`", place.display())));
    assert!(!quickstart.cache().join("passes-v1").exists());
}
