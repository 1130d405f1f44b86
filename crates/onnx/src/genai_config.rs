//! `genai_config.json`, what onnxruntime-genai reads first.

use super::OnnxError;
use super::options::{BuildOptions, Provider};
use super::side_files::GenaiTokens;
use olive_arch::{Spec, families};
use olive_core::Result;
use olive_model::ModelFolder;
use serde_json::{Map, Value, json};

/// Name of the file.
pub(crate) const GENAI_CONFIG: &str = "genai_config.json";

/// What stands in config.json, and what generation_config.json overrides: the sampling keys, and only when they
/// differ from these defaults.
const OVERRIDABLE: &[(&str, Value)] = &[
    ("bos_token_id", Value::Null),
    ("do_sample", Value::Bool(false)),
    ("eos_token_id", Value::Null),
    ("pad_token_id", Value::Null),
];

/// What the file says of the graph that does not follow from the model and the options.
pub(crate) struct Interface {
    /// Name of the graph's file.
    pub(crate) filename: String,
    /// Positions are an input.
    pub(crate) position_ids: bool,
    /// Past and present caches can be the same memory, which is known only of graphs that were just built.
    pub(crate) share_buffer: bool,
}

struct Sources<'a> {
    config: &'a Value,
    generation: Option<Value>,
}

impl Sources<'_> {
    /// The value of a key, by the reference's rules of precedence.
    fn get(&self, key: &str) -> Option<&Value> {
        let generation = self.generation.as_ref().map(|g| &g[key]).filter(|v| !v.is_null());
        let is_default = |value: &Value| match key {
            "temperature" | "top_p" => value.as_f64() == Some(1.0),
            "top_k" => value.as_f64() == Some(50.0),
            _ => OVERRIDABLE.iter().any(|(k, default)| *k == key && value == default),
        };
        generation
            .filter(|value| !is_default(value))
            .or_else(|| Some(&self.config[key]).filter(|v| !v.is_null()))
    }

    fn or(&self, key: &str, default: Value) -> Value {
        self.get(key).cloned().unwrap_or(default)
    }

    /// From config.json alone.
    fn config_or(&self, key: &str, default: Value) -> Value {
        Some(&self.config[key]).filter(|v| !v.is_null()).cloned().unwrap_or(default)
    }
}

/// The file's content: indented by four, no newline at the end.
///
/// # Errors
/// Nothing says which token ends a text; generation_config.json is not JSON.
pub(crate) fn text(
    folder: &ModelFolder,
    spec: &Spec,
    options: &BuildOptions,
    tokens: &GenaiTokens,
    interface: &Interface,
) -> Result<String> {
    let sources = Sources { config: &folder.config, generation: folder.generation_config()? };
    // What a `config.json` without these keys means in transformers.
    let family = families::of_model_type(&spec.model_type).map(|family| family.tokens);
    let token = |key: &str, family: Option<u32>, tokenizer: Option<u32>| {
        sources.get(key).cloned().or_else(|| family.or(tokenizer).map(Value::from))
    };
    let bos = token("bos_token_id", family.and_then(|t| t.bos), tokens.bos).unwrap_or_else(|| json!(1));
    let eos = token("eos_token_id", family.and_then(|t| t.eos), tokens.eos).ok_or(OnnxError::NoEndOfText)?;
    let first_eos = eos.as_array().and_then(|list| list.first()).unwrap_or(&eos).clone();
    let pad = token("pad_token_id", family.and_then(|t| t.pad), tokens.pad).unwrap_or(first_eos);
    let eos = with_end_of_turn(eos, tokens.eos);

    let a = &spec.attention;
    let mut decoder = json!({
        "session_options": {
            "log_id": "onnxruntime-genai",
            "provider_options": provider_options(spec, options),
        },
        "filename": interface.filename,
        "head_size": a.head_dim,
        "hidden_size": spec.hidden_size,
        "inputs": inputs(options, interface.position_ids),
        "outputs": outputs(options),
        "num_attention_heads": a.heads,
        "num_hidden_layers": spec.num_layers(),
        "num_key_value_heads": a.kv_heads,
    });
    if let Some(section) = sliding_window(spec, options) {
        decoder["sliding_window"] = section;
    }
    let mut model = json!({
        "bos_token_id": bos,
        "context_length": spec.context_length,
        "decoder": decoder,
        "eos_token_id": eos,
        "pad_token_id": pad,
        "type": spec.family.genai_type,
        "vocab_size": spec.vocab_size,
    });
    for (key, id) in &tokens.markers {
        model[*key] = json!(id);
    }
    let mut search = json!({
        "diversity_penalty": sources.config_or("diversity_penalty", json!(0.0)),
        "do_sample": sources.or("do_sample", json!(false)),
        "early_stopping": true,
        "length_penalty": sources.config_or("length_penalty", json!(1.0)),
        "max_length": spec.context_length,
        "min_length": 0,
        "no_repeat_ngram_size": sources.config_or("no_repeat_ngram_size", json!(0)),
        "num_beams": sources.config_or("num_beams", json!(1)),
        "num_return_sequences": sources.config_or("num_return_sequences", json!(1)),
        "past_present_share_buffer": interface.share_buffer,
        "repetition_penalty": sources.config_or("repetition_penalty", json!(1.0)),
        "temperature": sources.or("temperature", json!(1.0)),
        "top_k": sources.or("top_k", json!(50)),
        "top_p": sources.or("top_p", json!(1.0)),
    });
    for (key, value) in &options.search {
        search[key.as_str()] = value.clone();
    }
    Ok(indented(&json!({"model": model, "search": search})))
}

fn indented(value: &Value) -> String {
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    serde::Serialize::serialize(value, &mut serializer).expect("plain data");
    String::from_utf8(out).expect("JSON is UTF-8")
}

/// The tokenizer's end-of-text token ends a turn of a chat, whatever config.json says.
fn with_end_of_turn(eos: Value, tokenizer: Option<u32>) -> Value {
    let mut ids = eos.as_array().cloned().unwrap_or_else(|| vec![eos.clone()]);
    match tokenizer {
        Some(id) if !ids.contains(&json!(id)) => {
            ids.insert(0, json!(id));
            Value::Array(ids)
        }
        _ => eos,
    }
}

/// Names of the graph's inputs, by what onnxruntime-genai calls them.
fn inputs(options: &BuildOptions, position_ids: bool) -> Value {
    let mut inputs = Map::new();
    let mut add = |key: &str, name: &str| inputs.insert(key.to_owned(), json!(name));
    if options.exclude_embeds {
        add("inputs_embeds", "inputs_embeds");
    } else {
        add("input_ids", "input_ids");
    }
    add("attention_mask", "attention_mask");
    if position_ids {
        add("position_ids", "position_ids");
    }
    add("past_key_names", "past_key_values.%d.key");
    add("past_value_names", "past_key_values.%d.value");
    Value::Object(inputs)
}

/// Names of the graph's outputs. Hidden states are for other readers: onnxruntime-genai is not told of them.
fn outputs(options: &BuildOptions) -> Value {
    let mut outputs = Map::new();
    let mut add = |key: &str, name: &str| outputs.insert(key.to_owned(), json!(name));
    if !options.exclude_lm_head {
        add("logits", "logits");
    }
    add("present_key_names", "present.%d.key");
    add("present_value_names", "present.%d.value");
    Value::Object(outputs)
}

fn provider_options(spec: &Spec, options: &BuildOptions) -> Value {
    match options.provider {
        Provider::Cpu => json!([]),
        Provider::Cuda => {
            json!([{"cuda": {"enable_cuda_graph": if options.enable_cuda_graph { "1" } else { "0" }}}])
        }
        Provider::Dml => json!([{"dml": {"enable_graph_capture": "1"}}]),
        Provider::WebGpu => {
            json!([{"webgpu": {"enableGraphCapture": "0", "validationMode": "basic"}}])
        }
        Provider::NvTensorRtRtx => {
            let mut own = json!({"enable_cuda_graph": "1"});
            let original =
                spec.rope.scaling.switch_length().filter(|original| *original < spec.context_length);
            if let Some(original) = original {
                own["multi_rotary_cache_concat_offset"] = json!(original.to_string());
            }
            json!([{"NvTensorRtRtx": own}])
        }
    }
}

/// Only for caches that hold no more than the window.
fn sliding_window(spec: &Spec, options: &BuildOptions) -> Option<Value> {
    let window = spec.layers.iter().find_map(|layer| layer.window).filter(|_| options.windowed_kv_cache)?;
    let layers: Vec<usize> = (0..spec.num_layers()).filter(|i| spec.layers[*i].window.is_some()).collect();
    let mut section = Map::new();
    section.insert("window_size".into(), json!(window));
    section.insert("slide_key_value_cache".into(), json!(false));
    section.insert("slide_inputs".into(), json!(false));
    section.insert("layers".into(), json!(layers));
    section.insert("cache_slack".into(), json!(0));
    Some(Value::Object(section))
}
