//! `olive run` as a user sees it: the pipeline, the cache, the messages, the interruption.

use crate::support::binary::{olive, root, succeed, text};
use crate::support::quickstart::Quickstart;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::Duration;

/// `run` or `cached` per pass, from the closing table on stdout.
fn states(stdout: &str) -> Vec<(String, String)> {
    stdout
        .lines()
        .skip(1)
        .filter(|line| !line.starts_with("output:"))
        .map(|line| {
            let columns: Vec<&str> = line.split_whitespace().collect();
            let state =
                columns.iter().find(|c| **c == "run" || **c == "cached").expect("a state in every row");
            (columns[0].to_owned(), (*state).to_owned())
        })
        .collect()
}

fn run(quickstart: &Quickstart, more: &[&str]) -> Vec<String> {
    let output = succeed(&mut quickstart.run(more));
    states(&text(&output.stdout)).into_iter().map(|(_, state)| state).collect()
}

#[test]
fn the_cache_re_runs_just_what_changed() {
    let quickstart = Quickstart::new(2);
    assert_eq!(run(&quickstart, &[]), ["run", "run", "run"]);
    for file in ["model.onnx", "model.onnx.data", "genai_config.json", "tokenizer.json", "model_config.json"]
    {
        assert!(quickstart.output().join(file).is_file(), "{file} is in the output folder");
    }

    let again = quickstart.run(&[]).output().unwrap();
    assert_eq!(states(&text(&again.stdout)).iter().filter(|(_, s)| s == "cached").count(), 3);
    assert!(text(&again.stderr).contains("is up to date"), "{}", text(&again.stderr));
    let next = format!("try it: olive chat {}", quickstart.output().display());
    assert!(text(&again.stderr).contains(&next), "{}", text(&again.stderr));

    assert_eq!(run(&quickstart, &["passes.builder.config.int4_block_size=64"]), ["cached", "cached", "run"]);
    assert_eq!(run(&quickstart, &["passes.lora.config.lora_r=4"]), ["run", "run", "run"]);
    // Where things lie, and how loud the log is, is not part of a key.
    assert_eq!(run(&quickstart, &["engine.log_severity_level=2"]), ["cached", "cached", "cached"]);
}

/// Copies a folder with new times, as `cp -r` does, the youngest last.
fn copy_folder(from: &Path, to: &Path, youngest: &str) {
    std::fs::create_dir_all(to).unwrap();
    let mut entries: Vec<_> = std::fs::read_dir(from).unwrap().flatten().map(|entry| entry.path()).collect();
    entries.sort_by_key(|path| path.ends_with(youngest));
    for path in entries {
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_folder(&path, &target, youngest);
        } else {
            std::fs::copy(&path, &target).unwrap();
            // The time stamps of files are as coarse as the kernel's clock.
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn a_copied_cache_is_used_and_a_changed_file_is_named_once() {
    let quickstart = Quickstart::new(1);
    run(&quickstart, &[]);
    let (cache, moved) = (quickstart.cache(), quickstart.dir.path().join("moved"));
    for youngest in ["output", "manifest.json"] {
        std::fs::rename(&cache, &moved).unwrap();
        copy_folder(&moved, &cache, youngest);
        std::fs::remove_dir_all(&moved).unwrap();
        let again = succeed(&mut quickstart.run(&[]));
        assert_eq!(states(&text(&again.stdout)).iter().filter(|(_, state)| state == "cached").count(), 3);
        assert!(!text(&again.stderr).contains("changed"), "{}", text(&again.stderr));
    }
    let file = quickstart.artefact("MergeAdapterWeights").join("config.json");
    let right = std::fs::read(&file).unwrap();
    std::fs::write(&file, vec![b' '; right.len()]).unwrap();
    let mut validate = olive();
    validate.args(["validate", "configs/quickstart/olive-config.json"]).args(quickstart.arguments(&[]));
    let plan = text(&succeed(&mut validate).stdout);
    assert!(plan.contains(&format!("to run, as `{}` was changed", file.display())), "{plan}");
    let repaired = succeed(&mut quickstart.run(&[]));
    let told = text(&repaired.stderr);
    let warnings: Vec<&str> = told.lines().filter(|line| line.contains("changed")).collect();
    assert_eq!(warnings.len(), 1, "{told}");
    assert!(warnings[0].starts_with(&format!("warning: `{}`", file.display())), "{told}");
    assert_eq!(std::fs::read(&file).unwrap(), right);
}

#[test]
fn the_closing_table_fits_into_a_terminal_and_leads_to_the_artefacts() {
    let quickstart = Quickstart::new(1);
    let output = quickstart.run(&[]).output().unwrap();
    let table = text(&output.stdout);
    let rows: Vec<&str> = table.lines().take_while(|line| !line.starts_with("output:")).collect();
    assert_eq!(rows.len(), 4, "{table}");
    assert!(rows.iter().all(|row| row.chars().count() <= 80), "{table}");
    for row in &rows[1..] {
        let key = row.split_whitespace().last().unwrap();
        let explained =
            succeed(olive().args(["cache", "explain", key, "--cache-dir"]).arg(quickstart.cache()));
        assert!(text(&explained.stdout).contains("/passes-v1/"), "its folder is shown");
    }
}

#[test]
fn a_changed_byte_of_the_data_trains_again() {
    let quickstart = Quickstart::new(1);
    let data = quickstart.dir.path().join("data.jsonl");
    let rows = std::fs::read_to_string(root().join("datasets/olive-qa.jsonl")).unwrap();
    std::fs::write(&data, &rows).unwrap();
    let set = format!("data_configs.0.load_dataset_config.params.data_files={}", data.display());
    assert_eq!(run(&quickstart, &[&set]), ["run", "run", "run"]);
    assert_eq!(run(&quickstart, &[&set]), ["cached", "cached", "cached"]);
    std::fs::write(&data, rows.replacen('a', "e", 1)).unwrap();
    assert_eq!(run(&quickstart, &[&set]), ["run", "run", "run"]);
}

#[test]
fn stdout_holds_results_only_and_json_events_are_json() {
    let quickstart = Quickstart::new(1);
    let output = succeed(quickstart.run(&[]).args(["--log-format", "json"]));
    let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["steps"].as_array().unwrap().len(), 3);
    let events: Vec<serde_json::Value> =
        text(&output.stderr).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<&str> = events.iter().map(|e| e["event"].as_str().unwrap()).collect();
    for kind in ["pass_started", "train_step", "evaluated", "pass_finished"] {
        assert!(kinds.contains(&kind), "{kind} is told: {kinds:?}");
    }
    // A step is one event: others that tell of progress belong to other phases.
    let begins = |phase: &str| {
        let begun = |event: &serde_json::Value| event["event"] == "phase_started" && event["phase"] == phase;
        events.iter().position(begun).expect("the phase")
    };
    let training = &kinds[begins("train")..];
    let training = &training[..training.iter().position(|kind| *kind == "phase_finished").unwrap()];
    assert_eq!(training.iter().filter(|kind| **kind == "train_step").count(), quickstart.steps);
    assert!(!training.contains(&"phase_progress"), "{training:?}");
}

#[test]
fn the_configuration_is_given_with_or_without_its_option() {
    let file = root().join("configs/quickstart/olive-config.json");
    let run = |arguments: &[&str]| {
        olive().arg("run").args(arguments).arg(&file).current_dir(root()).output().unwrap()
    };
    let (with, without) = (run(&["--dry-run", "--config"]), run(&["--dry-run"]));
    assert!(with.status.success() && with.stdout == without.stdout, "{}", text(&without.stderr));
    let twice = run(&["--config", "other.json"]);
    assert_eq!(twice.status.code(), Some(2));
    assert!(text(&twice.stderr).contains("cannot be used with"), "{}", text(&twice.stderr));
}

#[test]
fn a_dry_run_says_what_would_be_done_and_does_nothing() {
    let quickstart = Quickstart::new(1);
    let before = succeed(quickstart.run(&[]).arg("--dry-run"));
    assert!(text(&before.stdout).contains("to run"), "{}", text(&before.stdout));
    assert!(!quickstart.output().exists());
    run(&quickstart, &[]);
    let after = quickstart.run(&[]).arg("--dry-run").output().unwrap();
    assert!(text(&after.stdout).contains("cached"), "{}", text(&after.stdout));
}

/// Interrupts a training, runs again, and wants the bytes of a training that was never interrupted.
#[test]
fn ctrl_c_exits_130_and_the_next_run_goes_on_from_there() {
    let steps = 12;
    let whole = Quickstart::new(steps);
    run(&whole, &[]);

    let broken = Quickstart::new(steps);
    let mut child = broken.start(&[]);
    let stderr = BufReader::new(child.stderr.take().unwrap());
    let mut interrupted = false;
    for line in stderr.lines() {
        let event: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap_or_default();
        if !interrupted && event["event"] == "train_step" && event["step"] == 3 {
            let pid = child.id().to_string();
            assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
            interrupted = true;
        }
    }
    let status = child.wait().unwrap();
    assert!(interrupted, "the training got to step 3");
    assert_eq!(status.code(), Some(130));

    assert_eq!(run(&broken, &[]), ["run", "run", "run"]);
    assert_eq!(adapter_bytes(&whole), adapter_bytes(&broken));
}

/// A run may be killed after its state was saved and before the adapter that belongs to it.
#[test]
fn a_resumed_training_makes_up_for_the_adapter_that_was_not_saved() {
    let quickstart = Quickstart::new(8);
    let saving = [
        "passes.lora.config.training_args.save_strategy=steps",
        "passes.lora.config.training_args.save_steps=2",
        "passes.lora.config.training_args.evaluation_strategy=no",
    ];
    let mut child = quickstart.start(&saving);
    let pid = child.id().to_string();
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        let event: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap_or_default();
        if event["event"] == "train_step" && event["step"] == 3 {
            assert!(std::process::Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
        }
    }
    assert!(!child.wait().unwrap().success());
    let lora = std::fs::read_dir(quickstart.cache().join("passes-v1/LoRA")).unwrap().flatten();
    let partial =
        lora.map(|entry| entry.path()).find(|path| path.extension().is_some_and(|e| e == "partial"));
    std::fs::remove_dir_all(partial.unwrap().join("output/checkpoints")).unwrap();
    let told = text(&succeed(&mut quickstart.run(&saving)).stderr);
    assert!(told.contains("going on after step"), "{told}");
    let step = told.split("going on after step ").nth(1).unwrap().split(' ').next().unwrap();
    let saved = quickstart.artefact("LoRA").join(format!("checkpoints/checkpoint-{step}"));
    assert!(saved.join("adapter_model.safetensors").is_file(), "{told}");
}

#[test]
fn cleaning_the_cache_leaves_what_a_running_process_works_on() {
    let quickstart = Quickstart::new(30);
    let clean = || {
        let output = succeed(olive().args(["cache", "clean", "--cache-dir"]).arg(quickstart.cache()));
        text(&output.stderr)
    };
    let mut child = quickstart.start(&[]);
    let mut told = String::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        let event: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap_or_default();
        if event["event"] == "train_step" && event["step"] == 2 {
            told = clean();
        }
    }
    assert!(child.wait().unwrap().success(), "the run does not notice");
    assert!(told.contains("is left: another process") && told.contains("removed 0 artefacts"), "{told}");
    assert!(clean().contains("removed 3 artefacts"));
    assert!(!quickstart.cache().join("passes-v1").exists());
}

fn adapter_bytes(quickstart: &Quickstart) -> Vec<u8> {
    std::fs::read(quickstart.artefact("LoRA").join("adapter_model.safetensors")).unwrap()
}

#[test]
fn errors_are_events_for_a_program() {
    for verb in [&["run", "--config", "no-such-file.json"][..], &["validate", "no-such-file.json"]] {
        let output = olive().args(verb).args(["--log-format", "json"]).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let event: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
        assert_eq!(event["event"], "error");
        assert!(event["message"].as_str().unwrap().contains("no-such-file.json"));
        assert!(event["hint"].is_string());
    }
}

#[test]
fn a_device_that_this_build_cannot_use_is_a_usage_error() {
    let quickstart = Quickstart::new(1);
    for device in ["gpu", if olive_core::device::built_with_cuda() { "tpu" } else { "cuda" }] {
        let output = quickstart.run(&[]).args(["--device", device]).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains(&format!("--device {device}")), "{}", text(&output.stderr));
    }
}

#[test]
fn a_failure_has_a_message_a_hint_and_an_exit_code() {
    let missing = olive().args(["run", "--config", "no-such-file.json"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(2));
    assert!(text(&missing.stderr).contains("hint:"), "{}", text(&missing.stderr));

    let quickstart = Quickstart::new(1);
    let no_model = quickstart
        .run(&["input_model.config.hf_config.model_name=./no-such-model"])
        .arg("--offline")
        .output()
        .unwrap();
    assert_eq!(no_model.status.code(), Some(2));
    assert!(text(&no_model.stderr).contains("no-such-model"), "{}", text(&no_model.stderr));
    assert!(no_model.stdout.is_empty());
}
