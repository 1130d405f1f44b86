//! ModelBuilder: what the ONNX folder holds, how options change it, and what is refused.

#[allow(dead_code, reason = "each test file uses a part of it")]
mod tiny_model;

use olive_config::{DataConfig, MixedPrecision, ModelBuilderOptions, PassOptions, Precision, QuantAlgorithm};
use olive_core::cancel::CancelFlag;
use olive_core::device::Device;
use olive_core::event::Event;
use olive_core::event::EventSink;
use olive_core::handle::{ModelHandle, ModelKind};
use olive_engine::passes::{self, MergePass, ModelBuilderPass, Pass, RunContext};
use olive_model::Checkpoint;
use olive_onnx::proto::{GraphProto, ModelProto, NodeProto};
use prost::Message;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Mutex;
use tiny_model::{HIDDEN, INNER, KV, LAYERS, VOCAB};

fn int4() -> ModelBuilderOptions {
    ModelBuilderOptions::new(Precision::Int4, "cpu")
}

fn run(
    input: &ModelHandle,
    options: ModelBuilderOptions,
    out: &Path,
    events: &dyn EventSink,
    cancel: &CancelFlag,
) -> olive_core::Result<ModelHandle> {
    let context = RunContext { device: Device::Cpu, cancel, events, base: None, artefacts: None };
    ModelBuilderPass { options }.run(input, out, &context)
}

/// Builds the tiny model with this configuration.
fn build(
    config: &Value,
    options: ModelBuilderOptions,
) -> olive_core::Result<(tempfile::TempDir, tempfile::TempDir)> {
    let (base, out) = (folder(), folder());
    tiny_model::write(base.path(), config);
    let input = ModelHandle::Hf { dir: base.path().to_owned() };
    run(&input, options, out.path(), &(), &CancelFlag::default())?;
    Ok((base, out))
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn graph(dir: &Path) -> GraphProto {
    ModelProto::decode(&*std::fs::read(dir.join("model.onnx")).unwrap()).unwrap().graph.unwrap()
}

fn node<'a>(graph: &'a GraphProto, name: &str) -> &'a NodeProto {
    graph.node.iter().find(|n| n.name == name).unwrap_or_else(|| panic!("no node `{name}`"))
}

fn int(node: &NodeProto, attribute: &str) -> Option<i64> {
    node.attribute.iter().find(|a| a.name == attribute).and_then(|a| a.i)
}

fn bytes(dir: &Path, graph: &GraphProto, name: &str) -> Vec<u8> {
    let tensor = graph.initializer.iter().find(|t| t.name == name).unwrap_or_else(|| panic!("no `{name}`"));
    let entry = |key: &str| -> usize {
        tensor.external_data.iter().find(|e| e.key == key).unwrap().value.parse().unwrap()
    };
    let data = std::fs::read(dir.join("model.onnx.data")).unwrap();
    data[entry("offset")..entry("offset") + entry("length")].to_vec()
}

#[test]
fn quantised_rows_are_those_of_the_checkpoint() {
    let (base, out) = build(&tiny_model::config(), int4()).unwrap();
    let checkpoint = Checkpoint::open(base.path()).unwrap();
    let graph = graph(out.path());
    // One packed projection of q, k and v, and a matrix whose rows end in half a block.
    let qkv = ["q_proj", "k_proj", "v_proj"].map(|p| format!("model.layers.1.self_attn.{p}.weight"));
    let cases = [
        ("attn.qkv_proj", qkv.to_vec(), HIDDEN + 2 * KV, HIDDEN),
        ("mlp.down_proj", vec!["model.layers.1.mlp.down_proj.weight".into()], HIDDEN, INNER),
    ];
    for (name, tensors, n, k) in cases {
        let expected: Vec<f32> =
            tensors.iter().flat_map(|t| checkpoint.tensor(t).unwrap().to_f32().unwrap()).collect();
        let blocks = k.div_ceil(32);
        let codes = bytes(out.path(), &graph, &format!("model.layers.1.{name}.MatMul.weight_Q4"));
        let scales = bytes(out.path(), &graph, &format!("model.layers.1.{name}.MatMul.weight_scales"));
        assert_eq!((codes.len(), scales.len()), (n * blocks * 16, n * blocks * 4));
        for (i, want) in expected.iter().enumerate() {
            let (row, col) = (i / k, i % k);
            let block = row * blocks + col / 32;
            let byte = codes[block * 16 + col % 32 / 2];
            let code = if col % 2 == 0 { byte & 15 } else { byte >> 4 };
            let scale = f32::from_le_bytes(scales[4 * block..4 * block + 4].try_into().unwrap());
            let got = (f32::from(code) - 8.0) * scale;
            assert!((got - want).abs() <= scale.abs() * 1.01, "{name} [{row}, {col}]: {got} for {want}");
        }
    }
    let matmul = node(&graph, "/model/layers.1/mlp/down_proj/MatMul_Q4");
    let attributes = ["K", "N", "bits", "block_size", "accuracy_level"].map(|a| int(matmul, a));
    assert_eq!(attributes, [Some(INNER as i64), Some(HIDDEN as i64), Some(4), Some(32), Some(4)]);
}

#[test]
fn an_adapter_is_merged_on_the_way_with_the_bytes_of_merging_first() {
    let (base, adapter, merged) = (folder(), folder(), folder());
    tiny_model::write(base.path(), &tiny_model::config());
    let modules = [
        ("model.layers.0.self_attn.v_proj", KV, HIDDEN),
        ("model.layers.0.mlp.gate_proj", INNER, HIDDEN),
        ("model.layers.1.mlp.down_proj", HIDDEN, INNER),
        ("lm_head", VOCAB, HIDDEN),
    ];
    tiny_model::adapter(&modules).save(adapter.path()).unwrap();
    let input =
        ModelHandle::HfWithAdapter { base: base.path().to_owned(), adapter: adapter.path().to_owned() };
    let cancel = CancelFlag::default();
    let context =
        RunContext { device: Device::Cpu, cancel: &cancel, events: &(), base: None, artefacts: None };
    let merged_model =
        MergePass { options: Default::default() }.run(&input, merged.path(), &context).unwrap();

    for precision in [Precision::Int4, Precision::Fp32] {
        let options = ModelBuilderOptions { precision, ..int4() };
        let [direct, detour, bare] = [&input, &merged_model, &ModelHandle::Hf { dir: base.path().into() }]
            .map(|model| {
                let out = folder();
                run(model, options.clone(), out.path(), &(), &cancel).unwrap();
                out
            });
        for file in ["model.onnx", "model.onnx.data", "genai_config.json"] {
            let read = |dir: &tempfile::TempDir| std::fs::read(dir.path().join(file)).unwrap();
            assert!(read(&direct) == read(&detour), "{file}");
            assert_eq!(file == "model.onnx.data", read(&direct) != read(&bare), "{file}");
        }
    }
}

#[test]
fn tied_models_share_the_head_with_its_zero_points() {
    let mut config = tiny_model::config();
    config["tie_word_embeddings"] = json!(true);
    for (algorithm, is_symmetric, inputs) in [
        (QuantAlgorithm::Default, true, 3),
        (QuantAlgorithm::Default, false, 4),
        (QuantAlgorithm::Rtn, false, 4),
        (QuantAlgorithm::KQuant, true, 4),
    ] {
        let options = ModelBuilderOptions { algorithm, is_symmetric, ..int4() };
        let (_, out) = build(&config, options).unwrap();
        let graph = graph(out.path());
        let gather = node(&graph, "/model/embed_tokens/GatherBlockQuantized");
        let head = node(&graph, "/lm_head/MatMul_Q4");
        assert_eq!(gather.input.len(), inputs);
        assert_eq!(gather.input[2..], head.input[2..]);
        assert!(!graph.initializer.iter().any(|t| t.name == "model.embed_tokens.weight"));
        for name in &head.input[1..] {
            assert!(graph.initializer.iter().any(|t| t.name == *name), "{name}");
        }
    }
}

#[test]
fn a_sliding_window_stays_in_the_attention() {
    let mut config = tiny_model::config();
    config["architectures"] = json!(["MistralForCausalLM"]);
    config["model_type"] = json!("mistral");
    config["sliding_window"] = json!(8);
    let (_, out) = build(&config, int4()).unwrap();
    let graph = graph(out.path());
    for layer in 0..LAYERS {
        let attention = node(&graph, &format!("/model/layers.{layer}/attn/GroupQueryAttention"));
        assert_eq!(int(attention, "local_window_size"), Some(8));
        assert_eq!(int(attention, "sliding_window_cache"), None);
    }
    let genai: Value =
        serde_json::from_slice(&std::fs::read(out.path().join("genai_config.json")).unwrap()).unwrap();
    assert_eq!(genai["model"]["type"], "mistral");
    assert!(genai["model"]["decoder"]["sliding_window"].is_null());
}

#[test]
fn excluded_nodes_stay_in_float() {
    let nodes_to_exclude = vec!["/lm_head/MatMul".to_owned(), "/model/layers.0/attn/qkv_proj/MatMul".into()];
    let options = ModelBuilderOptions { nodes_to_exclude, ..int4() };
    let (base, out) = build(&tiny_model::config(), options).unwrap();
    let graph = graph(out.path());
    assert_eq!(node(&graph, "/model/layers.0/attn/qkv_proj/MatMul").op_type, "MatMul");
    let head = bytes(out.path(), &graph, "lm_head.MatMul.weight"); // [hidden, vocab]
    let rows = Checkpoint::open(base.path()).unwrap().tensor("lm_head.weight").unwrap().to_f32().unwrap();
    for (i, value) in rows.iter().enumerate() {
        let at = 4 * (i % HIDDEN * VOCAB + i / HIDDEN);
        assert_eq!(head[at..at + 4], value.to_le_bytes());
    }
}

#[test]
fn configuration_and_tokenizer_go_along() {
    let search = json!({"max_length": 77, "do_sample": true});
    let options = ModelBuilderOptions { search: search.as_object().cloned(), ..int4() };
    let (base, out) = build(&tiny_model::config(), options).unwrap();
    let read = |dir: &Path, name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
    for name in ["config.json", "tokenizer.json", "chat_template.jinja"] {
        assert_eq!(read(base.path(), name), read(out.path(), name));
    }
    let tokenizer: Value = serde_json::from_str(&read(out.path(), "tokenizer_config.json")).unwrap();
    assert_eq!((&tokenizer["model_max_length"], &tokenizer["x"]), (&json!(128), &json!(1)));
    let genai: Value = serde_json::from_str(&read(out.path(), "genai_config.json")).unwrap();
    assert_eq!(genai["search"]["max_length"], 77);
    assert_eq!(genai["search"]["do_sample"], true);
    // The tokenizer's own end of text ends a turn as well.
    assert_eq!(genai["model"]["eos_token_id"], json!([3, 2]));
    assert_eq!(genai["model"]["pad_token_id"], 2);
}

#[test]
fn what_cannot_be_built_says_what_can() {
    let fails = |options| build(&tiny_model::config(), options).map(|_| ()).unwrap_err();
    let error = fails(ModelBuilderOptions { precision: Precision::Fp16, ..int4() });
    assert_eq!(error.to_string(), "a model in fp16 for `cpu` cannot be built");
    assert!(error.hint().unwrap().contains("fp32, int8 and int4 for cpu"));
    let error = fails(ModelBuilderOptions { block_size: 48, ..int4() });
    assert!(error.to_string().contains("48"), "{error}");
    let error = fails(ModelBuilderOptions { nodes_to_exclude: vec!["/lm_head".into()], ..int4() });
    assert!(error.to_string().contains("`/lm_head`"), "{error}");
    assert!(error.hint().unwrap().contains("/model/layers.0/attn/qkv_proj/MatMul"));
    let after = |input| passes::output_kind(&PassOptions::ModelBuilder(int4()), input);
    assert!(after(ModelKind::Onnx).is_err());
    assert_eq!(after(ModelKind::HfWithAdapter), Ok(ModelKind::Onnx));
}

#[derive(Default)]
struct Recorder(Mutex<Vec<Event>>);

impl EventSink for Recorder {
    fn emit(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

#[test]
fn progress_counts_every_tensor_and_an_interruption_stops_it() {
    let (base, out) = (folder(), folder());
    tiny_model::write(base.path(), &tiny_model::config());
    let input = ModelHandle::Hf { dir: base.path().to_owned() };
    let (recorder, cancel) = (Recorder::default(), CancelFlag::default());
    run(&input, int4(), out.path(), &recorder, &cancel).unwrap();
    let events = recorder.0.into_inner().unwrap();
    let Some(Event::PhaseStarted { total: Some(total), .. }) = events.first() else {
        panic!("{events:?} does not begin with a phase")
    };
    let most = events.iter().filter_map(|e| match e {
        Event::PhaseProgress { done } => Some(*done),
        _ => None,
    });
    assert_eq!(most.max(), Some(*total));
    assert!(matches!(events.last(), Some(Event::PhaseFinished { .. })));

    cancel.raise();
    let error = run(&input, int4(), out.path(), &(), &cancel).unwrap_err();
    assert_eq!(error.exit_code(), 130);
}

fn ints(node: &NodeProto) -> Vec<Option<i64>> {
    ["bits", "block_size", "gather_axis", "quantize_axis"].map(|a| int(node, a)).to_vec()
}

#[test]
fn some_matrices_can_have_other_widths() {
    let mixed_precision = MixedPrecision { last_matmul: Some(8), mixed_layers: Some(8) };
    let (_, out) = build(&tiny_model::config(), ModelBuilderOptions { mixed_precision, ..int4() }).unwrap();
    let graph = graph(out.path());
    assert_eq!(int(node(&graph, "/lm_head/MatMul_Q8"), "bits"), Some(8));
    // Of two layers the first is in the outer eighths, and the second is neither there nor a third one.
    for (layer, bits) in [(0, 8), (1, 4)] {
        let of = |name: &str| int(node(&graph, &format!("/model/layers.{layer}/{name}")), "bits");
        assert_eq!(of(&format!("attn/qkv_proj/MatMul_Q{bits}")), Some(bits));
        assert_eq!(of(&format!("mlp/down_proj/MatMul_Q{bits}")), Some(bits));
        assert_eq!(of("mlp/up_proj/MatMul_Q4"), Some(4));
    }
}

/// Element `i` of 4-bit codes.
fn nibble(bytes: &[u8], i: usize) -> u8 {
    bytes[i / 2] >> (4 * (i % 2)) & 15
}

#[test]
fn dequantised_weights_are_those_of_the_product() {
    for is_symmetric in [true, false] {
        let options = ModelBuilderOptions { is_symmetric, ..int4() };
        let (base, blocks) = build(&tiny_model::config(), options.clone()).unwrap();
        let (_, qdq) =
            build(&tiny_model::config(), ModelBuilderOptions { use_qdq: true, ..options }).unwrap();
        let (a, b) = (graph(blocks.path()), graph(qdq.path()));
        assert!(!b.node.iter().any(|n| n.op_type == "MatMulNBits"));
        let product = node(&b, "/model/layers.0/mlp/down_proj/MatMul_matmul_Q4");
        let dequantise = node(&b, "/model/layers.0/mlp/down_proj/MatMul_DQ_Q4");
        assert_eq!((&*product.op_type, &*dequantise.op_type), ("MatMul", "DequantizeLinear"));
        assert_eq!(product.input[1], dequantise.output[0]);
        let (n, k, count) = (HIDDEN, INNER, INNER.div_ceil(32));
        let weight = "model.layers.0.mlp.down_proj.MatMul.weight";
        let codes = bytes(blocks.path(), &a, &format!("{weight}_Q4"));
        let turned = bytes(qdq.path(), &b, &format!("{weight}_DQ_Q4"));
        let scales = bytes(blocks.path(), &a, &format!("{weight}_scales"));
        let turned_scales = bytes(qdq.path(), &b, &format!("{weight}_DQ_scales"));
        // Here halves are rounded away from zero, there upwards, so the codes of halves alone may be one step apart.
        let weights = Checkpoint::open(base.path()).unwrap();
        let weights = weights.tensor("model.layers.0.mlp.down_proj.weight").unwrap().to_f32().unwrap();
        for row in 0..n {
            for col in 0..k {
                let code = i16::from(nibble(&codes, row * count * 32 + col));
                let turned = nibble(&turned, col * n + row);
                let turned = i16::from(if is_symmetric { turned ^ 8 } else { turned });
                let at = 4 * (row * count + col / 32);
                let scale = f32::from_le_bytes(scales[at..at + 4].try_into().unwrap());
                let steps = weights[row * k + col] / scale;
                let tie = turned == code - 1 && (steps - steps.floor() - 0.5).abs() < 1e-5;
                assert!(turned == code || tie, "[{row}, {col}]: {turned} for {code}");
            }
            for block in 0..count {
                let (at, turned_at) = (4 * (row * count + block), 4 * (block * n + row));
                assert_eq!(scales[at..at + 4], turned_scales[turned_at..turned_at + 4]);
            }
        }
    }
}

#[test]
fn the_embedding_can_be_quantised_by_itself() {
    let (_, out) =
        build(&tiny_model::config(), ModelBuilderOptions { quantise_gather: true, ..int4() }).unwrap();
    let graph = graph(out.path());
    let gather = node(&graph, "/model/embed_tokens/Gather_Q4");
    assert_eq!(gather.op_type, "GatherBlockQuantized");
    assert_eq!(ints(gather), [None, Some(32), Some(0), Some(1)]);
    let codes = bytes(out.path(), &graph, "model.embed_tokens.weight_Q4");
    assert_eq!(codes.len(), VOCAB * HIDDEN / 2);
}

#[test]
fn inputs_and_outputs_are_those_that_were_asked_for() {
    let names = |options: ModelBuilderOptions| {
        let (_, out) = build(&tiny_model::config(), options).unwrap();
        let graph = graph(out.path());
        let genai: Value =
            serde_json::from_slice(&std::fs::read(out.path().join("genai_config.json")).unwrap()).unwrap();
        let produced: Vec<_> = graph.node.iter().flat_map(|n| &n.output).collect();
        for output in &graph.output {
            assert!(produced.contains(&&output.name), "nothing gives `{}`", output.name);
        }
        let of = |values: &[olive_onnx::proto::ValueInfoProto]| {
            let names = values.iter().map(|v| v.name.clone());
            names.filter(|n| !n.starts_with("past") && !n.starts_with("present")).collect::<Vec<_>>()
        };
        (of(&graph.input), of(&graph.output), genai["model"]["decoder"].clone())
    };
    let (inputs, outputs, _) = names(int4());
    assert_eq!((inputs.join(" "), outputs.join(" ")), ("input_ids attention_mask".into(), "logits".into()));
    let (inputs, outputs, genai) =
        names(ModelBuilderOptions { exclude_embeds: true, exclude_lm_head: true, ..int4() });
    assert_eq!(inputs.join(" "), "attention_mask inputs_embeds");
    assert_eq!(outputs.join(" "), "hidden_states");
    assert_eq!(genai["inputs"]["inputs_embeds"], "inputs_embeds");
    assert!(genai["outputs"]["logits"].is_null());
    let (_, outputs, _) =
        names(ModelBuilderOptions { include_hidden_states: true, prune_lm_head: true, ..int4() });
    assert_eq!(outputs.join(" "), "hidden_states logits");
    let dml = ModelBuilderOptions::new(Precision::Int4, "dml");
    let (inputs, _, genai) = names(dml);
    assert_eq!(inputs.join(" "), "input_ids attention_mask position_ids");
    assert_eq!(genai["inputs"]["position_ids"], "position_ids");
}

#[test]
fn directml_rotates_outside_of_the_attention() {
    let (_, out) = build(&tiny_model::config(), ModelBuilderOptions::new(Precision::Int4, "dml")).unwrap();
    let graph = graph(out.path());
    let attention = node(&graph, "/model/layers.0/attn/GroupQueryAttention");
    assert_eq!(int(attention, "do_rotary"), Some(0));
    assert_eq!(attention.input[0], "/model/layers.0/attn/q_rotary/RotaryEmbedding/output_0");
    assert_eq!(attention.input[2], "/model/layers.0/attn/v_proj/MatMul/output_0");
    let rotary = node(&graph, "/model/layers.0/attn/k_rotary/RotaryEmbedding");
    assert_eq!(rotary.input[1..], ["position_ids", "cos_cache", "sin_cache"]);
}

#[test]
fn options_that_exclude_each_other_are_refused() {
    let refused = |options: ModelBuilderOptions| {
        let error = build(&tiny_model::config(), options).map(|_| ()).unwrap_err();
        error.to_string()
    };
    let both = ModelBuilderOptions { exclude_lm_head: true, include_hidden_states: true, ..int4() };
    assert!(refused(both).contains("include_hidden_states"));
    let eight = MixedPrecision { last_matmul: Some(8), mixed_layers: None };
    let qdq = ModelBuilderOptions { use_qdq: true, mixed_precision: eight, ..int4() };
    assert!(refused(qdq).contains("use_qdq"));
    assert!(refused(ModelBuilderOptions { shared_embeddings: Some(true), ..int4() }).contains("tie"));
}

/// A tokenizer of words, and rows for it.
fn words(dir: &Path) -> DataConfig {
    let vocabulary: serde_json::Map<String, Value> =
        (0..VOCAB).map(|i| (format!("w{i}"), json!(i))).collect();
    let tokenizer = json!({
        "version": "1.0", "added_tokens": [], "normalizer": null, "post_processor": null, "decoder": null,
        "truncation": null, "padding": null, "pre_tokenizer": {"type": "Whitespace"},
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "w0"},
    });
    std::fs::write(dir.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    std::fs::write(dir.join("tokenizer_config.json"), r#"{"eos_token": "w2"}"#).unwrap();
    let rows: String = (0..24)
        .map(|row| {
            let text: Vec<String> = (0..16).map(|i| format!("w{}", (row * 7 + i * i) % VOCAB)).collect();
            json!({"text": text.join(" ")}).to_string() + "\n"
        })
        .collect();
    let file = dir.join("rows.jsonl");
    std::fs::write(&file, rows).unwrap();
    let config = dir.join("run.json");
    let text = json!({
        "input_model": {"type": "HfModel", "model_path": dir},
        "data_configs": [{"name": "rows", "type": "HuggingfaceContainer",
            "load_dataset_config": {"data_name": "json", "data_files": file, "split": "train"},
            "pre_process_data_config": {"text_cols": ["text"], "strategy": "line-by-line", "max_seq_len": 16}}],
        "passes": {"b": {"type": "ModelBuilder", "precision": "int4", "calibration": "rows"}},
    });
    std::fs::write(&config, text.to_string()).unwrap();
    let config =
        olive_config::RunConfig::load(&config, &Default::default()).unwrap_or_else(|e| panic!("{e}"));
    let PassOptions::ModelBuilder(builder) = config.passes[0].pass.clone() else {
        panic!("not ModelBuilder")
    };
    builder.calibration.expect("the configuration names the rows")
}

#[test]
fn data_chooses_codes_of_the_same_size_and_says_what_they_cost() {
    for tied in [false, true] {
        let mut config = tiny_model::config();
        config["tie_word_embeddings"] = json!(tied);
        let (base, plain, calibrated) = (folder(), folder(), folder());
        tiny_model::write(base.path(), &config);
        let calibration = Some(words(base.path()));
        let input = ModelHandle::Hf { dir: base.path().to_owned() };
        let cancel = CancelFlag::default();
        run(&input, int4(), plain.path(), &(), &cancel).unwrap();
        let recorder = Recorder::default();
        let options = ModelBuilderOptions { calibration, ..int4() };
        run(&input, options, calibrated.path(), &recorder, &cancel).unwrap();
        let read = |dir: &tempfile::TempDir, name: &str| std::fs::read(dir.path().join(name)).unwrap();
        assert_eq!(read(&plain, "model.onnx"), read(&calibrated, "model.onnx"));
        let (a, b) = (read(&plain, "model.onnx.data"), read(&calibrated, "model.onnx.data"));
        assert_eq!(a.len(), b.len());
        assert!(a != b, "the data changed nothing");
        let report: Value = serde_json::from_slice(&read(&calibrated, "quantisation_report.json")).unwrap();
        let loss = |name: &str| report[name]["loss"].as_f64().unwrap();
        assert!(loss("float").is_finite() && loss("default") != loss("calibrated"), "{report}");
        assert_eq!(report["held_out_tokens"], 6 * 15);
        let events = recorder.0.into_inner().unwrap();
        let said =
            events.iter().any(|e| matches!(e, Event::Info { message } if message.contains("recovered")));
        assert!(said, "{events:?}");
    }
}

#[test]
fn the_key_depends_on_the_rows_that_choose_the_codes() {
    let dir = folder();
    tiny_model::write(dir.path(), &tiny_model::config());
    let calibration = Some(words(dir.path()));
    let key = || {
        let contents = olive_core::content::ContentHashes::default();
        let mut hasher = olive_engine::cache::KeyHasher::new(&contents);
        let options = ModelBuilderOptions { calibration: calibration.clone(), ..int4() };
        ModelBuilderPass { options }.key(&mut hasher).unwrap();
        hasher.finish()
    };
    let before = key();
    assert_eq!(before, key());
    let file = dir.path().join("rows.jsonl");
    let text = std::fs::read_to_string(&file).unwrap().replace("w7", "w8");
    std::fs::write(&file, text).unwrap();
    assert_ne!(before, key());
}

#[test]
fn the_first_layers_are_calibrated_with_their_part_of_an_adapter() {
    let (base, adapter, part, cut) = (folder(), folder(), folder(), folder());
    tiny_model::write(base.path(), &tiny_model::config());
    let modules = [0, 1].map(|layer| format!("model.layers.{layer}.mlp.down_proj"));
    let shaped = |names: &[String]| -> olive_model::Adapter {
        let modules: Vec<_> = names.iter().map(|name| (name.as_str(), HIDDEN, INNER)).collect();
        tiny_model::adapter(&modules)
    };
    shaped(&modules).save(adapter.path()).unwrap();
    let calibration = Some(words(base.path()));
    let options = ModelBuilderOptions { calibration, num_hidden_layers: Some(1), ..int4() };
    let cancel = CancelFlag::default();
    let with = |base: &Path, adapter: &Path| ModelHandle::HfWithAdapter {
        base: base.to_owned(),
        adapter: adapter.to_owned(),
    };
    run(&with(base.path(), adapter.path()), options.clone(), part.path(), &(), &cancel).unwrap();

    // The same of a model that never had more than one layer.
    let (small, small_adapter) = (folder(), folder());
    let mut config = tiny_model::config();
    config["num_hidden_layers"] = json!(1);
    tiny_model::write(small.path(), &config);
    words(small.path());
    shaped(&modules[..1]).save(small_adapter.path()).unwrap();
    let options = ModelBuilderOptions { num_hidden_layers: None, ..options };
    run(&with(small.path(), small_adapter.path()), options, cut.path(), &(), &cancel).unwrap();
    for file in ["model.onnx", "model.onnx.data", "genai_config.json", "quantisation_report.json"] {
        let read = |dir: &tempfile::TempDir| std::fs::read(dir.path().join(file)).unwrap();
        assert!(read(&part) == read(&cut), "{file}");
    }
}
