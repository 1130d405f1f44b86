//! What a job does on the machine that it is sent to, and what of it comes back.

use crate::support::binary::{olive_process, root, succeed, text};
use crate::support::quickstart::Quickstart;
use olive_config::LoadOptions;
use olive_core::cancel::CancelFlag;
use olive_core::handle::ModelHandle;
use olive_engine::cache::store::ArtefactId;
use olive_engine::cache::{Adoption, Manifest, Store};
use olive_engine::{Plan, REGISTRY, RunConfig};
use olive_systems::pack::{ModelSource, pack};
use olive_systems::results::JobResult;
use olive_systems::{Package, Source};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const SAVING: [&str; 3] = [
    "passes.lora.config.training_args.save_strategy=steps",
    "passes.lora.config.training_args.save_steps=2",
    "passes.lora.config.training_args.evaluation_strategy=no",
];

/// The quickstart as a job: from its first pass but `from` on, with the model in the folder `model`.
fn package(quickstart: &Quickstart, more: &[&str], from: usize, model: &ModelHandle) -> Package {
    let set = quickstart.arguments(more).into_iter().filter(|argument| argument != "--set").collect();
    let file = root().join("configs/quickstart/olive-config.json");
    let options = LoadOptions { set, ..LoadOptions::default() };
    let config = RunConfig::load(&file, &options, &REGISTRY).unwrap();
    let plan = Plan::new(&config).unwrap();
    pack(&config, &plan.flows[0].steps[from..], ModelSource::of(model, &|_| None).unwrap()).unwrap()
}

/// A machine that jobs are sent to.
struct Machine(PathBuf);

impl Machine {
    /// Puts the inputs of a job there, and gives the command that does its work.
    fn job(&self, package: &Package) -> Command {
        let mut command = olive_process();
        command.current_dir(&self.0).args(["run-job", "--log-format", "json"]);
        for (name, source) in &package.inputs {
            let Source::Files(files) = source else { panic!("{source:?}") };
            for (below, path) in files {
                let target = self.0.join("inputs").join(name).join(below);
                std::fs::create_dir_all(target.parent().unwrap()).unwrap();
                std::fs::copy(root().join(path), target).unwrap();
            }
            command.arg("--input").arg(format!("{name}=inputs/{name}"));
        }
        std::fs::write(self.0.join("job.json"), serde_json::to_vec(&package.description).unwrap()).unwrap();
        command.args(["--description", "job.json", "--outputs", "outputs", "--scratch", "scratch"]);
        command
    }

    fn outputs(&self) -> PathBuf {
        self.0.join("outputs")
    }
}

fn machine(dir: &Path, name: &str) -> Machine {
    let folder = dir.join(name);
    std::fs::create_dir_all(&folder).unwrap();
    Machine(folder)
}

fn run(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stderr)
}

/// The content of files that do not say when or where they were made.
fn lasting(manifest: &Manifest, output: &Path) -> BTreeMap<PathBuf, blake3::Hash> {
    let paths = manifest.files.iter().map(|file| file.path.clone());
    let lasting = paths.filter(|path| {
        let name = path.file_name().unwrap().to_string_lossy();
        !name.contains("tfevents") && !["metrics.jsonl", "adapter_config.json"].contains(&&*name)
    });
    lasting.map(|path| (path.clone(), blake3::hash(&std::fs::read(output.join(path)).unwrap()))).collect()
}

/// What is in the cache of a quickstart, by the name of the pass.
fn made(quickstart: &Quickstart) -> BTreeMap<String, (PathBuf, Manifest)> {
    let list = Store::new(&quickstart.cache()).list();
    list.into_iter().map(|(dir, manifest)| (manifest.pass_name.clone(), (dir, manifest))).collect()
}

fn base() -> ModelHandle {
    ModelHandle::Hf { dir: crate::support::quickstart::base_model() }
}

#[test]
fn a_job_makes_what_a_run_here_makes_and_the_cache_takes_it_in() {
    let (here, elsewhere) = (Quickstart::new(6), Quickstart::new(6));
    succeed(&mut here.run(&[]));
    let package = package(&elsewhere, &[], 0, &base());
    let described = serde_json::to_string(&package.description).unwrap();
    assert!(
        !described.contains(root().to_str().unwrap()),
        "no path of the model or of the data: {described}"
    );
    let there = machine(elsewhere.dir.path(), "there");
    run(there.job(&package));

    let (made, result) = (made(&here), JobResult::read(&there.outputs()).unwrap());
    assert_eq!(result.steps.len(), 3);
    let store = Store::new(&elsewhere.cache());
    for step in &result.steps {
        let (dir, wanted) = &made[&step.pass];
        let from = step.dir(&there.outputs());
        assert_eq!(lasting(&step.manifest, &from.join("output")), lasting(wanted, &dir.join("output")));
        let adoption = Adoption {
            id: ArtefactId { pass_type: &wanted.pass_type, key: &wanted.key },
            manifest: &step.manifest,
            from: &from,
            input_key: &wanted.input_key,
            input: &wanted.input,
        };
        store.adopt(&adoption, &CancelFlag::default(), &(), &|| Ok(())).unwrap();
    }
    drop(store);
    let told = text(&succeed(&mut elsewhere.run(&[])).stdout);
    assert_eq!(told.matches("cached").count(), 3, "{told}");
    for name in ["model.onnx", "model.onnx.data", "genai_config.json"] {
        let read = |quickstart: &Quickstart| std::fs::read(quickstart.output().join(name)).unwrap();
        assert!(read(&here) == read(&elsewhere), "{name}");
    }
}

#[test]
fn a_job_goes_on_from_the_adapter_of_another_step() {
    let here = Quickstart::new(6);
    succeed(&mut here.run(&[]));
    let ModelHandle::Hf { dir } = base() else { unreachable!() };
    let adapter = ModelHandle::HfWithAdapter { base: dir, adapter: here.artefact("LoRA") };
    let there = machine(here.dir.path(), "there");
    run(there.job(&package(&here, &[], 1, &adapter)));
    let (made, result) = (made(&here), JobResult::read(&there.outputs()).unwrap());
    assert_eq!(
        result.steps.iter().map(|step| &*step.pass).collect::<Vec<_>>(),
        ["merge_adapter_weights", "builder"]
    );
    for step in &result.steps {
        let (dir, wanted) = &made[&step.pass];
        let output = step.dir(&there.outputs()).join("output");
        assert_eq!(lasting(&step.manifest, &output), lasting(wanted, &dir.join("output")));
    }
}

#[test]
fn a_job_that_was_stopped_goes_on_on_another_machine() {
    let here = Quickstart::new(8);
    succeed(&mut here.run(&SAVING));
    let package = package(&here, &SAVING, 0, &base());
    let kept = here.dir.path().join("kept");
    let (first, second) = (machine(here.dir.path(), "first"), machine(here.dir.path(), "second"));
    let mut child = first
        .job(&package)
        .arg("--kept")
        .arg(&kept)
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        let event: Value = serde_json::from_str(&line.unwrap()).unwrap_or_default();
        if event["event"] == "train_step" && event["step"] == 6 {
            child.kill().unwrap();
        }
    }
    assert!(!child.wait().unwrap().success());
    let mut command = second.job(&package);
    command.arg("--kept").arg(&kept);
    let told = run(command);
    assert!(["4", "6"].iter().any(|step| told.contains(&format!("going on after step {step}"))), "{told}");
    let result = JobResult::read(&second.outputs()).unwrap();
    for step in &result.steps {
        let (dir, wanted) = &made(&here)[&step.pass];
        let output = step.dir(&second.outputs()).join("output");
        assert_eq!(lasting(&step.manifest, &output), lasting(wanted, &dir.join("output")), "{}", step.pass);
    }
}

#[test]
fn a_job_that_fails_says_why_and_leaves_what_was_done() {
    let here = Quickstart::new(2);
    let package = package(&here, &["passes.builder.config.extra_options.num_hidden_layers=99"], 0, &base());
    let there = machine(here.dir.path(), "there");
    let output = there.job(&package).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("num_hidden_layers"), "{}", text(&output.stderr));
    let mut command = there.job(&package);
    std::fs::write(there.0.join("job.json"), "{}").unwrap();
    let output = command.output().unwrap();
    assert!(text(&output.stderr).contains("`job.json` is no job description"), "{}", text(&output.stderr));
}
