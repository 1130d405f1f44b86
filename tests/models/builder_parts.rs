//! ModelBuilder when less than a whole model is asked for: the first layers, other file names, metadata alone.

use crate::support::binary::{generated, run_configuration, text};
use crate::support::models::read_json;
use crate::support::quickstart::{Quickstart, base_model};
use olive_onnx::proto::ModelProto;
use prost::Message;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Output;
use tempfile::TempDir;

/// Runs ModelBuilder with fp32 weights and these options on this model; the result goes to `output`.
fn build(dir: &TempDir, input: Value, options: Value, output: &str) -> Output {
    let mut builder = json!({"type": "ModelBuilder", "precision": "fp32"});
    builder.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    let config = json!({
        "input_model": input, "passes": {"builder": builder},
        "output_dir": dir.path().join(output), "cache_dir": dir.path().join("cache"),
    });
    run_configuration(dir.path(), &config)
}

fn build_well(dir: &TempDir, input: Value, options: Value, output: &str) -> PathBuf {
    let made = build(dir, input, options, output);
    assert!(made.status.success(), "{}", text(&made.stderr));
    dir.path().join(output)
}

fn hugging_face() -> Value {
    json!({"type": "HfModel", "model_path": base_model()})
}

fn onnx(dir: &Path) -> Value {
    json!({"type": "ONNXModel", "model_path": dir})
}

fn names(dir: &Path) -> BTreeSet<String> {
    std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn the_first_layers_are_a_model_and_files_can_have_other_names() {
    let dir = tempfile::tempdir().unwrap();
    let options = json!({"extra_options": {"num_hidden_layers": 1, "filename": "part.onnx"}});
    let part = build_well(&dir, hugging_face(), options, "part");
    let files = names(&part);
    assert!(files.contains("part.onnx") && files.contains("part.onnx.data"), "{files:?}");
    assert!(!files.iter().any(|name| name.starts_with("model.onnx")), "{files:?}");
    let decoder = &read_json(&part.join("genai_config.json"))["model"]["decoder"];
    assert_eq!(decoder["filename"], "part.onnx");
    assert_eq!(decoder["num_hidden_layers"], 1);
    assert_eq!(read_json(&part.join("model_config.json"))["config"]["onnx_file_name"], "part.onnx");
    let model = ModelProto::decode(&*std::fs::read(part.join("part.onnx")).unwrap()).unwrap();
    let caches = model.graph.unwrap().input.into_iter().filter(|i| i.name.starts_with("past_key_values"));
    assert_eq!(caches.count(), 2);

    // The float model that has no other layers says the same.
    let float = dir.path().join("float");
    std::fs::create_dir(&float).unwrap();
    for name in names(&base_model()) {
        std::fs::copy(base_model().join(&name), float.join(&name)).unwrap();
    }
    let mut config = read_json(&base_model().join("config.json"));
    config["num_hidden_layers"] = json!(1);
    std::fs::write(float.join("config.json"), config.to_string()).unwrap();
    assert_eq!(generated(&part, &[]), generated(&float, &[]));
    assert_ne!(generated(&part, &[]), generated(&base_model(), &[]));

    let refused = build(&dir, hugging_face(), json!({"extra_options": {"num_hidden_layers": 99}}), "more");
    assert!(!refused.status.success());
    let message = text(&refused.stderr);
    assert!(message.contains("`num_hidden_layers` is 99, and the model has"), "{message}");
}

#[test]
fn layers_that_are_not_there_are_found_before_a_training() {
    let quickstart = Quickstart::new(1);
    let output =
        quickstart.run(&["passes.builder.config.extra_options.num_hidden_layers=99"]).output().unwrap();
    assert!(!output.status.success());
    let message = text(&output.stderr);
    assert!(message.contains("`num_hidden_layers` is 99, and the model has"), "{message}");
    assert!(!quickstart.cache().join("passes-v1/LoRA").exists());
}

/// What an ONNX folder by others holds: the graph, its weights, the model's own configuration and tokenizer.
fn bare(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    let ours = ["genai_config.json", "model_config.json", "run_history.json", ".olive"];
    for name in names(from).iter().filter(|name| !ours.contains(&name.as_str())) {
        std::fs::copy(from.join(name), to.join(name)).unwrap();
    }
}

#[test]
fn metadata_is_written_for_an_onnx_model() {
    let dir = tempfile::tempdir().unwrap();
    let whole = build_well(&dir, hugging_face(), json!({}), "whole");
    let model = dir.path().join("bare");
    bare(&whole, &model);
    std::fs::write(model.join("poem.onnx_adapter"), "weights").unwrap();
    std::fs::write(model.join("notes.txt"), "mine").unwrap();

    let made = build_well(&dir, onnx(&model), json!({"metadata_only": true}), "made");
    let mut expected = names(&whole);
    expected.insert("poem.onnx_adapter".into());
    assert_eq!(names(&made), expected);
    for name in ["model.onnx", "model.onnx.data", "tokenizer.json"] {
        assert!(
            std::fs::read(whole.join(name)).unwrap() == std::fs::read(made.join(name)).unwrap(),
            "{name}"
        );
    }
    let mut config = read_json(&whole.join("genai_config.json"));
    config["search"]["past_present_share_buffer"] = json!(false);
    assert_eq!(read_json(&made.join("genai_config.json")), config);
    assert_eq!(generated(&made, &[]), generated(&whole, &[]));

    // A file stands for its folder, and the graph for its own name.
    for name in ["model.onnx", "model.onnx.data"] {
        std::fs::rename(model.join(name), model.join(name.replace("model.onnx", "poem.onnx"))).unwrap();
    }
    let refused = build(&dir, onnx(&model), json!({"metadata_only": true}), "damaged");
    let message = text(&refused.stderr);
    assert!(!refused.status.success() && message.contains("model.onnx.data"), "{message}");
    std::fs::rename(model.join("poem.onnx.data"), model.join("model.onnx.data")).unwrap();
    let renamed = build_well(
        &dir,
        onnx(&model.join("poem.onnx")),
        json!({"extra_options": {"config_only": true}}),
        "renamed",
    );
    assert_eq!(read_json(&renamed.join("genai_config.json"))["model"]["decoder"]["filename"], "poem.onnx");
    assert_eq!(generated(&renamed, &[]), generated(&whole, &[]));
}

#[test]
fn graphs_that_the_metadata_would_not_fit_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let part = build_well(&dir, hugging_face(), json!({"extra_options": {"num_hidden_layers": 1}}), "part");
    let model = dir.path().join("bare");
    bare(&part, &model);
    let refuse = |options: Value| {
        let refused = build(&dir, onnx(&model), options, "made");
        assert!(!refused.status.success());
        text(&refused.stderr)
    };
    // The configuration still counts all layers.
    let message = refuse(json!({"metadata_only": true}));
    assert!(message.contains("the caches of 1 layers") && message.contains("num_hidden_layers"), "{message}");
    let message = refuse(json!({"metadata_only": true, "exclude_embeds": true,
        "extra_options": {"num_hidden_layers": 1}}));
    assert!(message.contains("no input or output `inputs_embeds`"), "{message}");
    let options = json!({"metadata_only": true, "extra_options": {"num_hidden_layers": 1}});
    build_well(&dir, onnx(&model), options.clone(), "fits");

    std::fs::copy(model.join("model.onnx"), model.join("other.onnx")).unwrap();
    let message = refuse(options);
    assert!(message.contains("`filename` must say which of model.onnx, other.onnx is meant"), "{message}");
    let message = refuse(json!({"metadata_only": true, "extra_options": {"filename": "third.onnx"}}));
    assert!(message.contains("there is no `third.onnx`"), "{message}");
    // Without the option an ONNX model is no input.
    assert!(refuse(json!({})).contains("the model is an ONNX model already"));
}

#[test]
fn metadata_of_a_hugging_face_model_is_all_but_the_graph() {
    let dir = tempfile::tempdir().unwrap();
    let whole = build_well(&dir, hugging_face(), json!({}), "whole");
    let made = build_well(&dir, hugging_face(), json!({"metadata_only": true}), "made");
    let mut expected = names(&whole);
    assert!(expected.remove("model.onnx") && expected.remove("model.onnx.data"));
    assert_eq!(names(&made), expected);
}
