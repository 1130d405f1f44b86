//! Which files are pushed.

use super::hub::{Hub, WRITER};
use super::{content, failure, model, push, push_with, pushed};
use crate::support::binary::{succeed, text};
use std::os::unix::fs::symlink;
use std::path::Path;

fn write(dir: &Path, names: &[&str]) {
    for name in names {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, name).unwrap();
    }
}

fn names(hub: &Hub) -> Vec<String> {
    pushed(hub, "main").into_keys().collect()
}

#[test]
fn secrets_and_what_belongs_to_no_model_stay_here() {
    let (hub, model) = (Hub::serve(), model());
    let expected = content(model.path());
    let private = [
        ".env",
        ".git/config",
        ".olive/runs/x/run.json",
        ".olive-partial-x",
        "server.pem",
        "id_ed25519",
        "hf_token",
        "checkpoint-20/model.safetensors",
        "optimizer.pt",
        "model.safetensors.tmp",
        "__pycache__/x.pyc",
        "onnx/.cache/x",
    ];
    write(model.path(), &private);
    let output = succeed(&mut push_with(WRITER, &hub, model.path(), &[]));
    assert_eq!(pushed(&hub, "main"), expected);
    let said = text(&output.stderr);
    for name in [".env", ".git/", "server.pem", "checkpoint-20/", "onnx/.cache/"] {
        assert!(said.contains(name), "{name}: {said}");
    }
    let told = push(&hub, model.path(), &["--dry-run"]);
    for line in [
        "left out: .olive/ (hidden)",
        "left out: hf_token (may be a secret)",
        "left out: checkpoint-20/ (state of a training)",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    push(&hub, model.path(), &["--include", "*"]);
    let mut all: Vec<String> = expected.into_keys().collect();
    all.extend(["checkpoint-20/model.safetensors", "optimizer.pt"].map(str::to_owned));
    all.sort();
    assert_eq!(names(&hub), all, "whoever asks for states of the training gets them, and no secrets");
}

#[test]
fn patterns_choose() {
    let (hub, model) = (Hub::serve(), model());
    write(model.path(), &["onnx/a.json", "onnx/b.txt"]);
    push(&hub, model.path(), &["--include", "onnx/", "--include", "config.json", "--exclude", "*.txt"]);
    assert_eq!(names(&hub), ["config.json", "onnx/a.json"]);
    let (code, said) = failure(&mut push_with(WRITER, &hub, model.path(), &["--include", "*.gguf"]));
    assert!(code == Some(1) && said.contains("nothing to push"), "{said}");
    let (code, said) = failure(&mut push_with(WRITER, &hub, model.path(), &["--include", "[x"]));
    assert!(code == Some(2) && said.contains("is no pattern"), "{said}");
}

#[test]
fn of_an_output_folder_the_result_goes_with_its_card() {
    let dir = tempfile::tempdir().unwrap();
    let onnx = dir.path().join("onnx");
    write(
        &onnx,
        &[
            "genai_config.json",
            "model.onnx",
            "README.md",
            "report.html",
            "model_config.json",
            "run_history.json",
        ],
    );
    write(&onnx, &["adapter/adapter_config.json", "merged/model.safetensors", ".olive/runs/x/run.json"]);
    let hub = Hub::serve();
    push(&hub, &onnx, &[]);
    assert_eq!(names(&hub), ["README.md", "genai_config.json", "model.onnx"]);

    let adapter = dir.path().join("adapter-run");
    write(&adapter, &["adapter/adapter_model.safetensors", "README.md", "report.html", "run_history.json"]);
    std::fs::write(adapter.join("model_config.json"), r#"{"config": {"adapter_path": "adapter"}}"#).unwrap();
    std::fs::write(
        adapter.join("adapter/adapter_config.json"),
        r#"{"base_model_name_or_path": "/home/ada/base"}"#,
    )
    .unwrap();
    let hub = Hub::serve();
    let output = succeed(&mut push_with(WRITER, &hub, &adapter, &[]));
    assert_eq!(names(&hub), ["README.md", "adapter_config.json", "adapter_model.safetensors"]);
    assert!(text(&output.stderr).contains("names its base by a path of this machine, `/home/ada/base`"));

    let merged = dir.path().join("merged-run");
    write(
        &merged,
        &["adapter/adapter_config.json", "model/config.json", "model/model.safetensors", "README.md"],
    );
    std::fs::write(merged.join("model_config.json"), r#"{"config": {"model_path": "model"}}"#).unwrap();
    let hub = Hub::serve();
    push(&hub, &merged, &[]);
    assert_eq!(names(&hub), ["README.md", "config.json", "model.safetensors"]);

    let file = dir.path().join("tiny-Q8_0.gguf");
    std::fs::write(&file, [0; 9]).unwrap();
    let hub = Hub::serve();
    push(&hub, &file, &[]);
    assert_eq!(names(&hub), ["tiny-Q8_0.gguf"]);
}

#[test]
fn links_lead_out_of_the_folder_only_if_somebody_says_so() {
    let (hub, model, elsewhere) = (Hub::serve(), model(), tempfile::tempdir().unwrap());
    let secret = elsewhere.path().join("passwd");
    std::fs::write(&secret, "theirs").unwrap();
    let link = model.path().join("vocab.txt");
    symlink("config.json", model.path().join("copy.json")).unwrap();
    for (target, place) in [
        (secret.as_path(), "out of the folder"),
        (Path::new("gone"), "nowhere"),
        (elsewhere.path(), "to a folder"),
        (Path::new("/dev/zero"), "to what is no file"),
        (Path::new(".env"), "to a file that is not pushed"),
    ] {
        write(model.path(), &[".env"]);
        let _ = std::fs::remove_file(&link);
        symlink(target, &link).unwrap();
        let (code, said) = failure(&mut push_with(WRITER, &hub, model.path(), &[]));
        assert!(code == Some(1) && said.contains(&format!("symbolic link, and leads {place}")), "{said}");
    }
    assert_eq!(hub.requests(), Vec::<String>::new(), "before anything is sent");
    std::fs::remove_file(&link).unwrap();
    symlink(&secret, &link).unwrap();
    push(&hub, model.path(), &["--exclude", "vocab.txt"]);
    assert!(!names(&hub).contains(&"vocab.txt".to_owned()));
    push(&hub, model.path(), &["--follow-links"]);
    let files = pushed(&hub, "main");
    assert_eq!((files["vocab.txt"].as_slice(), &files["copy.json"]), (&b"theirs"[..], &files["config.json"]));
}

#[test]
fn a_text_with_a_token_in_it_is_not_pushed() {
    let (hub, model) = (Hub::serve(), model());
    let other = format!("hf_{}", "aB3".repeat(12));
    for token in [WRITER, &other] {
        std::fs::write(model.path().join("notes.txt"), format!("token={token}\n")).unwrap();
        let (code, said) = failure(&mut push_with(WRITER, &hub, model.path(), &[]));
        assert!(code == Some(1) && said.contains("token of the hub") && said.contains("notes.txt"), "{said}");
    }
    let state = hub.state();
    assert!(state.objects.is_empty() && state.repos["ada/tiny"].commits.len() == 1, "nothing was sent");
}
