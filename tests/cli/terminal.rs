//! What a run says on a terminal, which `script` of util-linux makes.
#![cfg(target_os = "linux")]

use crate::azure::COMPLETE;
use crate::support::binary::{root, text};
use crate::support::quickstart::Quickstart;
use std::process::{Command, Stdio};

const STEPS: [&str; 2] = ["step 2/4  loss ", "step 4/4  loss "];

/// Everything that reaches a terminal of this kind from four steps of the quickstart.
fn told(terminal: Option<&str>) -> String {
    let quickstart = Quickstart::new(4);
    let arguments = [
        "passes.lora.config.training_args.logging_steps=2",
        "passes.lora.config.training_args.eval_steps=4",
        "passes.lora.config.training_args.fp16=true",
    ];
    let run = format!(
        "'{}' run --config configs/quickstart/olive-config.json {}",
        assert_cmd::cargo::cargo_bin("olive").display(),
        quickstart.arguments(&arguments).join(" "),
    );
    let mut command = Command::new("script");
    command.args(["-qec", &run, "/dev/null"]).current_dir(root()).stdin(Stdio::null()).env_remove("TERM");
    command.envs(terminal.map(|name| ("TERM", name)));
    let output = command.output().expect("`script` starts");
    assert!(output.status.success(), "{}", text(&output.stdout));
    text(&output.stdout)
}

#[test]
fn a_terminal_without_a_cursor_gets_the_lines_of_a_pipe() {
    for terminal in [Some("dumb"), None] {
        let told = told(terminal);
        for line in ["[1/3] lora (LoRA)", STEPS[0], STEPS[1], "step 4: eval loss", "warning: "] {
            assert!(told.contains(line), "{terminal:?}: {line}: {told}");
        }
        assert!(!told.contains('\u{1b}'), "nothing moves the cursor");
    }
}

/// Whatever is longer than a line of the terminal goes on below, where it belongs.
#[test]
fn the_plan_fits_a_terminal_of_80_columns() {
    for (file, columns) in [("smollm2-lora", 80), ("phi3-qlora-int4", 80), ("smollm2-qlora", 100)] {
        let validate = format!(
            "stty cols {columns} rows 24; '{}' validate --local configs/{file}.json",
            assert_cmd::cargo::cargo_bin("olive").display()
        );
        let mut command = Command::new("script");
        command.args(["-qec", &validate, "/dev/null"]).current_dir(root()).stdin(Stdio::null());
        let told = text(&command.env("TERM", "dumb").output().expect("`script` starts").stdout);
        assert!(told.contains("training_args.learning_rate"), "{told}");
        for line in told.lines() {
            assert!(line.chars().count() <= columns, "{line}");
        }
    }
}

/// So does one whose passes run elsewhere, on data with a long address.
#[test]
fn the_plan_of_jobs_fits_a_terminal_of_80_columns() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("c.json"), COMPLETE).expect("written");
    let workspace =
        "subscriptions/5e0a1c7e-0b1d-4c1e-9b57-3f5c9f2f7a10/resourcegroups/rg-ml/workspaces/ml-west";
    let validate = format!(
        "stty cols 80 rows 24; '{}' validate c.json --set \
         data_configs.rows.load_dataset_config.data_files=azureml://{workspace}/datastores/store/paths/rows.jsonl",
        assert_cmd::cargo::cargo_bin("olive").display()
    );
    let mut command = Command::new("script");
    command.args(["-qec", &validate, "/dev/null"]).current_dir(folder.path()).stdin(Stdio::null());
    let told = text(&command.env("TERM", "dumb").output().expect("`script` starts").stdout);
    let lines: Vec<&str> = told.lines().skip_while(|line| !line.starts_with("c.json: ")).collect();
    assert!(lines.contains(&"  jobs    1: lora, merge, builder on aml"), "{told}");
    assert!(lines.iter().any(|line| line.contains("azureml://datastores/store/paths/rows.jsonl")), "{told}");
    assert_eq!(lines.iter().find(|line| line.chars().count() > 80), None);
}

#[test]
fn losses_stay_above_the_bar() {
    let told = told(Some("xterm"));
    assert!(told.contains('\u{1b}') && told.contains("train ━"), "a bar was drawn: {told}");
    for line in STEPS {
        let position = told.find(line).unwrap_or_else(|| panic!("{line}: {told}"));
        let rest = &told[position..];
        assert!(rest[..rest.find("left").expect("the rest of the line")].contains("  lr "), "{told}");
    }
    assert!(!told.contains("step 1/4  loss") && told.contains("warning: "), "{told}");
}
