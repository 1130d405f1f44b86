//! Tiny checkpoints of families that have something special, against the logits that transformers gives for them: our
//! float decoder, and our fp32 ONNX model in ONNX Runtime. Their int4 weights against the reference builder's, their
//! gradients against differences of the loss.

use crate::support::binary::{generated, greedy, olive, run_configuration, succeed, text};
use crate::support::models::{families as all, family, name};
use crate::support::onnx::{graph, tensors};
use crate::support::quickstart::base_model;
use crate::support::runtime::library;
use crate::support::training::adapter;
use candle_core::{Device as Cpu, Tensor};
use olive_arch::{RopeScaling, RopeUse, SUPPORTED, Spec};
use olive_core::device::Device;
use olive_decoder::{Decoder, LanguageModel, LoraGradients, Tokens, TrainingMode};
use olive_model::ModelFolder;
use olive_onnx::proto::TensorProto;
use olive_runtime::{CacheMode, OnnxSession};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const TOLERANCE: f32 = 1e-4;

/// Tokens that are read at once before the others follow one by one. More than a window, less than LongRoPE's original
/// context, whose end the model must pass while it generates.
const PROMPT: usize = 20;

/// What ModelBuilder makes of it for the CPU.
fn build(family: &Path, precision: &str, temp: &Path) -> PathBuf {
    build_for(family, precision, "CPUExecutionProvider", temp)
}

fn build_for(family: &Path, precision: &str, provider: &str, temp: &Path) -> PathBuf {
    let device = if provider.starts_with("CPU") { "cpu" } else { "gpu" };
    let json = serde_json::json!({
        "input_model": {"type": "HfModel", "model_path": family},
        "systems": {"here": {
            "type": "LocalSystem",
            "accelerators": [{"device": device, "execution_providers": [provider]}],
        }},
        "target": "here",
        "passes": {"builder": {"type": "ModelBuilder", "precision": precision}},
    });
    run(json, temp, "onnx")
}

/// The output folder of a pipeline.
pub(crate) fn run(mut config: serde_json::Value, temp: &Path, output: &str) -> PathBuf {
    let out = temp.join(output);
    config["cache_dir"] = temp.join("cache").to_str().into();
    config["output_dir"] = out.to_str().into();
    let run = run_configuration(temp, &config);
    assert!(run.status.success(), "{config}: {}", text(&run.stderr));
    out
}

/// Token ids, and the logits after each of them.
fn reference(family: &Path) -> (Vec<u32>, Vec<Vec<f32>>) {
    let tensors = candle_core::safetensors::load(family.join("logits.safetensors"), &Cpu::Cpu).unwrap();
    let ids: Vec<i64> = tensors["ids"].to_vec1().unwrap();
    (ids.into_iter().map(|id| id as u32).collect(), tensors["logits"].to_vec2().unwrap())
}

/// The largest difference over all positions from the end of the prompt on.
pub(crate) fn largest_difference<M: LanguageModel>(
    model: &M,
    sequence: &mut M::Sequence,
    family: &Path,
) -> f32 {
    let (ids, want) = reference(family);
    assert!(ids.len() > PROMPT);
    let mut fed = 0;
    let mut largest = 0.0f32;
    for end in PROMPT..=ids.len() {
        let got = model.feed(sequence, &ids[fed..end]).unwrap();
        fed = end;
        assert_eq!(got.len(), want[end - 1].len());
        largest = got.iter().zip(&want[end - 1]).fold(largest, |most, (a, b)| most.max((a - b).abs()));
    }
    largest
}

#[test]
fn float_logits_are_those_of_transformers() {
    for family in all() {
        let folder = ModelFolder::open(&family).unwrap();
        let decoder = Decoder::load(&folder, None, None, &Device::Cpu).unwrap();
        let difference = largest_difference(&decoder, &mut decoder.new_sequence().unwrap(), &family);
        println!("{}: float differs by {difference:.1e}", name(&family));
        assert!(difference <= TOLERANCE, "{}: {difference}", family.display());
    }
}

#[test]
fn onnx_logits_are_those_of_transformers() {
    let library = library();
    for family in all() {
        let temp = tempfile::tempdir().unwrap();
        let onnx = build(&family, "fp32", temp.path());
        for mode in [CacheMode::Auto, CacheMode::Moved] {
            let session = OnnxSession::open(&onnx, None, &library, mode).unwrap();
            let mut sequence = session.new_sequence().unwrap();
            let difference = largest_difference(&session, &mut sequence, &family);
            println!("{}: ONNX differs by {difference:.1e}", name(&family));
            assert!(difference <= TOLERANCE, "{}: {difference}", name(&family));
            // Back to the prompt: LongRoPE then rotates as for short sequences again.
            let (ids, want) = reference(&family);
            let kept = session.truncate(&mut sequence, PROMPT).unwrap();
            let got = session.feed(&mut sequence, &ids[kept..=PROMPT]).unwrap();
            let close = got.iter().zip(&want[PROMPT]).all(|(a, b)| (a - b).abs() <= TOLERANCE);
            assert!(close, "{}: after going back", name(&family));
        }
    }
}

/// `scripts/check-families.py` has written the hashes of the reference's initializers.
#[test]
fn int4_weights_are_those_of_the_reference_builder() {
    for family in all() {
        let temp = tempfile::tempdir().unwrap();
        let onnx = build(&family, "int4", temp.path());
        let json = std::fs::read_to_string(family.join("int4.json")).unwrap();
        let want: BTreeMap<String, (i32, Vec<i64>, String)> = serde_json::from_str(&json).unwrap();
        let mut got = fingerprints(&onnx);
        if ModelFolder::open(&family).unwrap().spec().unwrap().norm_plus_one {
            // The reference adds the one in the checkpoint's type, we do in f32.
            got.retain(|tensor, _| !tensor.ends_with("norm.weight"));
        }
        assert!(got.keys().eq(want.keys()), "{}: {:?}", name(&family), got.keys());
        for (tensor, want) in &want {
            assert_eq!(&got[tensor], want, "{}: {tensor}", name(&family));
        }
    }
}

/// Type, shape and SHA-256 of every initializer, and of the tables inside of branches.
fn fingerprints(onnx: &Path) -> BTreeMap<String, (i32, Vec<i64>, String)> {
    let fingerprint = |(tensor, bytes): (TensorProto, Vec<u8>)| {
        let hash = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
        (tensor.data_type, tensor.dims, hash)
    };
    let all = tensors(onnx, &graph(onnx));
    all.into_iter().map(|(name, tensor)| (name, fingerprint(tensor))).collect()
}

/// Along the gradient the loss rises by its square.
#[test]
fn gradients_are_those_of_the_loss() {
    for family in all() {
        let folder = ModelFolder::open(&family).unwrap();
        let mut decoder = Decoder::load(&folder, None, None, &Device::Cpu).unwrap();
        let adapter = adapter(&decoder.spec, 0.0);
        decoder.attach(&adapter).unwrap();

        let (ids, _) = reference(&family);
        let targets: Vec<i32> = ids[1..].iter().chain([&ids[0]]).map(|id| *id as i32).collect();
        let tokens = Tokens { sequence_length: ids.len(), lengths: vec![ids.len()], ids };
        let count = decoder.lora().len();
        let mut gradients = LoraGradients::new(count);
        let mode = TrainingMode::default();
        decoder.loss_and_gradients(&tokens, &targets, 1.0, mode, &mut gradients).unwrap();
        let square =
            |t: &Tensor| -> f64 { t.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap().into() };
        let mut squares = 0.0;
        for i in 0..count {
            let (a, b) = gradients.get(i).expect("a gradient for every module");
            let module = &decoder.lora()[i].name;
            assert!(square(a) > 0.0 && square(b) > 0.0, "{}: {module} learns nothing", name(&family));
            squares += square(a) + square(b);
        }
        let mut at = |step: f64| {
            for (i, module) in decoder.lora_mut().iter_mut().enumerate() {
                let (a, b) = gradients.get(i).unwrap();
                module.a = (&module.a + (a * step).unwrap()).unwrap();
                module.b = (&module.b + (b * step).unwrap()).unwrap();
            }
            decoder.loss(&tokens, &targets).unwrap().sum
        };
        let step = 0.005 / squares.sqrt();
        let rise = (at(step) - at(-2.0 * step)) / (2.0 * step);
        println!("{}: the loss rises by {:.5} of what the gradient says", name(&family), rise / squares);
        assert!((rise / squares - 1.0).abs() < 5e-3, "{}: {rise} instead of {squares}", name(&family));
    }
}

/// The whole way of a user: train, export, generate, also with windows and scaled rotations.
#[test]
fn what_was_trained_is_what_was_exported() {
    library();
    for family in all() {
        let temp = tempfile::tempdir().unwrap();
        let model = temp.path().join("hf");
        std::fs::create_dir(&model).unwrap();
        for file in ["config.json", "model.safetensors"] {
            std::fs::copy(family.join(file), model.join(file)).unwrap();
        }
        let vocab: serde_json::Map<_, _> = (0..128).map(|i| (format!("t{i}"), i.into())).collect();
        let tokenizer = serde_json::json!({
            "version": "1.0", "added_tokens": [], "pre_tokenizer": {"type": "WhitespaceSplit"},
            "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "t0"},
        });
        std::fs::write(model.join("tokenizer.json"), tokenizer.to_string()).unwrap();
        let text = |from: usize, count: usize| {
            let words = (from..from + count).map(|i| format!("t{}", 3 + i * i % 125));
            words.collect::<Vec<_>>().join(" ")
        };
        let rows: Vec<String> =
            (0..8).map(|i| serde_json::json!({"text": text(i * 5, 24)}).to_string()).collect();
        let data = temp.path().join("data.jsonl");
        std::fs::write(&data, rows.join("\n")).unwrap();

        let mut config = serde_json::json!({
            "input_model": {"type": "HfModel", "model_path": model},
            "data_configs": [{
                "name": "words", "type": "HuggingfaceContainer",
                "load_dataset_config": {"params": {"data_name": "json", "data_files": data, "split": "train"}},
                "pre_process_data_config": {"params": {
                    "dataset_type": "corpus", "text_cols": ["text"], "corpus_strategy": "line-by-line",
                    "source_max_len": 24,
                }},
            }],
            "passes": {"lora": {
                "type": "LoRA", "target_modules": "all-linear", "lora_r": 4, "lora_alpha": 8,
                "train_data_config": "words",
                "training_args": {"max_steps": 8, "learning_rate": 0.01, "per_device_train_batch_size": 2},
            }},
        });
        let mut merged = config.clone();
        merged["passes"]["merge"] = serde_json::json!({"type": "MergeAdapterWeights"});
        let merged = run(merged, temp.path(), "merged").join("model");
        config["passes"]["builder"] = serde_json::json!({"type": "ModelBuilder", "precision": "fp32"});
        let onnx = run(config, temp.path(), "onnx");

        let prompt = text(3, PROMPT);
        let generate = |dir: &Path| -> serde_json::Value {
            let answer = succeed(&mut greedy(dir, &prompt, 20));
            serde_json::from_slice::<serde_json::Value>(&answer.stdout).unwrap()["ids"].clone()
        };
        let (trained, exported) = (generate(&merged), generate(&onnx));
        println!("{}: {exported}", name(&family));
        assert_eq!(trained, exported, "{}", name(&family));
        let weights = |dir: &Path| {
            let folder = ModelFolder::open(dir).unwrap();
            let linear = folder.spec().unwrap().all_linears().last().unwrap();
            let shape = [linear.out_features, linear.in_features];
            let name = format!("{}.weight", linear.module);
            folder.checkpoint().unwrap().tensor_of(&name, &shape).unwrap().to_f32().unwrap()
        };
        assert_ne!(weights(&merged), weights(&model), "{}: training changed nothing", name(&family));
    }
}

#[test]
fn directml_turns_neighbours_too() {
    let temp = tempfile::tempdir().unwrap();
    let onnx = build_for(&family("glm4").dir, "int4", "DmlExecutionProvider", temp.path());
    let rotations = graph(&onnx).node.into_iter().filter(|node| node.op_type == "RotaryEmbedding");
    let attributes: Vec<BTreeMap<String, i64>> = rotations
        .map(|node| node.attribute.iter().map(|a| (a.name.clone(), a.i.unwrap_or_default())).collect())
        .collect();
    assert_eq!(attributes.len(), 4);
    assert!(attributes.iter().all(|a| a["interleaved"] == 1 && a["rotary_embedding_dim"] == 16));
}

/// What transformers 4 left out of a configuration means what transformers 5 writes.
#[test]
fn configurations_of_transformers_4_mean_the_same() {
    let read = |name: &str, change: &dyn Fn(&mut serde_json::Value)| {
        let mut config = family(name).config;
        change(&mut config);
        Spec::from_config(&config).unwrap()
    };
    let remove = |config: &mut serde_json::Value, key: &str| config.as_object_mut().unwrap().remove(key);
    let old = |config: &mut serde_json::Value| {
        config["num_hidden_layers"] = 8.into();
        config["rope_theta"] = 10_000.0.into();
        remove(config, "layer_types");
        config["rope_scaling"] = remove(config, "rope_parameters")
            .map_or_else(Default::default, |mut rope| rope["full_attention"].take());
    };
    let windows = |spec: &Spec| spec.layers.iter().map(|l| l.window.is_some()).collect::<Vec<_>>();
    let three_of_four: Vec<bool> = (1..9).map(|i| i % 4 != 0).collect();
    let olmo = read("olmo3", &old);
    assert_eq!(windows(&olmo), three_of_four);
    assert!(matches!(olmo.rope.scaling, RopeScaling::Yarn { .. }));
    assert_eq!(olmo.rope_local.as_ref().unwrap().scaling, RopeScaling::Default);
    assert_eq!((olmo.layers[0].rope, olmo.layers[3].rope), (RopeUse::Local, RopeUse::Global));
    let exaone = read("exaone4", &old);
    assert_eq!(windows(&exaone), three_of_four);
    assert_eq!((exaone.layers[0].rope, exaone.layers[3].rope), (RopeUse::Global, RopeUse::None));
    assert_eq!(windows(&read("ministral", &old)), [true; 8]);
    let glm = read("glm4", &|config| {
        remove(config, "rope_parameters");
        remove(config, "attention_bias");
    });
    assert_eq!((glm.rope.rotary_dim, glm.attention.qkv_bias), (16, true));
}

/// transformers goes by `model_type`; a class for another task is no model of the next token.
#[test]
fn without_a_known_class_the_model_type_tells_the_family() {
    for folder in all() {
        let config = ModelFolder::open(&folder).unwrap().config;
        let known = Spec::from_config(&config).unwrap();
        let class = known.family.architecture;
        let named = |architectures: serde_json::Value| {
            let mut config = config.clone();
            config["architectures"] = architectures;
            Spec::from_config(&config)
        };
        let nothing = serde_json::Value::Null;
        for wrapper in
            [nothing, json!([]), json!([null]), json!(["PeftModelForCausalLM"]), json!(["OptimizedModule"])]
        {
            assert_eq!(named(wrapper.clone()).unwrap(), known, "{wrapper}");
        }
        let stem = class.trim_end_matches("ForCausalLM");
        for other in
            ["Model", "ForSequenceClassification", "ForCausalLMEagle"].map(|task| format!("{stem}{task}"))
        {
            let error = named(json!([other])).unwrap_err().to_string();
            assert!(error.contains(&format!("`{other}` is not supported")), "{error}");
        }
    }
}

#[test]
fn a_configuration_without_a_class_is_generated_with() {
    let temp = tempfile::tempdir().unwrap();
    let copied = ["model.safetensors", "tokenizer.json", "tokenizer_config.json", "generation_config.json"];
    for name in copied.iter().filter(|name| base_model().join(name).is_file()) {
        std::fs::copy(base_model().join(name), temp.path().join(name)).unwrap();
    }
    let mut config = ModelFolder::open(&base_model()).unwrap().config;
    config.as_object_mut().unwrap().remove("architectures");
    std::fs::write(temp.path().join("config.json"), config.to_string()).unwrap();
    assert_eq!(generated(temp.path(), &[]), generated(&base_model(), &[]));
}

#[test]
fn an_unknown_architecture_is_told_what_is_supported() {
    let temp = tempfile::tempdir().unwrap();
    std::fs::write(temp.path().join("config.json"), r#"{"architectures": ["BertForMaskedLM"]}"#).unwrap();
    std::fs::write(temp.path().join("model.safetensors"), [2, 0, 0, 0, 0, 0, 0, 0, b'{', b'}']).unwrap();
    let run = olive().args(["generate", "--prompt", "x"]).arg(temp.path()).output().unwrap();
    let told = text(&run.stderr);
    assert!(!run.status.success() && told.contains("`BertForMaskedLM` is not supported"), "{told}");
    for name in SUPPORTED {
        assert!(told.contains(name), "{name} is not in: {told}");
    }
}
