//! `olive data`, and what plans and runs say of conversations.

use crate::support::binary::{olive, text};
use crate::support::quickstart::{Quickstart, base_model};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// A conversation of a question and an answer.
fn row(question: &str, answer: &str) -> Value {
    json!({"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]})
}

fn write(dir: &Path, rows: &[Value]) -> PathBuf {
    let path = dir.join("talk.jsonl");
    std::fs::write(&path, rows.iter().map(|row| row.to_string() + "\n").collect::<String>()).unwrap();
    path
}

/// Standard output of `olive data`, which ends well.
fn data(arguments: &[&str]) -> String {
    let output = olive().arg("data").args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn what_will_be_learned_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let broken = json!({"messages": [{"role": "user", "content": "And now?"}]});
    let long = "The path goes past the mill and over the bridge. ".repeat(4);
    let rows = [row("Is the kettle warm?", "Yes."), broken, row("Where does the path go?", &long)];
    let file = write(dir.path(), &rows);
    let (file, model) = (file.to_str().unwrap(), base_model());
    let arguments = [file, "--model", model.to_str().unwrap(), "--set", "max_seq_len=64"];

    let shown = data(&arguments);
    assert!(shown.contains("data (training): messages"), "{shown}");
    assert!(shown.contains("3, of which 1 cannot be learned"), "{shown}");
    assert!(shown.contains("talk.jsonl`, line 2: there is no message of the assistant"), "{shown}");
    // In a pipe what counts stands between signs, without colours.
    assert!(shown.contains("Is the kettle warm?") && shown.contains("⟦Yes."), "{shown}");
    assert!(!shown.contains('\u{1b}') && shown.contains('█'), "{shown}");

    let document: Value = serde_json::from_str(&data(&[&arguments[..], &["--json"]].concat())).unwrap();
    let found = &document["data"][0];
    assert_eq!((&found["format"], &found["loss_on"]), (&"messages".into(), &"assistant".into()));
    assert_eq!((&found["rows"], &found["rows_longer"], &found["samples"]), (&3.into(), &1.into(), &2.into()));
    assert_eq!(found["bad_rows"][0]["number"], 2);
    let number = |key: &str| found[key].as_u64().unwrap();
    assert!(number("tokens_in_loss") < number("tokens") && number("longest") > 64, "{found}");
    let binned: u64 =
        found["lengths"].as_array().unwrap().iter().map(|bin| bin["rows"].as_u64().unwrap()).sum();
    assert_eq!(binned, 2);
    let pieces = found["examples"][0].as_array().unwrap();
    let learned: String = pieces
        .iter()
        .filter(|piece| piece["weight"] == 1.0)
        .map(|piece| piece["text"].as_str().unwrap())
        .collect();
    assert!(learned.starts_with("Yes.") && !learned.contains("kettle"), "{pieces:?}");

    let output = olive().args(["data", file]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--model"), "{}", text(&output.stderr));
}

#[test]
fn plans_name_the_format_and_bad_rows_stop_a_run_before_it_starts() {
    let quickstart = Quickstart::new(1);
    let rows: Vec<Value> = (0..8).map(|i| row(&format!("Is it {i}?"), &format!("It is {i}."))).collect();
    let file = write(quickstart.dir.path(), &rows);
    let mut passes = Quickstart::configuration(&["lora"])["passes"].clone();
    passes["lora"]["config"]["training_args"]["max_steps"] = 1.into();
    let overrides = |more: &[&str]| {
        let data = "data_configs.0";
        let mut set = vec![
            format!("passes={passes}"),
            format!("{data}.load_dataset_config.params.data_files={}", file.display()),
            format!("{data}.pre_process_data_config.params={{\"format\": \"auto\", \"max_seq_len\": 64}}"),
        ];
        set.extend(more.iter().map(|one| format!("{data}.pre_process_data_config.params.{one}")));
        set
    };
    let run = |more: &[&str], arguments: &[&str]| {
        let set = overrides(more);
        let set: Vec<&str> = set.iter().map(String::as_str).collect();
        quickstart.run(&set).args(arguments).output().unwrap()
    };
    let plan = run(&[], &["--dry-run"]);
    assert!(text(&plan.stdout).contains(", conversations as messages"), "{}", text(&plan.stdout));

    let mut broken = rows;
    broken[5]["messages"][1]["role"] = "narrator".into();
    broken[6]["messages"][1]["content"] = "".into();
    write(quickstart.dir.path(), &broken);
    let refused = run(&[], &[]);
    let told = text(&refused.stderr);
    assert!(!refused.status.success());
    assert!(told.contains("talk.jsonl`, line 6: message 2 has the role `narrator`"), "{told}");
    assert!(told.contains("2 of 8 rows") && told.contains("bad_rows: skip"), "{told}");
    assert!(!quickstart.cache().join("passes-v1").exists(), "nothing was run");

    let skipped = run(&["bad_rows=skip"], &[]);
    let told = text(&skipped.stderr);
    assert!(skipped.status.success(), "{told}");
    assert!(
        told.contains("2 of 8 rows are left out") && told.contains("messages, 6 rows, loss on assistant"),
        "{told}"
    );
}
