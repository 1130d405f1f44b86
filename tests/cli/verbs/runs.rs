//! Verbs that do their work.

use super::{folder, line, well};
use crate::support::tiny_model;
use safetensors::SafeTensors;
use std::path::Path;

#[test]
fn finetune_trains_and_its_configuration_runs_again() {
    let dir = folder();
    let finetune = "finetune -m model -d json --data_files rows.jsonl --text_field text --max_steps 2 --batch_size 1 \
                    --max_seq_len 32 --lora_r 4 --torch_dtype float32 -o out --save_config_file";
    let outcome = well(dir.path(), finetune);
    assert_eq!(outcome.out.lines().last(), Some("output: out"), "{}", outcome.out);
    for file in ["report.html", "config.json", "model_config.json", "adapter/adapter_model.safetensors"] {
        assert!(dir.path().join("out").join(file).is_file(), "{file}");
    }
    let again = well(dir.path(), "run --config out/config.json");
    assert!(again.out.contains("cached"), "{}", again.out);
    let converted = well(dir.path(), "convert-adapters -a out -o a");
    assert_eq!(converted.out, "output: a.onnx_adapter\n");
    // The adapter lies on its model, is found by the next verb, and stays apart from the graph.
    let optimised =
        well(dir.path(), "auto-opt -m out --precision int4 --use_model_builder -o next --save_config_file");
    assert!(optimised.err.contains("`adapters: separate`"), "{}", optimised.err);
    assert!(dir.path().join("next/adapter_weights.onnx_adapter").is_file());
    let next = super::config(&dir.path().join("next/olive-config.json"));
    assert_eq!(next["passes"]["extract_adapters"]["type"], "ExtractAdapters");
    assert_eq!(next["input_model"]["config"]["adapter_path"], "out/adapter");
}

#[test]
fn capture_onnx_graph_builds_a_model() {
    let dir = folder();
    let capture =
        "capture-onnx-graph -m model --use_model_builder --precision int4 --int4_block_size 16 -o out";
    let outcome = well(dir.path(), capture);
    assert_eq!(outcome.out.lines().last(), Some("output: out"), "{}", outcome.out);
    for file in ["model.onnx", "genai_config.json", "report.html"] {
        assert!(dir.path().join("out").join(file).is_file(), "{file}");
    }
    // The model's own lies there: the configuration has another name.
    assert!(super::config(&dir.path().join("out/config.json"))["model_type"].is_string());
    assert!(!dir.path().join("out/olive-config.json").exists(), "it was not asked for");
    let refused =
        line(dir.path(), "finetune -m out -d json --data_files rows.jsonl --text_field text --dry_run");
    assert!(refused.err.contains("`-m out` is an ONNX model"), "{}", refused.err);
}

#[test]
fn auto_opt_leaves_out_what_has_nothing_to_do() {
    let dir = folder();
    let outcome = well(dir.path(), "auto-opt -m model --precision int4 -o out --save_config_file");
    assert!(dir.path().join("out/model.onnx").is_file());
    assert!(outcome.err.contains("nothing to extract"), "{}", outcome.err);
    let config = super::config(&dir.path().join("out/olive-config.json"));
    assert_eq!(config["passes"]["extract_adapters"]["type"], "ExtractAdapters");
}

#[test]
fn a_run_follows_dry_runs_in_the_same_folder() {
    let dir = folder();
    let pass = "run-pass -m model --pass-name ModelBuilder --pass-config {\"precision\":\"int4\"} -o out";
    for _ in 0..2 {
        well(dir.path(), &format!("{pass} --dry_run"));
    }
    let refused = line(dir.path(), "run --config out/config.json");
    assert!(refused.err.contains("is the configuration of this run"), "{}", refused.err);
    well(dir.path(), pass);
    let [model, run] =
        ["config.json", "olive-config.json"].map(|file| super::config(&dir.path().join("out").join(file)));
    assert!(model["model_type"].is_string());
    assert_eq!(run["passes"]["modelbuilder"]["precision"], "int4");
    well(dir.path(), "run --config out/olive-config.json");
    assert!(well(dir.path(), pass).out.contains("cached"));
    // So does the model's file with a dry run after the run.
    let dry = well(dir.path(), &format!("{pass} --dry_run"));
    assert_eq!(dry.out, "configuration: out/olive-config.json\n");
    assert!(super::config(&dir.path().join("out/config.json"))["model_type"].is_string());
    // A file of somebody else stays.
    std::fs::create_dir(dir.path().join("mine")).unwrap();
    std::fs::write(dir.path().join("mine/config.json"), "{}").unwrap();
    let refused = line(dir.path(), &pass.replace("-o out", "-o mine"));
    assert!(refused.err.contains("would overwrite `mine/config.json`"), "{}", refused.err);
}

/// The matrices of `model.layers.0.self_attn.q_proj` in a safetensors file, with their shapes.
fn q_proj(path: &Path) -> [(Vec<usize>, Vec<f32>); 2] {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    ["lora_A", "lora_B"].map(|part| {
        let names = file.names();
        let ending = format!("layers.0.self_attn.q_proj.{part}.weight");
        let view = file.tensor(names.iter().find(|name| name.ends_with(&ending)).unwrap()).unwrap();
        let values = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        (view.shape().to_vec(), values.collect())
    })
}

#[test]
fn convert_adapters_transposes_and_scales() {
    let dir = tempfile::tempdir().unwrap();
    let adapter = tiny_model::adapter(&[("model.layers.0.self_attn.q_proj", 8, 6)]);
    adapter.save(&dir.path().join("lora")).unwrap();
    let convert = "convert-adapters -a lora -o made/a --adapter_format";
    let outcome = well(dir.path(), &format!("{convert} safetensors"));
    assert_eq!(outcome.out, "output: made/a.safetensors\n");
    let [(a_shape, a), (b_shape, b)] = q_proj(&dir.path().join("lora/adapter_model.safetensors"));
    let [(down_shape, down), (up_shape, up)] = q_proj(&dir.path().join("made/a.safetensors"));
    assert_eq!((a_shape, down_shape), (vec![3, 6], vec![6, 3]));
    assert_eq!((b_shape, up_shape), (vec![8, 3], vec![3, 8]));
    for (row, column) in (0..3).flat_map(|row| (0..6).map(move |column| (row, column))) {
        assert_eq!(down[column * 3 + row], a[row * 6 + column]);
    }
    for (row, column) in (0..8).flat_map(|row| (0..3).map(move |column| (row, column))) {
        assert_eq!(up[column * 8 + row], 2.0 * b[row * 3 + column], "the scale is alpha 6 by rank 3");
    }
    for (format, suffix) in [("numpy", "npz"), ("onnx_adapter", "onnx_adapter")] {
        well(dir.path(), &format!("{convert} {format}"));
        assert!(dir.path().join("made").join(format!("a.{suffix}")).is_file());
    }
}

#[test]
fn the_archive_of_numpy_holds_the_bytes_of_the_matrices() {
    let dir = tempfile::tempdir().unwrap();
    let adapter = tiny_model::adapter(&[("model.layers.0.self_attn.q_proj", 8, 6)]);
    adapter.save(&dir.path().join("lora")).unwrap();
    well(dir.path(), "convert-adapters -a lora -o a --adapter_format numpy");
    well(dir.path(), "convert-adapters -a lora -o a --adapter_format safetensors");
    let mut archive = zip::ZipArchive::new(std::fs::File::open(dir.path().join("a.npz")).unwrap()).unwrap();
    assert_eq!(archive.len(), 2);
    let mut file = archive.by_name("model.layers.0.self_attn.q_proj.lora_A.weight.npy").unwrap();
    let mut bytes = Vec::new();
    std::io::copy(&mut file, &mut bytes).unwrap();
    let [(_, down), _] = q_proj(&dir.path().join("a.safetensors"));
    let values: Vec<f32> = bytes[bytes.len() - 4 * down.len()..]
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect();
    assert_eq!(values, down);
}

#[test]
fn a_model_without_lora_has_nothing_to_extract() {
    let dir = folder();
    let refused = line(dir.path(), "extract-adapters -m model -f safetensors -o out");
    assert_eq!(refused.code, Some(2));
    assert!(refused.err.contains("nothing to extract"), "{}", refused.err);
    assert!(!dir.path().join("out").exists());
}
