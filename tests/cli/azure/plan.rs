//! What is planned, and refused before it runs.

use super::{COMPLETE, DATA, edited, errors, run, run_in};
use crate::support::binary::root;
use crate::support::shared::shared;
use serde_json::{Value, json};

#[test]
fn the_plan_says_what_runs_where_and_in_how_many_jobs() {
    for verb in [&["validate", "--strict", "c.json"][..], &["run", "--dry-run", "c.json"]] {
        let outcome = run(verb, COMPLETE);
        assert_eq!(outcome.code, Some(0), "{}", outcome.err);
        let lines: Vec<&str> = outcome.out.lines().map(str::trim).collect();
        let hosts =
            lines.iter().filter(|line| **line == "host    aml (AzureML, compute gpu-cluster)").count();
        assert_eq!(hosts, 3, "every step says where it runs: {}", outcome.out);
        assert!(lines.contains(&"jobs    1: lora, merge, builder on aml"), "{}", outcome.out);
        assert!(lines.contains(&"cache   to run"), "{}", outcome.out);
        assert!(outcome.out.contains("from azureml://datastores/store/paths/rows.jsonl"), "{}", outcome.out);
    }
    let document: Value =
        serde_json::from_str(&run(&["validate", "--json", "c.json"], COMPLETE).out).expect("JSON");
    let job =
        json!({"host": "aml", "compute": "gpu-cluster", "flow": 0, "passes": ["lora", "merge", "builder"]});
    assert_eq!((&document["jobs"], &document["errors"]), (&json!([job]), &json!([])));
    assert_eq!(document["flows"][0]["steps"][1]["host"], "aml");
}

#[test]
fn consecutive_passes_with_one_host_are_one_job() {
    let jobs = |edits: &[(&str, &str)]| -> Vec<Value> {
        let outcome = run(&["validate", "--json", "c.json"], &edited(edits));
        let document: Value = serde_json::from_str(&outcome.out).expect("JSON");
        assert_eq!((outcome.code, &document["errors"]), (Some(0), &json!([])), "{}", outcome.err);
        let jobs = document["jobs"].as_array().expect("a list");
        jobs.iter().map(|job| json!([job["host"], job["flow"], job["passes"]])).collect()
    };
    let merge = r#""MergeAdapterWeights""#;
    let on = |host: &str| format!(r#"{merge}, "host": {host}"#);
    let other = jobs(&[(merge, &on("\"other\""))]);
    assert_eq!(
        other,
        [json!(["aml", 0, ["lora"]]), json!(["other", 0, ["merge"]]), json!(["aml", 0, ["builder"]])]
    );
    let here = jobs(&[(merge, &on(r#"{"type": "LocalSystem"}"#))]);
    assert_eq!(here, [json!(["aml", 0, ["lora"]]), json!(["aml", 0, ["builder"]])]);
    let flows = [(
        r#""host": "aml", "#,
        r#""host": "aml", "pass_flows": [["lora", "merge"], ["lora", "builder"]], "#,
    )];
    assert_eq!(jobs(&flows), [json!(["aml", 0, ["lora", "merge"]]), json!(["aml", 1, ["lora", "builder"]])]);
    assert_eq!(jobs(&[(r#""host": "aml", "#, ""), (DATA, "\"rows.jsonl\"")]), [] as [Value; 0]);

    let outcome = run(&["validate", "c.json"], &edited(&[(merge, &on(r#"{"type": "LocalSystem"}"#))]));
    assert!(outcome.out.contains("jobs    2: lora on aml; builder on aml"), "{}", outcome.out);
    assert!(outcome.out.contains("host    passes.merge.host (LocalSystem)"), "{}", outcome.out);
}

/// Before anything is fetched or written.
#[test]
fn a_run_without_a_network_is_refused_with_the_way_out() {
    let outcome = run(&["run", "--offline", "c.json"], COMPLETE);
    assert_eq!(outcome.code, Some(2));
    let lines: Vec<&str> = outcome.err.lines().skip_while(|line| !line.starts_with("error")).collect();
    assert_eq!(
        lines,
        [
            "error: nothing here runs passes on `aml` (AzureML, compute gpu-cluster)",
            "  hint: run every pass on this machine with --local"
        ]
    );
}

#[test]
fn other_systems_stay_refused() {
    let outcome =
        run(&["validate", "c.json"], &edited(&[(r#""host": "aml""#, r#""host": {"type": "Docker"}"#)]));
    assert_eq!(outcome.code, Some(2));
    assert!(outcome.err.contains("passes cannot run on remote systems yet"), "{}", outcome.err);
}

#[test]
fn files_that_jobs_are_given_must_be_there_for_a_run() {
    let docker = r#""aml_docker_config": {"base_image": "registry.example/cuda:12"}"#;
    let conda = r#""aml_docker_config": {"base_image": "i", "conda_file_path": "conda.yaml"}"#;
    let build = r#""aml_docker_config": {"build_context_path": "context", "dockerfile": "Dockerfile"}"#;
    for (to, expected) in [
        (r#""aml_docker_config": {"base_image": "i"}"#.to_owned(), None),
        (conda.to_owned(), None),
        (
            format!(r#"{conda}, "build_conda_env": true"#),
            Some("`conda_file_path` of the system `aml` is `conda.yaml`"),
        ),
        (build.to_owned(), Some("`dockerfile` of the system `aml` is `context/Dockerfile`")),
    ] {
        let lenient = run(&["validate", "c.json"], &edited(&[(docker, &to)]));
        assert_eq!(lenient.code, Some(0), "{}", lenient.err);
        let strict = run(&["validate", "--strict", "c.json"], &edited(&[(docker, &to)]));
        assert_eq!(strict.code, Some(if expected.is_some() { 2 } else { 0 }), "{to}: {}", strict.err);
        assert!(
            expected.is_none_or(|text| lenient.err.contains(text) && strict.err.contains(text)),
            "{}",
            strict.err
        );
    }
}

/// The documented files, and those of others, as they are and with names in the place of placeholders.
#[test]
fn documented_files_list_their_placeholders_and_are_planned_once_these_are_filled_in() {
    let own = ["configs/phi3-lora.json", "configs/phi3-qlora.json"].map(|file| root().join(file));
    let shared = [shared("seed"), shared("configs")].into_iter().flatten().flat_map(|folder| {
        let files = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
        files.filter(|file| file.extension().is_some_and(|extension| extension == "json")).collect::<Vec<_>>()
    });
    let fill = |text: &str| {
        let keys = [
            ("subscription_id", "5e0a1c7e-0b1d-4c1e-9b57-3f5c9f2f7a10"),
            ("resource_group", "rg-ml"),
            ("workspace_name", "ml-west"),
            ("keyvault_name", "ml-vault"),
            ("aml_compute", "gpu-cluster"),
            ("relative_path", "train/rows.jsonl"),
        ];
        let line = |line: &str| {
            let key = line.trim().split('"').nth(1).unwrap_or_default().to_owned();
            match keys.iter().find(|(name, _)| *name == key) {
                Some((_, value)) => {
                    let comma = if line.trim_end().ends_with(',') { "," } else { "" };
                    format!("\"{key}\": \"{value}\"{comma}")
                }
                None => line.to_owned(),
            }
        };
        text.lines().map(line).collect::<Vec<_>>().join("\n")
    };
    let mut seen = 0;
    for file in own.into_iter().chain(shared) {
        let text = std::fs::read_to_string(&file).expect("the configuration is read");
        if !text.contains("AzureML") {
            continue;
        }
        seen += 1;
        let told = errors(&text);
        let placeholders = told.iter().filter(|line| line.ends_with("is a placeholder")).count();
        let foreign = told.iter().filter(|line| line.contains("are not implemented")).count();
        assert!(placeholders > 4 && placeholders + foreign == told.len(), "{}: {told:?}", file.display());
        if foreign > 0 {
            assert_eq!(errors(&fill(&text)).len(), foreign, "{}", file.display());
            continue;
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("c.json"), fill(&text)).expect("written");
        let outcome = run_in(folder.path(), &["validate", "--strict", "c.json"]);
        assert_eq!(outcome.code, Some(0), "{}: {}", file.display(), outcome.err);
        assert!(outcome.out.contains("  jobs    1: "), "{}", outcome.out);
    }
    assert!(seen >= 2, "{seen} files");
}
