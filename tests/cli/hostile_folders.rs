//! Folders that others have filled: with links, with files of their own, with another run that is on its way.

use crate::support::binary::{olive, olive_process, root, succeed, text};
use crate::support::quickstart::{Quickstart, base_model};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use tempfile::TempDir;

const THEIRS: &str = "theirs";

/// A folder with a copy of a small model, from which a pipeline of one step is run.
struct Project(TempDir);

impl Project {
    fn new() -> Project {
        let project = Project(tempfile::tempdir().unwrap());
        std::fs::create_dir(project.at("model")).unwrap();
        for entry in std::fs::read_dir(base_model()).unwrap().flatten() {
            std::fs::copy(entry.path(), project.at("model").join(entry.file_name())).unwrap();
        }
        project.configure(&["builder"], &[]);
        project
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    /// Writes the configuration: these passes of the quickstart, and other values at the top.
    fn configure(&self, passes: &[&str], values: &[(&str, Value)]) {
        let mut config = Quickstart::configuration(passes);
        config["input_model"]["config"]["hf_config"]["model_name"] = json!("model");
        config["engine"] = json!({ "cache_dir": "cache", "output_dir": "out" });
        config["data_configs"][0]["load_dataset_config"]["params"]["data_files"] = json!(rows());
        for (name, value) in values {
            config[*name] = value.clone();
        }
        std::fs::write(self.at("c.json"), config.to_string()).unwrap();
    }

    fn command(&self, more: &[&str]) -> std::process::Command {
        let mut command = olive_process();
        command.current_dir(self.0.path()).args(["run", "--config", "c.json"]).args(more);
        command
    }

    fn run(&self, more: &[&str]) -> Output {
        self.command(more).output().unwrap()
    }

    fn run_well(&self, more: &[&str]) -> Output {
        let output = self.run(more);
        assert!(output.status.success(), "{}", text(&output.stderr));
        output
    }

    /// What is said of a run that must be refused before anything is done.
    fn refused(&self, more: &[&str]) -> String {
        let output = self.run(more);
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
        text(&output.stderr)
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.at(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn is_theirs(&self, path: &str) -> bool {
        std::fs::read_to_string(self.at(path)).is_ok_and(|text| text == THEIRS)
    }

    fn artefact(&self, pass_type: &str) -> PathBuf {
        let folders = std::fs::read_dir(self.at("cache/passes-v1").join(pass_type)).unwrap().flatten();
        let mut artefacts =
            folders.map(|entry| entry.path()).filter(|path| path.join("manifest.json").is_file());
        artefacts.next().expect("an artefact")
    }
}

/// What the quickstart is trained on.
fn rows() -> PathBuf {
    root().join("datasets/olive-qa.jsonl")
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", path.display()))
}

#[test]
fn a_pass_has_a_name_that_stays_in_its_folder() {
    let project = Project::new();
    for name in ["../victim", "/victim", "a/../../victim", "..", "", "a\\b", "a\nb", "a\u{1b}[31mb", "nul"] {
        let mut config = Quickstart::configuration(&["builder"]);
        config["engine"] = json!({ "cache_dir": "cache", "output_dir": "out" });
        let pass = config["passes"]["builder"].clone();
        config["passes"][name] = pass;
        config["pass_flows"] = json!([["builder"], [name]]);
        std::fs::write(project.at("c.json"), config.to_string()).unwrap();
        let told = project.refused(&[]);
        assert!(told.contains("the name `") && told.contains("hint:"), "{name:?}: {told}");
        assert!(!project.at("victim").exists() && !project.at("out").exists());
    }
}

#[test]
fn flows_of_other_passes_do_not_share_a_folder() {
    let project = Project::new();
    let mut config = Quickstart::configuration(&["lora", "builder"]);
    config["engine"] = json!({ "cache_dir": "cache", "output_dir": "out" });
    config["passes"]["lora-builder"] = config["passes"]["builder"].clone();
    config["pass_flows"] = json!([["lora-builder"], ["lora", "builder"]]);
    std::fs::write(project.at("c.json"), config.to_string()).unwrap();
    let told = project.refused(&[]);
    assert!(told.contains("two flows would go to the same folder, `lora-builder`"), "{told}");
}

#[test]
fn the_cache_is_cleaned_of_artefacts_only_and_through_no_links() {
    let project = Project::new();
    project.run_well(&[]);
    let artefact = project.artefact("ModelBuilder");
    let key = artefact.file_name().unwrap().to_str().unwrap().to_owned();
    let builder = "cache/passes-v1/ModelBuilder";
    let theirs = [
        "cache/passes-v1/thesis/chapter/one",
        "cache/passes-v1/notes.txt",
        &format!("{builder}/notes.txt"),
        &format!("{builder}/{}/no manifest", "a".repeat(64)),
        &format!("{builder}/{}/manifest.json", "A".repeat(64)),
        "victim/letters/one",
        "victim/file",
    ];
    for path in theirs {
        project.write(path, THEIRS);
    }
    symlink(project.at("victim"), project.at("cache/passes-v1/LoRA")).unwrap();
    symlink(project.at("victim"), project.at(builder).join("b".repeat(64))).unwrap();
    symlink(project.at("victim/file"), beside(&project.at(builder).join("c".repeat(64)), ".lock")).unwrap();
    symlink(project.at("victim"), beside(&project.at(builder).join(&key), ".partial")).unwrap();
    let clean = || {
        let cache = project.at("cache");
        text(&succeed(olive().args(["cache", "clean", "--cache-dir"]).arg(cache)).stderr)
    };
    let told = clean();
    assert!(
        told.contains("removed 1 artefacts") && told.contains("is left: it is a symbolic link"),
        "{told}"
    );
    assert!(told.contains("is left: it is no artefact"), "{told}");
    assert!(!artefact.exists());
    for path in theirs {
        assert!(project.is_theirs(path), "{path}: {told}");
    }
    // The whole folder is a link.
    std::fs::rename(project.at("cache/passes-v1"), project.at("elsewhere")).unwrap();
    symlink(project.at("elsewhere"), project.at("cache/passes-v1")).unwrap();
    assert!(clean().contains("it is a symbolic link"));
    assert!(project.is_theirs("elsewhere/notes.txt"));
}

#[test]
fn work_in_progress_and_locks_that_are_links_lead_nowhere() {
    let project = Project::new();
    project.run_well(&[]);
    let artefact = project.artefact("ModelBuilder");
    for inside in ["", "output", "output/resume"] {
        std::fs::remove_dir_all(&artefact).unwrap();
        project.write("victim/output/file", THEIRS);
        project.write("victim/file", THEIRS);
        let partial = beside(&artefact, ".partial");
        let link = if inside.is_empty() { partial } else { partial.join(inside) };
        std::fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(project.at("victim"), link).unwrap();
        project.run_well(&[]);
        assert!(project.is_theirs("victim/file") && project.is_theirs("victim/output/file"), "{inside}");
        assert_eq!(names(&project.at("victim")), ["file", "output"]);
    }
    for lock in [".lock", ".in-use"] {
        std::fs::remove_dir_all(&artefact).unwrap();
        let path = beside(&artefact, lock);
        std::fs::remove_file(&path).unwrap();
        symlink(project.at("victim/file"), &path).unwrap();
        let output = project.run(&[]);
        assert!(
            lock == ".in-use" || text(&output.stderr).contains("symbolic link"),
            "{}",
            text(&output.stderr)
        );
        assert!(project.is_theirs("victim/file"), "{lock}");
        std::fs::remove_file(&path).unwrap();
        project.run_well(&[]);
    }
}

#[test]
fn the_result_follows_no_links_out_of_its_folder() {
    let project = Project::new();
    project.run_well(&[]);
    project.write("victim", THEIRS);
    // What an earlier run wrote may have become a link.
    for name in
        ["model_config.json", "run_history.json", "genai_config.json", "model.onnx", "model.onnx.data"]
    {
        std::fs::remove_file(project.at("out").join(name)).unwrap();
        symlink(project.at("victim"), project.at("out").join(name)).unwrap();
        project.run(&["--overwrite"]);
        assert!(project.is_theirs("victim"), "{name}");
        assert!(project.at("out").join(name).symlink_metadata().unwrap().is_file(), "{name}");
    }
    // Folders on the way to the result or to the record.
    for (passes, link) in [(["lora"], "adapter"), (["builder"], ".olive"), (["builder"], ".olive/runs")] {
        project.configure(&passes, &[("engine", json!({ "cache_dir": "cache", "output_dir": "linked" }))]);
        std::fs::create_dir_all(project.at("linked").join(link).parent().unwrap()).unwrap();
        std::fs::create_dir_all(project.at("folder")).unwrap();
        symlink(project.at("folder"), project.at("linked").join(link)).unwrap();
        let told = project.refused(&["--overwrite"]);
        assert!(told.contains(&format!("through the symbolic link `linked/{link}`")), "{told}");
        assert_eq!(names(&project.at("folder")), [""; 0]);
        std::fs::remove_dir_all(project.at("linked")).unwrap();
    }
    // A history that names files behind a link.
    project.configure(&["builder"], &[]);
    let history = json!({"key": "k", "steps": [], "files": [{"path": "model/victim", "bytes": 6}]});
    std::fs::remove_dir_all(project.at("out")).unwrap();
    project.write("out/run_history.json", &history.to_string());
    symlink(project.0.path(), project.at("out/model")).unwrap();
    project.run_well(&[]);
    assert!(project.is_theirs("victim"));
}

#[test]
fn names_in_a_model_folder_need_not_be_utf8() {
    let project = Project::new();
    for name in [&b"notes\xff"[..], b"more\xff\n.safetensors"] {
        std::fs::write(project.at("model").join(OsStr::from_bytes(name)), THEIRS).unwrap();
    }
    project.run_well(&[]);
    // It belongs to the model, so its content is in the key.
    assert!(text(&project.run_well(&[]).stderr).contains("is up to date"));
    std::fs::write(project.at("model").join(OsStr::from_bytes(b"more\xff\n.safetensors")), "").unwrap();
    assert!(!text(&project.run_well(&[]).stderr).contains("is up to date"));
}

#[test]
fn files_that_no_run_wrote_stay_unless_they_may_be_overwritten() {
    let project = Project::new();
    for name in ["config.json", "model.onnx", "tokenizer.json", "model_config.json", "run_history.json"] {
        project.write(&format!("out/{name}"), THEIRS);
        let told = project.refused(&[]);
        assert!(told.contains(&format!("overwrite `out/{name}`")) && told.contains("--overwrite"), "{told}");
        assert!(!project.at("cache/passes-v1").exists(), "it is said before anything runs");
        assert!(project.is_theirs(&format!("out/{name}")));
        std::fs::remove_file(project.at("out").join(name)).unwrap();
    }
    project.write("out/model.onnx", THEIRS);
    project.write("out/notes.txt", THEIRS);
    assert_eq!(project.run(&["--dry-run"]).status.code(), Some(2));
    assert!(project.run(&["--dry-run", "--overwrite"]).status.success());
    project.run_well(&["--overwrite"]);
    assert!(project.is_theirs("out/notes.txt") && !project.is_theirs("out/model.onnx"));
    // From now on it is ours, with and without a history.
    project.run_well(&["--set", "passes.builder.config.precision=fp32"]);
    project.run_well(&["--set", "engine.no_artifacts=true"]);
    project.run_well(&["--set", "passes.builder.config.precision=fp32"]);
    // Somebody's model in the folder of the same name.
    project.configure(&["lora", "merge_adapter_weights"], &[]);
    project.write("out/model/model.safetensors", THEIRS);
    let told = project.refused(&[]);
    assert!(told.contains("overwrite `out/model/model.safetensors`"), "{told}");
    assert!(project.is_theirs("out/model/model.safetensors"));
}

#[test]
fn folders_of_others_are_no_output_folders() {
    let project = Project::new();
    std::fs::create_dir_all(project.at("home/user")).unwrap();
    let (home, above) = (project.at("home/user"), project.at("home"));
    let home = home.to_str().unwrap();
    for place in [
        "/",
        "/dev",
        "/dev/../etc",
        "/proc/self",
        home,
        above.to_str().unwrap(),
        "cache",
        "cache/passes-v1/x",
    ] {
        let set = format!("engine.output_dir={place}");
        let mut command = project.command(&["--overwrite", "--set", &set]);
        let output = command.env("HOME", home).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{place}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains("is no folder for a result"), "{}", text(&output.stderr));
    }
    assert_eq!(names(&project.at("home/user")), [""; 0]);
}

#[test]
fn two_runs_with_one_output_folder_leave_one_result_as_a_whole() {
    let project = Project::new();
    let precision = |name: &str| format!("passes.builder.config.precision={name}");
    let (one, other) = (precision("int4"), precision("fp32"));
    let alone = |set: &str, dir: &str| {
        project.run_well(&["--set", set, "--set", &format!("engine.output_dir={dir}")]);
        std::fs::read(project.at(dir).join("model.onnx.data")).unwrap()
    };
    let (of_one, of_other) = (alone(&one, "one"), alone(&other, "other"));
    for _ in 0..10 {
        let _ = std::fs::remove_dir_all(project.at("out"));
        let start = |set: &str| -> Child {
            project.command(&["--set", set]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        };
        for child in [start(&one), start(&other)] {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", text(&output.stderr));
        }
        let data = std::fs::read(project.at("out/model.onnx.data")).unwrap();
        let whole = if data == of_one { "one" } else { "other" };
        assert!(data == of_one || data == of_other);
        for name in ["model.onnx", "genai_config.json"] {
            let read = |dir: &str| std::fs::read(project.at(dir).join(name)).unwrap();
            assert!(read("out") == read(whole), "{name} is of the other run");
        }
        // The history says whose it is.
        let set = if whole == "one" { &one } else { &other };
        assert!(text(&project.run_well(&["--set", set]).stderr).contains("is up to date"));
    }
}

/// Starts a training and does something at its third step.
fn during_training(project: &Project, act: impl FnOnce()) -> Output {
    let steps =
        ["--set", "passes.lora.config.training_args.max_steps=40", "--set", "passes.lora.config.lora_r=4"];
    let mut command = project.command(&steps);
    let mut child =
        command.args(["--log-format", "json"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut told, mut act) = (String::new(), Some(act));
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        let event: Value = serde_json::from_str(&line).unwrap_or_default();
        if event["event"] == "train_step" && event["step"] == 3 {
            act.take().expect("one third step")();
        }
        told = told + &line + "\n";
    }
    assert!(act.is_none(), "the training got to step 3: {told}");
    Output { status: child.wait().unwrap(), stdout: Vec::new(), stderr: told.into_bytes() }
}

#[test]
fn what_is_made_of_a_model_that_changes_meanwhile_is_not_kept() {
    let project = Project::new();
    project.configure(&["lora"], &[]);
    std::fs::copy(rows(), project.at("rows.jsonl")).unwrap();
    let mut config: Value = serde_json::from_slice(&std::fs::read(project.at("c.json")).unwrap()).unwrap();
    config["data_configs"][0]["load_dataset_config"]["params"]["data_files"] = json!("rows.jsonl");
    std::fs::write(project.at("c.json"), config.to_string()).unwrap();
    let weights = project.at("model/model.safetensors");
    let original = std::fs::read(&weights).unwrap();
    let replace = |path: &Path, content: &[u8]| {
        std::fs::write(project.at("new"), content).unwrap();
        std::fs::rename(project.at("new"), path).unwrap();
    };
    let mut other = original.clone();
    *other.last_mut().unwrap() ^= 1;
    let changes: [(&dyn Fn(), &str); 4] = [
        (&|| replace(&weights, &other), "model/model.safetensors"),
        (&|| project.write("rows.jsonl", "{}"), "rows.jsonl"),
        (&|| project.write("model/added_tokens.json", "{}"), "model"),
        (
            &|| std::fs::remove_file(project.at("model/tokenizer_config.json")).unwrap(),
            "model/tokenizer_config.json",
        ),
    ];
    for (change, named) in changes {
        let output = during_training(&project, change);
        assert_eq!(output.status.code(), Some(1), "{named}: {}", text(&output.stderr));
        let told = text(&output.stderr);
        assert!(told.contains(&format!("`{named}` changed while")), "{named}: {told}");
        let kept = names(&project.at("cache/passes-v1/LoRA")).into_iter().filter(|name| !name.contains('.'));
        assert_eq!(kept.count(), 0, "{named}: nothing is kept");
        let partial = project.at("cache/passes-v1/LoRA");
        let partial = names(&partial).into_iter().find(|name| name.ends_with(".partial")).unwrap();
        let output = project.at("cache/passes-v1/LoRA").join(partial).join("output");
        assert!(!names(&output).contains(&"resume".to_owned()), "{named}: nor what to go on from");
        replace(&weights, &original);
        std::fs::copy(rows(), project.at("rows.jsonl")).unwrap();
        let _ = std::fs::remove_file(project.at("model/added_tokens.json"));
        std::fs::copy(base_model().join("tokenizer_config.json"), project.at("model/tokenizer_config.json"))
            .unwrap();
    }
    // A file that is only touched, or copied with its content, is the same.
    let output = during_training(&project, || replace(&weights, &original));
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn a_model_that_is_shortened_ends_the_run_with_its_name() {
    let project = Project::new();
    project.configure(&["lora"], &[]);
    let weights = project.at("model/model.safetensors");
    let shorten = || std::fs::File::options().write(true).open(&weights).unwrap().set_len(100).unwrap();
    let output = during_training(&project, shorten);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let told = text(&output.stderr);
    assert!(told.contains("error: `model/model.safetensors` was shortened while it was read"), "{told}");
    let kept = names(&project.at("cache/passes-v1/LoRA")).into_iter().filter(|name| !name.contains('.'));
    assert_eq!(kept.count(), 0);
}
