//! Settings of generation that transformers and onnxruntime-genai know and that are not honoured here.

use serde_json::{Map, Value};

/// Each with the values that change nothing, beside null.
const ALWAYS: &[(&str, &[f64])] = &[
    ("num_beams", &[1.0]),
    ("num_beam_groups", &[1.0]),
    ("num_return_sequences", &[1.0]),
    ("penalty_alpha", &[0.0]),
    ("no_repeat_ngram_size", &[0.0]),
    ("encoder_repetition_penalty", &[1.0]),
    ("encoder_no_repeat_ngram_size", &[0.0]),
    ("guidance_scale", &[1.0]),
    ("min_length", &[0.0]),
    ("min_new_tokens", &[0.0]),
    ("bad_words_ids", &[]),
    ("force_words_ids", &[]),
    ("constraints", &[]),
    ("sequence_bias", &[]),
    ("suppress_tokens", &[]),
    ("begin_suppress_tokens", &[]),
    ("forced_bos_token_id", &[]),
    ("forced_eos_token_id", &[]),
    ("exponential_decay_length_penalty", &[]),
    ("stop_strings", &[]),
    ("max_time", &[]),
    ("dola_layers", &[]),
    ("watermarking_config", &[]),
];

/// Of these only a model that samples is aware.
const SAMPLING: &[(&str, &[f64])] = &[
    ("min_p", &[0.0]),
    ("top_h", &[]),
    ("typical_p", &[1.0]),
    ("epsilon_cutoff", &[0.0]),
    ("eta_cutoff", &[0.0]),
];

/// The settings of a `generation_config.json`, or of `search` in a `genai_config.json`, that would change what is
/// generated and do not here, as `key: value`, in the order of the file.
pub fn ignored_settings(config: &Map<String, Value>) -> Vec<String> {
    let samples = config.get("do_sample").and_then(Value::as_bool).unwrap_or(false);
    let known = |key: &str| {
        let sampling = SAMPLING.iter().filter(|_| samples);
        ALWAYS.iter().chain(sampling).find(|(name, _)| *name == key).map(|(_, neutral)| *neutral)
    };
    let changes = |value: &Value, neutral: &[f64]| match value {
        Value::Null | Value::Bool(false) => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(items) => !items.is_empty(),
        other => other.as_f64().is_none_or(|number| !neutral.contains(&number)),
    };
    let ignored =
        config.iter().filter(|(key, value)| known(key).is_some_and(|neutral| changes(value, neutral)));
    ignored.map(|(key, value)| format!("{key}: {value}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_change_nothing_are_not_named() {
        let ignored = |config: Value| ignored_settings(config.as_object().unwrap());
        let config = serde_json::json!({
            "num_beams": 1, "min_length": 0, "bad_words_ids": null, "suppress_tokens": [], "min_p": 0.1, "top_p": 0.9,
            "max_length": 4096,
        });
        assert_eq!(ignored(config), [""; 0]);
        let config = serde_json::json!({
            "do_sample": true, "min_p": 0.1, "typical_p": 1.0, "num_beams": 4, "no_repeat_ngram_size": 3,
            "bad_words_ids": [[7]],
        });
        let named = ["min_p: 0.1", "num_beams: 4", "no_repeat_ngram_size: 3", "bad_words_ids: [[7]]"];
        assert_eq!(ignored(config), named);
    }
}
