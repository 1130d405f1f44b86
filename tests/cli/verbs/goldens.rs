//! What Olive 0.13 makes of command lines, and what ours must make of them: the same, something better, or a refusal.

use super::{Outcome, config, run};
use crate::support::shared::shared;
use olive_onnx::adapter_file;
use olive_onnx::proto::data_type;
use safetensors::SafeTensors;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;

/// What a command line must come to.
enum Expected {
    /// Olive's configuration, with these values in place of its faults (null: without it); these texts are told.
    Config(&'static [(&'static str, &'static str)], &'static [&'static str]),
    /// A file with Olive's tensors.
    Tensors,
    /// Exit code 2, and a message with all of these.
    Refused(&'static [&'static str]),
    /// Exit code 0, and these on stdout.
    Prints(&'static [&'static str]),
}

use Expected::{Config, Prints, Refused, Tensors};

const SAME: Expected = Config(&[], &[]);
const LEVELS: Expected = Refused(&["--log_level", "0, 1, 2, 3, 4"]);
const TASKS: Expected = Refused(&["--tasks", "olive evaluate"]);

fn expected(id: &str) -> Expected {
    match id {
        "finetune-qlora-target-modules" => Config(
            &[("/passes/f/target_modules", r#"["q_proj", "v_proj"]"#)],
            &["`--target_modules` counts for QLoRA"],
        ),
        "finetune-hf-arguments-bool" => Refused(&["--group_by_length", "--train_sampling_strategy"]),
        "finetune-eval-split" => Config(&[("/data_configs/1/load_dataset_config/subset", r#""sub""#)], &[]),
        "finetune-special-tokens-false" => {
            Config(&[("/data_configs/0/pre_process_data_config/add_special_tokens", "false")], &[])
        }
        "finetune-no-text-option" => Config(&[], &["--text_field", "--text_template", "--use_chat_template"]),
        "finetune-field-and-template" => Refused(&["--text_field", "--text_template"]),
        "finetune-unknown-option" => Refused(&["--no_such_option"]),
        "finetune-hf-abbreviation" => Refused(&["'--learning'", "'--learning_rate'"]),
        "finetune-float32-task-trust" => Config(&[], &["--trust_remote_code"]),
        "finetune-input-cols" => Refused(&["--input_cols"]),
        "finetune-onnx-model" => Refused(&["finetune", "an ONNX model"]),
        "finetune-adapter-path" => Refused(&["'-a'"]),
        "finetune-log-level-save" => Prints(&["out/deep/er/config.json"]),
        "finetune-log-level-bad" | "finetune-log-level-name" => LEVELS,
        // Olive loses arguments that are written with an equals sign.
        "finetune-deepspeed-like" => {
            Config(&[("/passes/f/training_args", r#"{"max_steps": 5, "learning_rate": 0.0002}"#)], &[])
        }
        "finetune-prefix-of-option" => Refused(&["'--model_name'", "'--model_name_or_path'"]),
        "quantize-default" => Config(&[("/passes/rtn/bits", "8")], &["`--precision int8`"]),
        "quantize-gptq" => Config(&[("/passes/gptq/bits", "8")], &["`--precision int8`", "Gptq"]),
        "quantize-gptq-split-subset" => Refused(&["--data_name json", "--data_files"]),
        "quantize-rtn-int4" => Config(&[("/passes/rtn/bits", "4")], &[]),
        "quantize-awq" => Refused(&["--algorithm awq"]),
        "quantize-awq-implementation" => Refused(&["--implementation awq"]),
        "quantize-kquant" => Prints(&["out/config.json"]),
        "quantize-quarot" => Config(
            &[("/passes", r#"{"quarot": {"type": "QuaRot"}, "gptq": {"type": "Gptq", "bits": 4}}"#)],
            &["QuaRot rotates"],
        ),
        "quantize-rtn-qdq" | "quantize-onnx-int4-qdq" => Refused(&["--use_qdq_encoding"]),
        "quantize-nf4" => Refused(&["--precision nf4"]),
        "quantize-bad-precision" => Refused(&["int3", "int4, int8, int16"]),
        "quantize-onnx-default" => Refused(&["--precision int8", "--precision int4", "kquant"]),
        "quantize-onnx-hqq" => Refused(&["--algorithm hqq"]),
        "quantize-onnx-ort-int8-data" => Refused(&["--implementation ort"]),
        "quantize-onnx-bnb" => Refused(&["--implementation bnb"]),
        "optimize-int8" => Refused(&["--precision int8"]),
        "optimize-fp16" => Config(&[], &["fp16 does not run"]),
        "optimize-cuda-no-device" => {
            Config(&[("/systems/local_system/accelerators/0/device", r#""gpu""#)], &["Gptq"])
        }
        "optimize-cuda-cpu" => Refused(&["--provider CUDAExecutionProvider", "--device cpu"]),
        "optimize-block-100" => Refused(&["--block_size 100", "16, 32, 64, 128, 256"]),
        "optimize-extra-mb-options" => Prints(&["out/config.json"]),
        "optimize-memory" => Refused(&["--memory"]),
        "optimize-dynamo" => Refused(&["--exporter dynamo_exporter", "--exporter model_builder"]),
        "optimize-qdq" => Refused(&["--use_qdq_format"]),
        "optimize-act-precision" => Refused(&["--act_precision"]),
        "optimize-onnx-int4" => Config(&[], &["OnnxPeepholeOptimizer", "OnnxBlockWiseRtnQuantization"]),
        "optimize-onnx-fp16" => Config(&[], &["OnnxPeepholeOptimizer", "OnnxFloatToFloat16"]),
        "optimize-surgeries" => Refused(&["the surgeon RemoveRopeMultiCache is not implemented"]),
        // Olive quantises the base and forgets the adapter.
        "model-earlier-output-optimize" => Refused(&["the adapter would be left out"]),
        "optimize-aot-cpu" => Refused(&["--enable_aot"]),
        "auto-opt-default" => Config(
            &[
                ("/passes/conversion", "null"),
                ("/passes/peephole_optimizer", "null"),
                ("/passes/transformer_optimizer", "null"),
                ("/passes/model_builder", r#"{"type": "ModelBuilder", "precision": "fp32"}"#),
            ],
            &["deprecated", "ModelBuilder builds the graph"],
        ),
        "auto-opt-int4-builder" => Config(&[], &["deprecated", "nothing to extract"]),
        "auto-opt-gpu" => Refused(&["--use_dynamo_exporter", "--use_model_builder"]),
        "auto-opt-int8" => Refused(&["--precision int8", "--use_model_builder"]),
        "auto-opt-two-splits" => Refused(&["--num-splits", "--cost-model"]),
        "auto-opt-num-splits" => Refused(&["--num-splits"]),
        "capture-builder" => {
            Config(&[("/systems/local_system/accelerators/0", CPU)], &["fp16 on a CPU is computed in fp32"])
        }
        "capture-builder-int4" => Prints(&["out/config.json"]),
        "capture-builder-exclude-false" => Config(&[("/passes/m/exclude_embeds", "false")], &[]),
        "capture-builder-bad-block" => Refused(&["--int4_block_size", "16, 32, 64, 128, 256"]),
        "capture-dynamo" | "capture-genai" => Refused(&["--use_dynamo_exporter", "--use_model_builder"]),
        "capture-fixed" => Refused(&["--fixed_param_dict", "--use_model_builder"]),
        "capture-mobius" => Refused(&["--use_mobius_builder"]),
        "capture-onnx-input" => Refused(&["capture-onnx-graph", "an ONNX model"]),
        "generate-adapter-onnx" => Config(&[], &[]),
        "generate-adapter-numpy-dora" => Refused(&["--adapter_type dora"]),
        "generate-adapter-bad-format" => Refused(&["--adapter_format", "gguf"]),
        "generate-adapter-two-onnx" => Refused(&["a.onnx", "b.onnx"]),
        "convert-default" | "convert-suffix" | "convert-int4" => Tensors,
        "convert-pt" => Refused(&["--adapter_format pt"]),
        "convert-dora" => Refused(&["DoRA"]),
        "convert-missing-adapter" => Refused(&["no-such-folder"]),
        "convert-dry-run" => Refused(&["--dry_run"]),
        "extract-no-format" => Refused(&["--format"]),
        "extract-plain-model" => Refused(&["nothing to extract"]),
        "run-pass-lower-case" | "run-pass-provider-only" => Config(&[], &["needs `precision`"]),
        "run-pass-override-type" => Refused(&["--pass-name Rtn", "\"type\": \"Gptq\""]),
        "run-pass-bad-json" => Refused(&["--pass-config", "line 1 column 2"]),
        "run-pass-unknown-option-in-json" => Refused(&["Rtn has no option `no_such`"]),
        "run-pass-no-model" | "model-none" => Refused(&["-m"]),
        "run-pass-list" => Prints(&["LoRA", "ModelBuilder", "passes available"]),
        "benchmark-hf" | "benchmark-options" | "benchmark-hf-backend" | "benchmark-no-tasks" => TASKS,
        "tune-session-params" | "tune-session-params-options" => Refused(&["tune-session-params"]),
        "cost-model" => Refused(&["generate-cost-model"]),
        "qualcomm-bad-version" => Refused(&["configure-qualcomm-sdk"]),
        "shared-cache-no-args" => Refused(&["shared-cache"]),
        "bare" => Refused(&["Usage: olive", "finetune", "quantize"]),
        "no-such-verb" => Refused(&["no-such-verb"]),
        "run-no-config" => Refused(&["--config"]),
        "run-missing-config" => Refused(&["no-such.json"]),
        _ => SAME,
    }
}

const CPU: &str = r#"{"device": "cpu", "execution_providers": ["CPUExecutionProvider"]}"#;

/// The folder in which Olive's own commands ran.
fn folder() -> Option<tempfile::TempDir> {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for (from, to) in [
        ("goldens/models/llama/hf", "model"),
        ("goldens/models/llama/ort-fp32-cpu", "onnx-fp32"),
        ("goldens/models/llama/ort-int4-cpu", "onnx-int4"),
        ("goldens/train/llama/adapter_final", "adapter"),
        ("goldens/train/llama/adapter_final", "adapter-dora"),
    ] {
        copy(&shared(from)?, &at(to));
    }
    for folder in ["prev", "two-onnx", "data"] {
        std::fs::create_dir(at(folder)).unwrap();
    }
    let path = at("adapter-dora/adapter_config.json");
    let mut adapter = config(&path);
    adapter["use_dora"] = json!(true);
    std::fs::write(path, adapter.to_string()).unwrap();
    let earlier = json!({"type": "HfModel", "config": {"model_path": "model", "adapter_path": "adapter"}});
    std::fs::write(at("prev/model_config.json"), earlier.to_string()).unwrap();
    std::fs::write(at("two-onnx/a.onnx"), "").unwrap();
    std::fs::write(at("two-onnx/b.onnx"), "").unwrap();
    let rows: String = (0..8)
        .map(|i| format!("{{\"text\": \"row {i}\", \"prompt\": \"p{i}\", \"response\": \"r{i}\"}}\n"))
        .collect();
    std::fs::write(at("data/rows.jsonl"), rows).unwrap();
    std::fs::write(at("run.json"), "{}").unwrap();
    Some(dir)
}

/// Files of the shared material may not be written to.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(to.join(path.file_name().unwrap()), bytes).unwrap();
    }
}

/// Calls `f` while `model` is one with rows of 128 weights and more.
fn with_wide_model<R>(dir: &Path, f: impl FnOnce() -> R) -> R {
    let (model, narrow) = (dir.join("model"), dir.join("narrow"));
    std::fs::rename(&model, &narrow).unwrap();
    copy(&crate::support::quickstart::base_model(), &model);
    let result = f();
    std::fs::remove_dir_all(&model).unwrap();
    std::fs::rename(&narrow, &model).unwrap();
    result
}

/// The arguments of a command as a shell takes them.
fn arguments(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for letter in command.chars() {
        match (quote, letter) {
            (Some(end), _) if letter == end => quote = None,
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words.split_off(1)
}

#[test]
fn every_command_line_of_the_goldens_comes_to_what_it_should() {
    let Some(cases) = shared("goldens/cli/cases.jsonl") else { return };
    let cases = std::fs::read_to_string(cases).unwrap();
    let Some(dir) = folder() else { return };
    let mut wrong = Vec::new();
    let mut count = 0;
    for case in cases.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        count += 1;
        for output in ["out", "finetuned-adapter"] {
            let _ = std::fs::remove_dir_all(dir.path().join(output));
        }
        let arguments = arguments(case["command"].as_str().unwrap());
        let mut outcome = run(dir.path(), &arguments);
        if outcome.err.contains("does not divide its rows of") {
            // Olive's default groups are wider than the tiny model, and it writes its configuration nevertheless.
            outcome = with_wide_model(dir.path(), || run(dir.path(), &arguments));
        }
        let id = case["id"].as_str().unwrap();
        if let Err(why) = check(id, &case, &outcome, dir.path()) {
            wrong.push(format!("{id}: {why}\n{}", outcome.err));
        }
    }
    assert_eq!(count, 117);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn check(id: &str, case: &Value, outcome: &Outcome, dir: &Path) -> Result<(), String> {
    let expected = expected(id);
    let code = if matches!(expected, Refused(_)) { 2 } else { 0 };
    if outcome.code != Some(code) {
        return Err(format!("exit code {:?}", outcome.code));
    }
    let tells = |texts: &[&str], told: &str| match texts.iter().find(|text| !told.contains(*text)) {
        Some(missing) => Err(format!("does not say `{missing}`")),
        None => Ok(()),
    };
    match expected {
        Refused(texts) => tells(texts, &outcome.err),
        Prints(texts) => tells(texts, &outcome.out),
        Tensors => same_tensors(case, dir),
        Config(corrections, texts) => {
            tells(texts, &outcome.err)?;
            let mut golden = case["config"].clone();
            if id.starts_with("finetune") {
                correct(&mut golden, "/systems/local_system/accelerators/0", CPU);
            }
            corrections.iter().for_each(|(pointer, value)| correct(&mut golden, pointer, value));
            let file = case["written"][0].as_str().unwrap();
            compare("", &golden, &config(&dir.join(file)))
        }
    }
}

/// Puts a value in its place, which may not be there yet.
fn correct(golden: &mut Value, pointer: &str, value: &str) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let value: Value = serde_json::from_str(value).unwrap();
    match golden.pointer_mut(parent).unwrap() {
        Value::Array(items) => items[key.parse::<usize>().unwrap()] = value,
        parent if value.is_null() => drop(parent.as_object_mut().unwrap().remove(key)),
        parent => parent[key] = value,
    }
}

/// What is null, or what a run here does not do anyway, may be left out.
fn compare(path: &str, golden: &Value, ours: &Value) -> Result<(), String> {
    let (Some(expected), Some(found)) = (golden.as_object(), ours.as_object()) else {
        return match (golden.as_array(), ours.as_array()) {
            (Some(expected), Some(found)) if expected.len() == found.len() => {
                let pairs = expected.iter().zip(found).enumerate();
                pairs.into_iter().try_for_each(|(i, (e, f))| compare(&format!("{path}/{i}"), e, f))
            }
            _ if golden == ours => Ok(()),
            _ => Err(format!("{path} is {ours}, and should be {golden}")),
        };
    };
    let may_lack = |key: &str, value: &Value| {
        let nothing =
            value.as_object().is_some_and(|inner| !inner.is_empty() && inner.values().all(Value::is_null));
        value.is_null() || nothing || (path.is_empty() && key == "no_artifacts")
    };
    for (key, value) in expected {
        match found.get(key) {
            Some(found) => compare(&format!("{path}/{key}"), value, found)?,
            None if may_lack(key, value) => {}
            None => return Err(format!("{path}/{key} is missing")),
        }
    }
    match found.keys().find(|key| !expected.contains_key(*key)) {
        Some(key) => Err(format!("{path}/{key} should not be there")),
        None => Ok(()),
    }
}

/// Type, shape and bytes by name.
type Tensor = (&'static str, Vec<usize>, Vec<u8>);

fn same_tensors(case: &Value, dir: &Path) -> Result<(), String> {
    let file = dir.join(case["written"][0].as_str().unwrap());
    let bytes = std::fs::read(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    let found: BTreeMap<String, Tensor> = if file.extension().is_some_and(|e| e == "safetensors") {
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let typed = |name| match name {
            safetensors::Dtype::U8 => "uint8",
            safetensors::Dtype::F32 => "float32",
            _ => "another",
        };
        file.iter()
            .map(|(name, view)| {
                (name.to_owned(), (typed(view.dtype()), view.shape().to_vec(), view.data().to_vec()))
            })
            .collect()
    } else {
        let typed = |code| if code == data_type::FLOAT { "float32" } else { "another" };
        let parameters = adapter_file::decode(&bytes).unwrap();
        parameters.into_iter().map(|p| (p.name, (typed(p.data_type), p.dims, p.bytes))).collect()
    };
    let golden = case["tensors"].as_object().unwrap();
    if !golden.keys().eq(found.keys()) {
        return Err(format!("the names are {:?}", found.keys()));
    }
    for ((name, golden), (kind, shape, bytes)) in golden.iter().zip(found.values()) {
        let digest: String = Sha256::digest(bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let found = json!([kind, shape, digest]);
        if found != *golden {
            return Err(format!("{name} is {found}, and should be {golden}"));
        }
    }
    Ok(())
}
