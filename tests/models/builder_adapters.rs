//! `adapters: separate`: a base model in ONNX, and an adapter beside it that a session can switch on.

use crate::support::binary::{generated, greedy, root, run_configuration, text};
use crate::support::quickstart::{Quickstart, base_model};
use olive_onnx::proto::{ModelProto, TensorProto};
use prost::Message;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;

const ADAPTER: &str = "adapter_weights.onnx_adapter";

/// The quickstart's pipeline with an adapter of this rank and more options of its training.
struct Training(usize, Value);

/// Trains an adapter (or takes it from the cache) and builds with these options into `output`.
fn build(quickstart: &Quickstart, training: Option<Training>, options: Value, output: &str) -> Output {
    let mut config = match training {
        Some(_) => Quickstart::configuration(&["lora", "builder"]),
        None => Quickstart::configuration(&["builder"]),
    };
    let passes = config["passes"].as_object_mut().unwrap();
    passes["builder"]["config"] = options;
    if let Some(Training(rank, more)) = training {
        let lora = passes["lora"]["config"].as_object_mut().unwrap();
        lora["lora_r"] = rank.into();
        lora["training_args"]["max_steps"] = quickstart.steps.into();
        lora.extend(more.as_object().unwrap().clone());
    }
    config["engine"]["cache_dir"] = json!(quickstart.cache());
    run(quickstart, config, output)
}

fn run(quickstart: &Quickstart, mut config: Value, output: &str) -> Output {
    config["engine"]["output_dir"] = json!(quickstart.dir.path().join(output));
    run_configuration(quickstart.dir.path(), &config)
}

fn build_well(quickstart: &Quickstart, rank: usize, options: Value, output: &str) -> PathBuf {
    let made = build(quickstart, Some(Training(rank, json!({}))), options, output);
    assert!(made.status.success(), "{}", text(&made.stderr));
    quickstart.dir.path().join(output)
}

const OFF: &[&str] = &["--no-adapter"];

fn model(dir: &Path) -> ModelProto {
    ModelProto::decode(&*std::fs::read(dir.join("model.onnx")).unwrap()).unwrap()
}

/// Reads FlatBuffers by its own rules: offsets lead forward, and a table's description lies behind it.
struct Tables(Vec<u8>);

impl Tables {
    fn number(&self, at: usize) -> usize {
        u32::from_le_bytes(self.0[at..at + 4].try_into().unwrap()) as usize
    }

    fn follow(&self, at: usize) -> usize {
        at + self.number(at)
    }

    fn field(&self, table: usize, index: usize) -> usize {
        let description = table - self.number(table);
        let entry = description + 4 + 2 * index;
        table + usize::from(u16::from_le_bytes(self.0[entry..entry + 2].try_into().unwrap()))
    }

    /// Dimensions, type and bytes by name.
    fn parameters(&self) -> BTreeMap<String, (Vec<i64>, i32, Vec<u8>)> {
        assert_eq!(&self.0[4..8], b"TORT");
        let root = self.follow(0);
        let list = self.follow(self.field(root, 3));
        let one = |index: usize| {
            let table = self.follow(list + 4 + 4 * index);
            let [name, dims, data] = [0, 1, 3].map(|field| self.follow(self.field(table, field)));
            assert_eq!(((dims + 4) % 8, (data + 4) % 8), (0, 0), "elements of eight bytes are aligned");
            let bytes = |at: usize, size: usize| self.0[at + 4..at + 4 + size * self.number(at)].to_vec();
            let dims = bytes(dims, 8).chunks(8).map(|d| i64::from_le_bytes(d.try_into().unwrap())).collect();
            let data_type = self.number(self.field(table, 2)) as i32;
            (String::from_utf8(bytes(name, 1)).unwrap(), (dims, data_type, bytes(data, 1)))
        };
        (0..self.number(list)).map(one).collect()
    }
}

#[test]
fn an_adapter_beside_the_base_says_what_a_merged_one_says() {
    let quickstart = Quickstart::new(12);
    let merged = build_well(&quickstart, 4, json!({"precision": "fp32"}), "merged");
    let separate =
        build_well(&quickstart, 4, json!({"precision": "fp32", "adapters": "separate"}), "separate");
    let base = generated(&base_model(), &[]);
    let wanted = generated(&merged, &[]);
    assert_ne!(base, wanted, "the adapter must make a difference");
    assert_eq!(generated(&separate, &[]), wanted, "the adapter beside the model is used");
    assert_eq!(generated(&separate, OFF), base, "without its adapter it is the base");

    // The file by other means: its matrices in the place of the graph's empty ones.
    let parameters = Tables(std::fs::read(separate.join(ADAPTER)).unwrap()).parameters();
    let mut with = model(&separate);
    let graph = with.graph.as_mut().unwrap();
    let optional: Vec<&TensorProto> = graph.initializer.iter().filter(|t| t.dims.contains(&0)).collect();
    assert_eq!(optional.len(), parameters.len());
    // Of every layer q, k, v, o, gate, up and down have two matrices each.
    assert_eq!(parameters.len(), 4 * 7 * 2);
    for tensor in &mut graph.initializer {
        if let Some((dims, data_type, bytes)) = parameters.get(&tensor.name) {
            assert!(graph.input.iter().any(|input| input.name == tensor.name), "{}", tensor.name);
            assert_eq!(tensor.data_type, *data_type);
            assert!(tensor.dims.iter().zip(dims).all(|(a, b)| *a == 0 || a == b), "{}", tensor.name);
            (tensor.dims, tensor.raw_data) = (dims.clone(), bytes.clone());
        }
    }
    std::fs::write(separate.join("model.onnx"), with.encode_to_vec()).unwrap();
    assert_eq!(generated(&separate, OFF), wanted);
}

#[test]
fn one_base_serves_adapters_of_any_rank() {
    let quickstart = Quickstart::new(12);
    let options = json!({"precision": "int4", "adapters": "separate"});
    let first = build_well(&quickstart, 4, options.clone(), "first");
    let second = build_well(&quickstart, 16, options, "second");
    for name in ["model.onnx", "model.onnx.data", "genai_config.json"] {
        let read = |dir: &Path| std::fs::read(dir.join(name)).unwrap();
        assert!(read(&first) == read(&second), "{name} depends on the adapter");
    }
    let only = json!({"precision": "int4", "adapters": "separate", "metadata_only": true});
    let only = build_well(&quickstart, 16, only, "only");
    assert!(!only.join("model.onnx").exists());
    assert!(std::fs::read(only.join(ADAPTER)).unwrap() == std::fs::read(second.join(ADAPTER)).unwrap());

    let (one, two) = (generated(&first, &[]), generated(&second, &[]));
    assert_ne!(one, two, "the adapters must differ");
    let file = only.join(ADAPTER);
    assert_eq!(generated(&first, &["--adapter", file.to_str().unwrap()]), two);
    assert_eq!(generated(&first, &["--adapter", only.to_str().unwrap()]), two);
    assert_eq!(generated(&second, &["--adapter", first.to_str().unwrap()]), one);
    assert_eq!(generated(&first, OFF), generated(&second, OFF));
    // Tensors that move from run to run take another way into the session than a cache that stays.
    let config = first.join("genai_config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(
        &config,
        text.replace(r#""past_present_share_buffer": true"#, r#""past_present_share_buffer": false"#),
    )
    .unwrap();
    assert_eq!(generated(&first, &[]), one);
}

#[test]
fn the_base_is_quantised_and_the_adapter_is_not() {
    let quickstart = Quickstart::new(2);
    let float = build_well(&quickstart, 4, json!({"precision": "fp32", "adapters": "separate"}), "float");
    let int4 = build_well(&quickstart, 4, json!({"precision": "int4", "adapters": "separate"}), "int4");
    assert!(std::fs::read(float.join(ADAPTER)).unwrap() == std::fs::read(int4.join(ADAPTER)).unwrap());
    let nodes = model(&int4).graph.unwrap().node;
    let kind = |name: &str| {
        nodes.iter().find(|n| n.name == name).unwrap_or_else(|| panic!("no `{name}`")).op_type.clone()
    };
    assert_eq!(kind("/model/layers.1/attn/q_proj/MatMul_Q4"), "MatMulNBits");
    assert_eq!(kind("/model/layers.1/attn/q_proj/lora_A/MatMul"), "MatMul");
    generated(&int4, &[]);
}

#[test]
fn an_adapter_of_another_graph_is_refused() {
    let quickstart = Quickstart::new(1);
    let options = json!({"precision": "fp32", "adapters": "separate"});
    let few = Training(4, json!({"target_modules": ["o_proj"]}));
    let made = build(&quickstart, Some(few), options.clone(), "few");
    assert!(made.status.success(), "{}", text(&made.stderr));
    let few = quickstart.dir.path().join("few");
    let all = build_well(&quickstart, 4, options, "all");
    // The other modules keep their empty matrices.
    generated(&all, &["--adapter", few.to_str().unwrap()]);
    let says = |model: &Path, adapter: &Path| {
        let output = greedy(model, "The olive tree", 16).arg("--adapter").arg(adapter).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        text(&output.stderr)
    };
    let message = says(&few, &all);
    assert!(message.contains("the graph has no input `model.layers.0."), "{message}");
    assert!(message.contains("--no-adapter"), "{message}");
    let message = says(&all, &few.join("model.onnx"));
    assert!(message.contains("no file of ONNX Runtime's adapter format"), "{message}");
    let message = says(&all, &root().join("configs"));
    assert!(message.contains("`adapters: separate`"), "{message}");
    let message = says(&base_model(), &few.join(ADAPTER));
    assert!(message.contains("a Hugging Face model, which takes a folder"), "{message}");
}

#[test]
fn what_cannot_be_kept_apart_is_refused_before_anything_runs() {
    let quickstart = Quickstart::new(1);
    let separate = json!({"precision": "int4", "adapters": "separate"});
    let refused = |training: Option<Training>, options: &Value| {
        let output = build(&quickstart, training, options.clone(), "out");
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
        assert!(!quickstart.cache().join("passes-v1/LoRA").exists());
        text(&output.stderr)
    };
    let message = refused(None, &separate);
    assert!(message.contains("there is no adapter to keep apart"), "{message}");
    let calibrated =
        json!({"precision": "int4", "adapters": "separate", "calibration": "dataset_default_train"});
    let message = refused(Some(Training(4, json!({}))), &calibrated);
    assert!(message.contains("`adapters` is separate") && message.contains("`calibration`"), "{message}");
    for (options, what) in [
        (json!({"use_dora": true}), "DoRA scales the rows of the base"),
        (json!({"modules_to_save": ["lm_head"]}), "`modules_to_save` trains weights of the base"),
    ] {
        let message = refused(Some(Training(4, options)), &separate);
        assert!(message.contains(what) && message.contains("`adapters: merged`"), "{message}");
    }

    // An adapter that exists already, of which the file says the same.
    let output = build(
        &quickstart,
        Some(Training(4, json!({"use_dora": true}))),
        json!({"precision": "fp32"}),
        "dora",
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    let trained = std::fs::read_dir(quickstart.cache().join("passes-v1/LoRA")).unwrap().flatten();
    let adapter = trained.map(|e| e.path().join("output")).find(|p| p.is_dir()).unwrap();
    let config = json!({
        "input_model": {
            "type": "HfModel", "model_path": base_model(), "adapter_path": adapter,
        },
        "passes": {"builder": {"type": "ModelBuilder", "config": separate}},
        "engine": {"cache_dir": quickstart.cache()},
    });
    let output = run(&quickstart, config, "out");
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    let message = text(&output.stderr);
    assert!(message.contains("it is of DoRA") && message.contains("`adapters: merged`"), "{message}");
}
