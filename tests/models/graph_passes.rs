//! Passes on ONNX graphs: half precision, adapters taken out, the old quantiser.

use crate::support::binary::{generated, olive, run_configuration, text};
use crate::support::onnx;
use crate::support::quickstart::{Quickstart, base_model};
use half::f16;
use olive_onnx::proto::{GraphProto, data_type};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;

const OFF: &[&str] = &["--no-adapter"];

/// Runs these passes, in this order, on a model.
fn run(quickstart: &Quickstart, model: Value, passes: &[Value], output: &str) -> Output {
    let name = |(place, pass): (usize, &Value)| (format!("p{place}"), pass.clone());
    let config = json!({
        "input_model": model,
        "passes": passes.iter().enumerate().map(name).collect::<serde_json::Map<_, _>>(),
        "output_dir": quickstart.dir.path().join(output),
        "cache_dir": quickstart.cache(),
    });
    run_configuration(quickstart.dir.path(), &config)
}

fn run_well(quickstart: &Quickstart, model: Value, passes: &[Value], output: &str) -> PathBuf {
    let made = run(quickstart, model, passes, output);
    assert!(made.status.success(), "{}", text(&made.stderr));
    quickstart.dir.path().join(output)
}

fn onnx_model(dir: &Path) -> Value {
    json!({"type": "ONNXModel", "model_path": dir})
}

fn float_graph(quickstart: &Quickstart) -> PathBuf {
    let model = json!({"type": "HfModel", "model_path": base_model()});
    run_well(quickstart, model, &[json!({"type": "ModelBuilder", "precision": "fp32"})], "fp32")
}

/// The types of the graph's inputs and outputs.
fn types(graph: &GraphProto) -> BTreeMap<&str, i32> {
    let values = graph.input.iter().chain(&graph.output);
    let kind = |value: &olive_onnx::proto::ValueInfoProto| {
        value.r#type.as_ref().unwrap().tensor_type.as_ref().unwrap().elem_type
    };
    values.map(|value| (value.name.as_str(), kind(value))).collect()
}

fn casts(graph: &GraphProto) -> usize {
    graph.node.iter().filter(|node| node.op_type == "Cast").count()
}

#[test]
fn a_float_graph_becomes_half() {
    let quickstart = Quickstart::new(1);
    let float = float_graph(&quickstart);
    let half = |options: Value, output: &str| {
        let mut pass = json!({"type": "OnnxFloatToFloat16"});
        pass.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        run_well(&quickstart, onnx_model(&float), &[pass], output)
    };
    let wanted = generated(&float, &[]);
    let before = onnx::graph(&float);
    let wide = onnx::tensors(&float, &before);

    let all = half(json!({"min_positive_val": 0.001, "max_finite_val": 1.5}), "all");
    let graph = onnx::graph(&all);
    assert!(types(&graph).values().all(|kind| [data_type::FLOAT16, data_type::INT64].contains(kind)));
    assert_eq!(casts(&graph), casts(&before), "nothing stays in f32, so nothing is cast");
    let narrow = onnx::tensors(&all, &graph);
    assert_eq!(narrow.len(), wide.len());
    for (name, (tensor, bytes)) in &wide {
        let (half, halves) = &narrow[name];
        assert_eq!((tensor.data_type, half.data_type), (data_type::FLOAT, data_type::FLOAT16), "{name}");
        for (wide, narrow) in bytes.as_chunks().0.iter().zip(halves.as_chunks().0) {
            let value = f32::from_le_bytes(*wide);
            let bounded = if value == 0.0 { 0.0 } else { value.abs().clamp(0.001, 1.5).copysign(value) };
            assert_eq!(f16::from_le_bytes(*narrow), f16::from_f32(bounded), "{name}: {value}");
        }
    }

    let plain = half(json!({}), "plain");
    assert_eq!(generated(&plain, &[]), wanted);
    let kept = half(json!({"keep_io_types": true}), "kept");
    assert_eq!(types(&onnx::graph(&kept)), types(&before));
    assert_eq!(generated(&kept, &[]), wanted);
    let logits = half(json!({"keep_io_types": ["logits"]}), "logits");
    let graph = onnx::graph(&logits);
    let odd: Vec<&str> =
        types(&graph).iter().filter(|(_, kind)| **kind == data_type::FLOAT).map(|(name, _)| *name).collect();
    assert_eq!(odd, ["logits"]);
    assert_eq!(casts(&graph), casts(&before) + 1);
    assert_eq!(generated(&logits, &[]), wanted);

    // What stays in f32 has its weights in f32, and casts around it.
    let head = "/lm_head/MatMul";
    let mixed =
        half(json!({"node_block_list": [head], "op_block_list": ["SimplifiedLayerNormalization"]}), "mixed");
    let graph = onnx::graph(&mixed);
    let node = graph.node.iter().find(|node| node.name == head).expect("the head");
    assert!(node.input[0].ends_with("_cast_to_fp32") && node.output[0] != "logits", "{node:?}");
    let first =
        graph.node.iter().find(|node| node.op_type == "SimplifiedLayerNormalization").expect("a norm");
    assert_eq!(onnx::tensors(&mixed, &graph)[&first.input[1]].0.data_type, data_type::FLOAT);
    assert_eq!(casts(&graph), casts(&before) + 4, "two before, two behind");
    assert_eq!(generated(&mixed, &[]), wanted);
    let products = half(json!({"op_include_list": ["MatMul"]}), "products");
    assert!(casts(&onnx::graph(&products)) > casts(&graph));
    assert_eq!(generated(&products, &[]), wanted);
}

#[test]
fn lists_of_half_precision_exclude_each_other() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("c.json");
    for list in ["op", "node"] {
        let names = [format!("{list}_block_list"), format!("{list}_include_list")];
        let pass = json!({"type": "OnnxFloatToFloat16", (&names[0]): ["a"], (&names[1]): ["b"]});
        let config = json!({"input_model": onnx_model(Path::new("m")), "passes": {"p": pass}});
        std::fs::write(&path, config.to_string()).expect("the configuration is written");
        let output = olive().args(["validate", "--config"]).arg(&path).output().expect("it runs");
        let said = text(&output.stderr);
        assert!(!output.status.success() && said.contains("exclude each other"), "{said}");
    }
}

/// The model and an adapter that was trained on it for a few steps.
fn adapted(quickstart: &Quickstart) -> Value {
    let mut config = Quickstart::configuration(&["lora"]);
    config["passes"]["lora"]["config"]["training_args"]["max_steps"] = quickstart.steps.into();
    config["engine"]["cache_dir"] = json!(quickstart.cache());
    config["engine"]["output_dir"] = json!(quickstart.dir.path().join("adapter"));
    let made = run_configuration(quickstart.dir.path(), &config);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let adapter = quickstart.dir.path().join("adapter/adapter");
    json!({"type": "HfModel", "model_path": base_model(), "adapter_path": adapter})
}

#[test]
fn the_matrices_of_an_adapter_leave_the_graph() {
    let quickstart = Quickstart::new(12);
    let model = adapted(&quickstart);
    let builder = json!({"type": "ModelBuilder", "precision": "fp32"});
    let extract = |options: Value| {
        let mut pass = json!({"type": "ExtractAdapters"});
        pass.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        pass
    };
    let merged = run_well(&quickstart, model.clone(), std::slice::from_ref(&builder), "merged");
    let wanted = generated(&merged, &[]);
    let base = generated(&base_model(), &[]);
    assert_ne!(wanted, base, "the adapter must make a difference");

    // ModelBuilder alone would merge it; before ExtractAdapters it does not.
    let beside = run_well(&quickstart, model.clone(), &[builder.clone(), extract(json!({}))], "beside");
    assert_eq!(generated(&beside, &[]), wanted);
    assert_eq!(generated(&beside, OFF), base);

    // In other formats the graph reads them from their file.
    for (format, ending) in
        [("safetensors", "safetensors"), ("numpy", "npz"), ("onnx_adapter", "onnx_adapter")]
    {
        let inside = extract(json!({"make_inputs": false, "save_format": format}));
        let inside =
            run_well(&quickstart, model.clone(), &[builder.clone(), inside], &format!("inside-{format}"));
        let graph = onnx::graph(&inside);
        assert!(graph.input.iter().all(|input| !input.name.contains("lora")));
        let file = format!("adapter_weights.{ending}");
        let places = graph.initializer.iter().flat_map(|tensor| &tensor.external_data);
        assert!(places.filter(|entry| entry.key == "location").any(|entry| entry.value == file));
        assert!(inside.join(&file).is_file());
        assert_eq!(generated(&inside, OFF), wanted, "{format}");
    }

    // Out of a graph that has them in it: of any rank and without an adapter, or of its rank and required.
    let inside = quickstart.dir.path().join("inside-numpy");
    let again = run_well(&quickstart, onnx_model(&inside), &[extract(json!({}))], "again");
    let rank = |dir: &Path| {
        let graph = onnx::graph(dir);
        let input = graph.input.iter().find(|input| input.name.contains("lora_A")).expect("an input").clone();
        let shape = input.r#type.unwrap().tensor_type.unwrap().shape.unwrap();
        let default = graph.initializer.iter().any(|tensor| tensor.name == input.name);
        (shape.dim[1].dim_param.clone(), shape.dim[1].dim_value, default)
    };
    assert_eq!(rank(&again), (Some("lora_r".into()), None, true));
    assert_eq!((generated(&again, &[]), generated(&again, OFF)), (wanted.clone(), base.clone()));
    let fixed = extract(json!({"dynamic_lora_r": false}));
    let fixed = run_well(&quickstart, onnx_model(&inside), &[fixed], "fixed");
    assert!(matches!(rank(&fixed), (None, Some(_), true)));
    assert_eq!((generated(&fixed, &[]), generated(&fixed, OFF)), (wanted.clone(), base));
    let required = extract(json!({"optional_inputs": false}));
    let required = run_well(&quickstart, onnx_model(&inside), &[required], "required");
    assert_eq!(rank(&required), (Some("lora_r".into()), None, false));
    assert_eq!(generated(&required, &[]), wanted);

    // Half a graph takes half an adapter.
    let half = json!({"type": "OnnxFloatToFloat16"});
    let half = run_well(&quickstart, onnx_model(&again), &[half], "half");
    assert_eq!(generated(&half, &[]), wanted);
}

#[test]
fn codes_of_an_adapter_are_inputs_of_their_own() {
    let quickstart = Quickstart::new(12);
    let builder = json!({"type": "ModelBuilder", "precision": "fp32"});
    let passes = [
        builder,
        json!({"type": "ExtractAdapters", "make_inputs": false}),
        json!({"type": "OnnxMatMul4Quantizer", "block_size": 16}),
    ];
    let codes = run_well(&quickstart, adapted(&quickstart), &passes, "codes");
    let extract = json!({"type": "ExtractAdapters"});
    let apart = run_well(&quickstart, onnx_model(&codes), &[extract], "apart");
    let graph = onnx::graph(&apart);
    let inputs: Vec<&str> =
        graph.input.iter().map(|input| input.name.as_str()).filter(|name| name.contains("lora")).collect();
    assert!(inputs.iter().all(|name| name.ends_with(".quant.weight") || name.ends_with(".quant.scale")));
    assert_eq!(
        inputs.len(),
        4 * 7 * 2 * 2,
        "codes and scales of two matrices of seven products in four layers"
    );
    assert_eq!(generated(&apart, &[]), generated(&codes, OFF));
}

#[test]
fn what_cannot_be_extracted_is_refused_by_name() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("c.json");
    for (options, what) in
        [(json!({"save_format": "pt"}), "`pt` is a pickle"), (json!({"adapter_type": "dora"}), "`dora`")]
    {
        let mut pass = json!({"type": "ExtractAdapters"});
        pass.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        let config = json!({"input_model": onnx_model(Path::new("m")), "passes": {"p": pass}});
        std::fs::write(&path, config.to_string()).expect("the configuration is written");
        let output = olive().args(["validate", "--config"]).arg(&path).output().expect("it runs");
        assert!(!output.status.success() && text(&output.stderr).contains(what), "{}", text(&output.stderr));
    }
}

#[test]
fn the_old_quantiser_is_one_of_todays() {
    let quickstart = Quickstart::new(1);
    let float = float_graph(&quickstart);
    let tensors = |pass: Value, output: &str| {
        let dir = run_well(&quickstart, onnx_model(&float), &[pass], output);
        onnx::tensors(&dir, &onnx::graph(&dir))
    };
    let old = |options: Value, output: &str| {
        let mut pass = json!({"type": "OnnxMatMul4Quantizer"});
        pass.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        tensors(pass, output)
    };
    let both = json!(["MatMul", "Gather"]);
    let rtn = tensors(json!({"type": "OnnxBlockWiseRtnQuantization", "block_size": 32}), "rtn");
    assert_eq!(old(json!({"op_types_to_quantize": both}), "both"), rtn);
    let products = old(json!({"algorithm": "DEFAULT"}), "default");
    let is_same =
        |(name, (_, bytes)): (&String, &(_, Vec<u8>))| name.contains("embed_tokens") || rtn[name].1 == *bytes;
    assert!(products.iter().all(is_same));
    assert!(!products.keys().any(|name| name.contains("embed_tokens") && name.ends_with("_Q4")));
    let hqq = tensors(json!({"type": "OnnxHqqQuantization", "block_size": 64}), "hqq");
    assert_eq!(old(json!({"algorithm": "HQQ", "block_size": 64}), "old-hqq"), hqq);
    let own = json!({"block_size": 64, "bits": 8, "is_symmetric": false});
    let wide =
        json!({"type": "OnnxBlockWiseRtnQuantization", "block_size": 64, "bits": 8, "is_symmetric": false});
    let options = json!({"weight_only_quant_configs": own, "op_types_to_quantize": both});
    assert_eq!(old(options, "own"), tensors(wide, "wide"));
    // Intel's rounding is ModelBuilder's.
    let model = json!({"type": "HfModel", "model_path": base_model()});
    let builder = json!({"type": "ModelBuilder", "precision": "int4", "int4_algo_config": "rtn"});
    let built = run_well(&quickstart, model, &[builder], "builder");
    let built = onnx::tensors(&built, &onnx::graph(&built));
    let intel = old(json!({"algorithm": "RTN"}), "intel");
    let codes = |tensors: &BTreeMap<String, (olive_onnx::proto::TensorProto, Vec<u8>)>| {
        let codes = tensors.iter().filter(|(_, (tensor, _))| tensor.data_type == data_type::UINT8);
        let mut codes: Vec<Vec<u8>> = codes.map(|(_, (_, bytes))| bytes.clone()).collect();
        codes.sort();
        codes
    };
    assert!(!codes(&intel).is_empty());
    assert_eq!(codes(&intel), codes(&built));

    let refused = run(
        &quickstart,
        onnx_model(&float),
        &[json!({"type": "OnnxMatMul4Quantizer", "algorithm": "GPTQ"})],
        "gptq",
    );
    let said = text(&refused.stderr);
    assert!(!refused.status.success() && said.contains("before ModelBuilder"), "{said}");
}
