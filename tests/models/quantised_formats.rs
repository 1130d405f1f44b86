//! Checkpoints that other tools quantised: GPTQ, AWQ, bitsandbytes, 8-bit floats. `tests/fixtures/quantised/make.py` made them.

use crate::support::binary::{greedy, olive, run_configuration, succeed, text};
use crate::support::models::{fixture, read_json};
use crate::support::onnx::{graph, tensors};
use crate::support::runtime;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const WITH_CODES: [&str; 5] = ["gptq", "gptq-mixed", "gptq-symmetric", "gptq-order", "awq"];
const OF_VALUES: [&str; 4] = ["nf4", "fp4", "fp8", "fp8-rows"];
/// The tokens that the oracle's answers follow.
const PROMPT: &str = "w5 w17 w99 w42";
const Q: &str = "model.layers.0.self_attn.q_proj";

fn oracle(format: &str) -> Value {
    read_json(&fixture("quantised/oracle.json"))[format].clone()
}

/// A folder with the checkpoint and a tokenizer.
fn checkpoint(format: &str, dir: &Path) -> PathBuf {
    let to = dir.join(format);
    std::fs::create_dir_all(&to).unwrap();
    let files = ["config.json", "model.safetensors"].map(|file| format!("{format}/{file}"));
    for file in files.iter().map(String::as_str).chain(["tokenizer.json"]) {
        let from = fixture("quantised").join(file);
        std::fs::write(to.join(from.file_name().unwrap()), std::fs::read(&from).unwrap()).unwrap();
    }
    to
}

fn configuration(model: &Path, dir: &Path, passes: &Value) -> Value {
    json!({
        "input_model": {"type": "HfModel", "model_path": model},
        "data_configs": [{
            "name": "rows", "type": "HuggingfaceContainer",
            "load_dataset_config": {"params": {"data_name": "json", "data_files": dir.join("rows.jsonl"), "split": "train"}},
            "pre_process_data_config": {"params": {"dataset_type": "corpus", "text_cols": ["text"], "source_max_len": 8}},
        }],
        "passes": passes, "cache_dir": dir.join("cache"), "output_dir": dir.join("out"),
    })
}

/// The folder with what the passes make of the model.
fn run(model: &Path, dir: &Path, passes: &Value) -> PathBuf {
    std::fs::write(dir.join("rows.jsonl"), "{\"text\": \"w1 w4 w9 w16 w25 w36 w49 w64 w81 w100\"}\n")
        .unwrap();
    let output = run_configuration(dir, &configuration(model, dir, passes));
    assert!(output.status.success(), "{}", text(&output.stderr));
    let out = dir.join("out");
    if out.join("model.onnx").is_file() { out } else { out.join("model") }
}

fn build(model: &Path, dir: &Path, precision: &str) -> PathBuf {
    let pass = json!({
        "type": "ModelBuilder", "precision": precision, "int4_accuracy_level": 1,
        "int4_nodes_to_exclude": ["/lm_head/MatMul"],
    });
    run(model, dir, &json!({ "builder": pass }))
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Ids that the model answers the oracle's prompt with.
fn answer(model: &Path) -> Value {
    let output = succeed(&mut greedy(model, PROMPT, 12));
    serde_json::from_slice::<Value>(&output.stdout).expect("JSON")["ids"].clone()
}

/// Whether the graph has, for every node of the oracle, its codes, scales and zero points.
fn expect_codes(format: &str, onnx: &Path) {
    let graph = graph(onnx);
    let tensors = tensors(onnx, &graph);
    for (name, hashes) in oracle(format)["codes"].as_object().expect("codes") {
        let node = graph.node.iter().find(|node| node.name == *name);
        let node = node.unwrap_or_else(|| panic!("{format}: there is no node {name}"));
        let mut parts: Vec<Vec<u8>> = node.input[1..].iter().map(|part| tensors[part].1.clone()).collect();
        if parts.len() == 2 {
            // Zero points in the middle are not stated.
            let dims = &tensors[&node.input[2]].0.dims;
            parts.push(vec![0x88; (dims[0] * ((dims[1] + 1) / 2)) as usize]);
        }
        let parts: Vec<String> = parts.iter().map(|part| hash(part)).collect();
        assert_eq!(json!(parts), *hashes, "{format}: {name}");
    }
}

#[test]
fn the_graph_has_the_codes_of_the_checkpoint() {
    for format in WITH_CODES {
        let temp = tempfile::tempdir().unwrap();
        expect_codes(format, &build(&checkpoint(format, temp.path()), temp.path(), "int4"));
    }
}

#[test]
fn other_weights_have_the_values_that_their_tools_give_them() {
    for format in OF_VALUES {
        let temp = tempfile::tempdir().unwrap();
        let onnx = build(&checkpoint(format, temp.path()), temp.path(), "fp32");
        let tensors = tensors(&onnx, &graph(&onnx));
        let places = [
            ("attn.qkv_proj", "self_attn.q_proj", 0..64),
            ("attn.qkv_proj", "self_attn.k_proj", 64..96),
            ("attn.qkv_proj", "self_attn.v_proj", 96..128),
            ("attn.o_proj", "self_attn.o_proj", 0..64),
            ("mlp.gate_proj", "mlp.gate_proj", 0..160),
            ("mlp.up_proj", "mlp.up_proj", 0..160),
            ("mlp.down_proj", "mlp.down_proj", 0..64),
        ];
        for (node, module, rows) in places {
            let (tensor, bytes) = &tensors[&format!("model.layers.0.{node}.MatMul.weight")];
            let width = tensor.dims[1] as usize;
            let values = bytes.as_chunks::<4>().0;
            let row = |row: usize| values.iter().skip(row).step_by(width).flatten().copied();
            let own: Vec<u8> = rows.flat_map(row).collect();
            let wanted = &oracle(format)["values"][format!("model.layers.0.{module}.weight")];
            assert_eq!(hash(&own), *wanted, "{format}: {module}");
        }
    }
}

#[test]
fn answers_are_those_of_the_values() {
    for format in WITH_CODES.into_iter().chain(OF_VALUES) {
        let temp = tempfile::tempdir().unwrap();
        assert_eq!(answer(&checkpoint(format, temp.path())), oracle(format)["greedy"], "{format}");
    }
}

#[test]
fn the_first_tools_wrote_their_statement_into_a_file_of_its_own() {
    for (format, file, statement) in [
        (
            "gptq",
            "quantize_config.json",
            json!({"bits": 4, "group_size": 32, "sym": false, "desc_act": false}),
        ),
        (
            "awq",
            "quant_config.json",
            json!({"w_bit": 4, "q_group_size": 32, "zero_point": true, "version": "GEMM"}),
        ),
    ] {
        let temp = tempfile::tempdir().unwrap();
        let model = checkpoint(format, temp.path());
        let mut config = read_json(&model.join("config.json"));
        config.as_object_mut().unwrap().remove("quantization_config");
        std::fs::write(model.join("config.json"), config.to_string()).unwrap();
        std::fs::write(model.join(file), statement.to_string()).unwrap();
        assert_eq!(answer(&model), oracle(format)["greedy"], "{format}");
    }
}

#[test]
fn codes_may_be_called_floats() {
    // `bnb_4bit_quant_storage`, with which others shard a model.
    let temp = tempfile::tempdir().unwrap();
    let model = checkpoint("nf4", temp.path());
    change(&model, |all| {
        for (dtype, shape, bytes) in
            all.values_mut().filter(|(dtype, shape, _)| *dtype == Dtype::U8 && shape.len() == 2)
        {
            (*dtype, *shape) = (Dtype::BF16, vec![bytes.len() / 2, 1]);
        }
    });
    assert_eq!(answer(&model), oracle("nf4")["greedy"]);
}

#[test]
fn graphs_answer_as_their_checkpoints() {
    runtime::library();
    for format in WITH_CODES {
        let temp = tempfile::tempdir().unwrap();
        let onnx = build(&checkpoint(format, temp.path()), temp.path(), "int4");
        assert_eq!(answer(&onnx), oracle(format)["greedy"], "{format}");
    }
}

#[test]
fn a_quantiser_takes_what_is_left_in_float() {
    let rtn = json!({"type": "Rtn", "bits": 8, "group_size": 32, "lm_head": true});
    for format in ["gptq-mixed", "awq"] {
        let temp = tempfile::tempdir().unwrap();
        let made = run(&checkpoint(format, temp.path()), temp.path(), &json!({ "rtn": rtn }));
        let statement = &read_json(&made.join("config.json"))["quantization_config"];
        assert_eq!((&statement["quant_method"], &statement["lm_head"]), (&json!("olive"), &json!(true)));
        let again = tempfile::tempdir().unwrap();
        expect_codes(format, &build(&made, again.path(), "int4"));
    }
    // Groups that are no neighbours are none of Olive's: such matrices are values.
    let temp = tempfile::tempdir().unwrap();
    let made = run(&checkpoint("gptq-order", temp.path()), temp.path(), &json!({ "rtn": rtn }));
    assert_eq!(answer(&made)[0], oracle("gptq-order")["greedy"][0]);
}

#[test]
fn an_adapter_is_trained_on_it_and_merged() {
    for format in ["gptq", "nf4", "fp8"] {
        let temp = tempfile::tempdir().unwrap();
        let lora = json!({
            "type": "LoRA", "r": 4, "train_data_config": "rows", "training_args": {"max_steps": 2, "learning_rate": 0.01},
        });
        let passes = json!({"lora": lora, "merge": {"type": "MergeAdapterWeights"}});
        let merged = run(&checkpoint(format, temp.path()), temp.path(), &passes);
        let config = read_json(&merged.join("config.json"));
        assert!(config.get("quantization_config").is_none(), "{format}: the weights are in float");
        let file = std::fs::read(merged.join("model.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&file).unwrap();
        assert_eq!(file.tensor(&format!("{Q}.weight")).unwrap().dtype(), Dtype::F32);
        assert_eq!(answer(&merged).as_array().unwrap().len(), 12);
    }
}

type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

/// Changes the tensors of a checkpoint.
fn change(model: &Path, change: impl FnOnce(&mut Tensors)) {
    let path = model.join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut all: Tensors = file
        .tensors()
        .into_iter()
        .map(|(name, view)| (name, (view.dtype(), view.shape().to_vec(), view.data().to_vec())))
        .collect();
    change(&mut all);
    let views = all.iter().map(|(name, (dtype, shape, bytes))| {
        (name.clone(), TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    safetensors::serialize_to_file(views, None, &path).unwrap();
}

fn state(model: &Path, key: &str, value: Value) {
    let path = model.join("config.json");
    let mut config = read_json(&path);
    config["quantization_config"][key] = value;
    std::fs::write(path, config.to_string()).unwrap();
}

/// What `validate`, a run, and `generate` say, all of which must refuse the model with these words.
fn refused(model: &Path, dir: &Path, words: &str) {
    let config =
        configuration(model, dir, &json!({"builder": {"type": "ModelBuilder", "precision": "int4"}}));
    let ran = run_configuration(dir, &config);
    let validated = olive().arg("validate").arg(dir.join("config.json")).output().unwrap();
    let generated = greedy(model, PROMPT, 1).output().unwrap();
    for (what, output) in [("run", ran), ("validate", validated), ("generate", generated)] {
        let told = text(&output.stderr);
        assert!(!output.status.success() && told.contains(words), "{what} says, not {words:?}: {told}");
        assert!(told.contains("hint: "), "{told}");
    }
}

#[test]
fn groups_that_onnx_runtime_has_no_kernel_for_are_refused_by_the_builder_only() {
    let temp = tempfile::tempdir().unwrap();
    let model = checkpoint("gptq", temp.path());
    state(&model, "group_size", json!(8));
    // The same grids, four times each.
    change(&model, |all| {
        for (name, (_, shape, bytes)) in all.iter_mut() {
            if name.ends_with(".scales") || name.ends_with(".qzeros") {
                let rows = bytes.chunks_exact(bytes.len() / shape[0]);
                *bytes = rows.flat_map(|row| row.repeat(4)).collect();
                shape[0] *= 4;
            } else if name.ends_with(".g_idx") {
                *bytes = (0..shape[0]).flat_map(|col| (col as i32 / 8).to_le_bytes()).collect();
            }
        }
    });
    assert_eq!(answer(&model), oracle("gptq")["greedy"]);
    let config = configuration(
        &model,
        temp.path(),
        &json!({"builder": {"type": "ModelBuilder", "precision": "int4"}}),
    );
    let ran = run_configuration(temp.path(), &config);
    let validated = olive().arg("validate").arg(temp.path().join("config.json")).output().unwrap();
    for output in [ran, validated] {
        let told = text(&output.stderr);
        assert!(!output.status.success() && told.contains("a scale for every 8 weights of a row"), "{told}");
    }
}

#[test]
fn variants_that_are_not_read_are_named() {
    for (format, key, value, words) in [
        ("gptq", "bits", json!(3), ".quant_method` in config.json is `gptq`, and `bits` is 3"),
        ("gptq", "bits", json!("many"), "`bits` is no number"),
        ("gptq", "group_size", json!(0), "`group_size` is neither -1 nor a size"),
        ("gptq", "checkpoint_format", json!("marlin"), "`checkpoint_format` is `marlin`"),
        ("gptq", "is_marlin_format", json!(true), "`checkpoint_format` is `marlin`"),
        ("gptq", "pack_dtype", json!("int64"), "`pack_dtype` is \"int64\""),
        ("awq", "version", json!("GEMV"), "`version` is `gemv`"),
        ("awq", "bits", json!(8), "`bits` is 8, and AWQ is read with 4"),
        ("awq", "zero_point", json!(false), "`zero_point` is false"),
        ("fp8", "weight_block_size", json!([0, 128]), "`weight_block_size` is [0,128]"),
        ("gptq", "quant_method", json!("hqq"), "config.json is `hqq`, and tensor `"),
        ("gptq", "quant_method", json!("fp8"), "is of type"),
    ] {
        let temp = tempfile::tempdir().unwrap();
        let model = checkpoint(format, temp.path());
        state(&model, key, value);
        refused(&model, temp.path(), words);
    }
}

#[test]
fn tensors_that_do_not_fit_are_named() {
    let remove = |name: &'static str| move |all: &mut Tensors| drop(all.remove(name).expect(name));
    let put = |name: &'static str, at: usize, bytes: &'static [u8]| {
        move |all: &mut Tensors| all.get_mut(name).expect(name).2[at..at + bytes.len()].copy_from_slice(bytes)
    };
    let reshape = |name: &'static str, shape: &'static [usize]| {
        move |all: &mut Tensors| all.get_mut(name).expect(name).1 = shape.to_vec()
    };
    let copy = |from: &'static str, to: &'static str| {
        move |all: &mut Tensors| {
            let tensor = all[from].clone();
            all.insert(to.into(), tensor);
        }
    };
    type Change = Box<dyn FnOnce(&mut Tensors)>;
    let state = "model.layers.0.self_attn.q_proj.weight.quant_state.bitsandbytes__nf4";
    let blocks_of_128 = |all: &mut Tensors| {
        let (.., bytes) = all.get_mut(state).unwrap();
        let text = text(bytes).replace("\"blocksize\": 64", "\"blocksize\": 99");
        *bytes = text.into_bytes();
    };
    let vast = |all: &mut Tensors| {
        let (_, shape, bytes) = all.get_mut(state).unwrap();
        *bytes = text(bytes).replace("[64, 64]", "[4611686018427387904, 4611686018427387904]").into_bytes();
        *shape = vec![bytes.len()];
    };
    let cases: Vec<(&str, Change, &str)> = vec![
        ("gptq", Box::new(remove("model.layers.0.self_attn.q_proj.scales")), "has no `"),
        ("gptq", Box::new(remove("model.layers.0.self_attn.q_proj.qzeros")), "no zero points"),
        (
            "gptq",
            Box::new(remove("model.layers.0.self_attn.q_proj.qweight")),
            "tensor `model.layers.0.self_attn.q_proj.g_idx`",
        ),
        (
            "gptq",
            Box::new(reshape("model.layers.0.self_attn.k_proj.scales", &[1, 64])),
            "[1, 64] scales for 32 rows of 2 groups",
        ),
        (
            "gptq",
            Box::new(reshape("model.layers.0.self_attn.k_proj.qzeros", &[8])),
            "zero points of the shape [8]",
        ),
        ("gptq", Box::new(reshape("model.layers.0.self_attn.k_proj.qweight", &[256])), "are no matrix"),
        (
            "gptq",
            Box::new(reshape("model.layers.0.self_attn.k_proj.qweight", &[1, 256])),
            "are no groups of 32",
        ),
        ("gptq", Box::new(reshape("model.layers.0.self_attn.k_proj.g_idx", &[8, 8])), "`g_idx` is of type"),
        (
            "gptq-order",
            Box::new(put("model.layers.0.self_attn.q_proj.g_idx", 8, &[2, 0, 0, 0])),
            "puts column 2 into group 2 of 2",
        ),
        (
            "gptq-order",
            Box::new(put("model.layers.0.self_attn.q_proj.g_idx", 8, &[255; 4])),
            "puts column 2 into group -1 of 2",
        ),
        (
            "gptq",
            Box::new(put("model.layers.0.self_attn.q_proj.g_idx", 0, &[1, 0, 0, 0])),
            "puts 31 columns into group 0, which has 32",
        ),
        (
            "gptq-mixed",
            Box::new(reshape("model.layers.0.self_attn.o_proj.qweight", &[2, 128])),
            "2 words and 4 scales for 64 columns",
        ),
        ("awq", Box::new(remove("model.layers.0.self_attn.q_proj.qzeros")), "no zero points"),
        (
            "awq",
            Box::new(reshape("model.layers.0.self_attn.q_proj.qweight", &[32, 16])),
            "scales for 128 rows",
        ),
        (
            "awq",
            Box::new(copy("lm_head.weight", "model.layers.0.self_attn.q_proj.weight")),
            "there in float and quantised",
        ),
        ("nf4", Box::new(remove("model.layers.0.self_attn.q_proj.weight.absmax")), "`.absmax` is missing"),
        (
            "nf4",
            Box::new(remove("model.layers.0.self_attn.q_proj.weight.nested_absmax")),
            "`.nested_absmax` is missing",
        ),
        ("nf4", Box::new(remove(state)), "is of type"),
        ("nf4", Box::new(put(state, 0, b"not JSON")), "its state cannot be read"),
        ("nf4", Box::new(blocks_of_128), "blocks are of 99 weights"),
        ("nf4", Box::new(vast), "it is too large"),
        (
            "nf4",
            Box::new(put("model.layers.0.self_attn.q_proj.weight.quant_map", 4, &[0; 4])),
            "is not the table",
        ),
        (
            "nf4",
            Box::new(put("model.layers.0.self_attn.q_proj.weight.nested_absmax", 0, &[255; 4])),
            "not finite",
        ),
        ("nf4", Box::new(copy("lm_head.weight", "model.layers.0.self_attn.q_proj.weight")), "wrong size"),
        ("fp8", Box::new(remove("model.layers.0.self_attn.q_proj.weight_scale_inv")), "it has no scales"),
        (
            "fp8",
            Box::new(reshape("model.layers.0.self_attn.q_proj.weight_scale_inv", &[4])),
            "[4] scales for blocks of 48 by 40",
        ),
        (
            "fp8",
            Box::new(put("model.layers.0.self_attn.q_proj.weight_scale_inv", 0, &[255; 4])),
            "not finite",
        ),
        (
            "fp8-rows",
            Box::new(reshape("model.layers.0.self_attn.q_proj.weight_scale", &[32, 2])),
            "and no size of blocks",
        ),
    ];
    for (format, changed, words) in cases {
        let temp = tempfile::tempdir().unwrap();
        let model = checkpoint(format, temp.path());
        change(&model, changed);
        refused(&model, temp.path(), words);
    }
}

#[test]
fn values_that_are_no_numbers_end_a_run() {
    for (format, name, bytes) in [
        ("gptq", "scales", &[0, 0x7e][..]),
        ("awq", "scales", &[0, 0x7c]),
        ("fp8", "weight", &[0x7f]),
        ("fp4", "weight.absmax", &[255; 4]),
    ] {
        let temp = tempfile::tempdir().unwrap();
        let model = checkpoint(format, temp.path());
        change(&model, |all| {
            let (.., all) = all.get_mut(&format!("{Q}.{name}")).unwrap();
            all[..bytes.len()].copy_from_slice(bytes);
        });
        let config = configuration(
            &model,
            temp.path(),
            &json!({"builder": {"type": "ModelBuilder", "precision": "int4"}}),
        );
        let told = text(&run_configuration(temp.path(), &config).stderr);
        assert!(told.contains("not finite") && told.contains(Q), "{format}: {told}");
    }
}
