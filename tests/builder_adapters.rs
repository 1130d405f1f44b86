//! `adapters: separate`: a base model in ONNX, and an adapter beside it that a session can switch on.

mod support;

use olive::onnx::proto::{ModelProto, TensorProto};
use prost::Message;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;
use support::{Quickstart, olive, root, text};

const ADAPTER: &str = "adapter_weights.onnx_adapter";

/// Trains the quickstart's adapter (or takes it from the cache) and builds with these options into `output`.
fn build(quickstart: &Quickstart, train: bool, options: Value, output: &str) -> Output {
    let file = std::fs::read_to_string(root().join("configs/quickstart/olive-config.json")).unwrap();
    let mut config: Value = serde_json::from_str(&file).unwrap();
    let passes = config["passes"].as_object_mut().unwrap();
    passes.retain(|name, _| name == "builder" || train && name == "lora");
    passes["builder"]["config"] = options;
    let path = quickstart.dir.path().join("config.json");
    std::fs::write(&path, config.to_string()).unwrap();
    let mut command = olive();
    command.arg("run").arg("--config").arg(path);
    command.arg("--set").arg(format!("engine.cache_dir={}", quickstart.cache().display()));
    command.arg("--set").arg(format!("engine.output_dir={}", quickstart.dir.path().join(output).display()));
    if train {
        command.args(["--set", "passes.lora.config.lora_r=4"]);
        command.args(["--set", &format!("passes.lora.config.training_args.max_steps={}", quickstart.steps)]);
    }
    command.output().unwrap()
}

fn build_well(quickstart: &Quickstart, options: Value, output: &str) -> PathBuf {
    let made = build(quickstart, true, options, output);
    assert!(made.status.success(), "{}", text(&made.stderr));
    quickstart.dir.path().join(output)
}

fn generated(model: &Path) -> Value {
    let mut command = olive();
    command.args(["generate", "--json", "--quiet", "--raw", "--temperature", "0", "--max-new-tokens", "16"]);
    let output = command.args(["--prompt", "The olive tree"]).arg(model).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice::<Value>(&output.stdout).unwrap()["ids"].clone()
}

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
    let merged = build_well(&quickstart, json!({"precision": "fp32"}), "merged");
    let separate = build_well(&quickstart, json!({"precision": "fp32", "adapters": "separate"}), "separate");
    let base = generated(&root().join("model-cache/tiny-phi3"));
    let wanted = generated(&merged);
    assert_ne!(base, wanted, "the adapter must make a difference");
    assert_eq!(generated(&separate), base, "without its adapter it is the base");

    // What a session does that switches the adapter on.
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
    assert_eq!(generated(&separate), wanted);
}

#[test]
fn the_base_is_quantised_and_the_adapter_is_not() {
    let quickstart = Quickstart::new(2);
    let float = build_well(&quickstart, json!({"precision": "fp32", "adapters": "separate"}), "float");
    let int4 = build_well(&quickstart, json!({"precision": "int4", "adapters": "separate"}), "int4");
    assert!(std::fs::read(float.join(ADAPTER)).unwrap() == std::fs::read(int4.join(ADAPTER)).unwrap());
    let nodes = model(&int4).graph.unwrap().node;
    let kind = |name: &str| {
        nodes.iter().find(|n| n.name == name).unwrap_or_else(|| panic!("no `{name}`")).op_type.clone()
    };
    assert_eq!(kind("/model/layers.1/attn/q_proj/MatMul_Q4"), "MatMulNBits");
    assert_eq!(kind("/model/layers.1/attn/q_proj/lora_A/MatMul"), "MatMul");
    generated(&int4);
}

#[test]
fn what_has_no_adapter_has_none_to_keep_apart() {
    let quickstart = Quickstart::new(1);
    let refused = build(&quickstart, false, json!({"precision": "int4", "adapters": "separate"}), "out");
    assert_eq!(refused.status.code(), Some(2));
    let message = text(&refused.stderr);
    assert!(message.contains("there is no adapter to keep apart"), "{message}");
    let options = json!({"precision": "int4", "adapters": "separate", "metadata_only": true});
    let refused = build(&quickstart, true, options, "out");
    assert!(text(&refused.stderr).contains("`adapters` is separate"), "{}", text(&refused.stderr));
}
