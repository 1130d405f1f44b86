//! What both kinds of requests say about how to answer.

use super::api_error::{ApiError, quoted};
use super::fields::Fields;
use super::logit_changes::LogitChanges;
use olive_decoder::SamplingOptions;
use serde_json::Value;
use std::collections::BTreeSet;

/// Most stop strings of a request; OpenAI takes 4.
const STOPS: usize = 16;

/// Most bytes of a stop string.
const STOP_LENGTH: usize = 1024;

/// Most alternatives to a token that a request may ask for.
pub(crate) const ALTERNATIVES: usize = 20;

/// Temperatures below this are 0.
const COLDEST: f64 = 1e-6;

/// What of the model and the server decides about what a request may say.
pub(crate) struct Facts<'a> {
    /// Tokens that there are.
    pub(crate) vocabulary: usize,
    /// What the model's own configuration says.
    pub(crate) defaults: SamplingOptions,
    /// Tokens that end an answer.
    pub(crate) stop_tokens: &'a BTreeSet<u32>,
    /// Most choices for a prompt.
    pub(crate) choices: usize,
}

/// How the answer is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    Whole,
    /// Piece by piece, and the number of tokens at the end or not.
    Stream {
        usage: bool,
    },
}

/// How to answer a prompt.
#[derive(Debug, Clone)]
pub(crate) struct Generation {
    /// Most tokens of an answer, if the request says so.
    pub(crate) max_tokens: Option<usize>,
    /// Those of the first choice; others have other seeds.
    pub(crate) sampling: SamplingOptions,
    pub(crate) changes: LogitChanges,
    /// What the answer must keep to.
    pub(crate) schema: Option<Value>,
    pub(crate) stop: Vec<String>,
    pub(crate) stop_tokens: BTreeSet<u32>,
    /// Choices for each prompt.
    pub(crate) choices: usize,
    /// Whether the probability of every token is told, and of how many others.
    pub(crate) alternatives: Option<usize>,
    pub(crate) delivery: Delivery,
}

impl Generation {
    /// Reads all but `max_tokens` and `logprobs`, which the two kinds of requests spell differently, and the schema.
    pub(crate) fn read(fields: Fields<'_>, facts: &Facts<'_>) -> Result<Generation, ApiError> {
        Ok(Generation {
            max_tokens: None,
            sampling: sampling(fields, facts.defaults)?,
            changes: LogitChanges {
                presence: fields.number("presence_penalty", -2.0..=2.0)?.unwrap_or(0.0) as f32,
                frequency: fields.number("frequency_penalty", -2.0..=2.0)?.unwrap_or(0.0) as f32,
                bias: logit_bias(fields, facts.vocabulary)?,
                min_p: fields.number("min_p", 0.0..=1.0)?.unwrap_or(0.0),
            },
            schema: None,
            stop: stop(fields)?,
            stop_tokens: stop_tokens(fields, facts)?,
            choices: fields.count("n", 1..=facts.choices)?.unwrap_or(1),
            alternatives: None,
            delivery: delivery(fields)?,
        })
    }
}

fn sampling(fields: Fields<'_>, defaults: SamplingOptions) -> Result<SamplingOptions, ApiError> {
    // A model whose configuration does not sample has nothing to say about it: OpenAI's defaults are 1 and 1.
    let temperature = if defaults.temperature > 0.0 { defaults.temperature } else { 1.0 };
    let temperature = fields.number("temperature", 0.0..=2.0)?.unwrap_or(temperature);
    let top_k = match fields.integer("top_k", -1..=i64::MAX)? {
        Some(k) => usize::try_from(k).ok().filter(|k| *k > 0),
        None => defaults.top_k,
    };
    let repetition_penalty = fields.number("repetition_penalty", 0.0..=10.0)?;
    if repetition_penalty == Some(0.0) {
        return Err(fields.invalid("repetition_penalty", "must be more than 0"));
    }
    // Nothing is more certain than the most probable token alone.
    let top_p = fields.number("top_p", 0.0..=1.0)?.or(defaults.top_p);
    let greedy = temperature < COLDEST || top_p == Some(0.0);
    Ok(SamplingOptions {
        temperature: if greedy { 0.0 } else { temperature },
        top_k,
        top_p,
        repetition_penalty: repetition_penalty.unwrap_or(defaults.repetition_penalty),
        seed: match fields.integer("seed", i64::MIN..=i64::MAX)? {
            Some(seed) => seed.cast_unsigned(),
            None => uuid::Uuid::new_v4().as_u64_pair().0,
        },
    })
}

fn logit_bias(fields: Fields<'_>, vocabulary: usize) -> Result<Vec<(u32, f32)>, ApiError> {
    let Some(object) = fields.object("logit_bias")? else { return Ok(Vec::new()) };
    let biases = Fields::within("logit_bias.", object);
    let mut read = Vec::with_capacity(object.len());
    for key in object.keys() {
        let token = key.parse::<u32>().ok().filter(|token| (*token as usize) < vocabulary);
        let token = token.ok_or_else(|| {
            let what = format!("has the key `{}`, which is no token of the model", quoted(key));
            fields.invalid("logit_bias", what)
        })?;
        let bias = biases.number(key, -100.0..=100.0)?;
        read.extend(bias.map(|bias| (token, bias as f32)));
    }
    Ok(read)
}

fn stop(fields: Fields<'_>) -> Result<Vec<String>, ApiError> {
    let strings = match fields.get("stop") {
        None => return Ok(Vec::new()),
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(many)) => {
            let texts = many.iter().map(Value::as_str).collect::<Option<_>>();
            texts.ok_or_else(|| fields.invalid("stop", "must be a string or a list of strings"))?
        }
        Some(_) => return Err(fields.invalid("stop", "must be a string or a list of strings")),
    };
    if strings.len() > STOPS {
        return Err(fields.invalid("stop", format!("must be {STOPS} strings at most")));
    }
    if strings.iter().any(|text| text.len() > STOP_LENGTH) {
        return Err(fields.invalid("stop", format!("must be strings of {STOP_LENGTH} bytes at most")));
    }
    Ok(strings.into_iter().filter(|text| !text.is_empty()).map(str::to_owned).collect())
}

/// Tokens that end an answer: those of the model, unless `ignore_eos`, and those of the request.
fn stop_tokens(fields: Fields<'_>, facts: &Facts<'_>) -> Result<BTreeSet<u32>, ApiError> {
    let ignored = fields.boolean("ignore_eos")? == Some(true);
    let mut tokens = if ignored { BTreeSet::new() } else { facts.stop_tokens.clone() };
    for value in fields.list("stop_token_ids")?.unwrap_or_default() {
        let token = token_id(value, facts.vocabulary)
            .ok_or_else(|| fields.invalid("stop_token_ids", "must be a list of tokens of the model"))?;
        tokens.insert(token);
    }
    Ok(tokens)
}

fn delivery(fields: Fields<'_>) -> Result<Delivery, ApiError> {
    let options = fields.object("stream_options")?.map(|object| Fields::within("stream_options.", object));
    let usage = options.map(|options| options.boolean("include_usage")).transpose()?.flatten();
    Ok(match fields.boolean("stream")? {
        Some(true) => Delivery::Stream { usage: usage == Some(true) },
        _ => Delivery::Whole,
    })
}

/// The id of a token that the model has.
pub(crate) fn token_id(value: &Value, vocabulary: usize) -> Option<u32> {
    value.as_u64().filter(|id| *id < vocabulary as u64).and_then(|id| u32::try_from(id).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(body: Value) -> Result<Generation, ApiError> {
        let object = body.as_object().unwrap().clone();
        let stop_tokens = BTreeSet::from([2]);
        let facts = Facts {
            vocabulary: 10,
            defaults: SamplingOptions::GREEDY,
            stop_tokens: &stop_tokens,
            choices: 8,
        };
        Generation::read(Fields::of(&object), &facts)
    }

    #[test]
    fn a_model_that_does_not_sample_leaves_openais_defaults() {
        let default = read(json!({})).unwrap().sampling;
        assert_eq!((default.temperature, default.top_p, default.top_k), (1.0, None, None));
        assert_ne!(default.seed, read(json!({})).unwrap().sampling.seed, "without a seed there is chance");
        for greedy in [json!({"temperature": 0}), json!({"temperature": 1e-7}), json!({"top_p": 0})] {
            assert_eq!(read(greedy).unwrap().sampling.temperature, 0.0);
        }
        assert_eq!(read(json!({"seed": -1})).unwrap().sampling.seed, u64::MAX);
    }

    #[test]
    fn stops_are_the_models_and_the_requests() {
        assert_eq!(read(json!({"stop_token_ids": [5]})).unwrap().stop_tokens, BTreeSet::from([2, 5]));
        assert!(read(json!({"ignore_eos": true})).unwrap().stop_tokens.is_empty());
        assert_eq!(read(json!({"stop": ["", "a"]})).unwrap().stop, ["a"]);
        assert_eq!(read(json!({"stop": "b"})).unwrap().stop, ["b"]);
        let many: Vec<String> = (0..17).map(|n| n.to_string()).collect();
        for wrong in [json!(5), json!([5]), json!(many), json!("x".repeat(2000))] {
            assert_eq!(read(json!({"stop": wrong})).unwrap_err().to_json()["error"]["param"], "stop");
        }
    }

    #[test]
    fn what_is_out_of_range_is_refused_by_name() {
        for (name, value) in [
            ("temperature", json!(2.5)),
            ("temperature", json!("hot")),
            ("top_p", json!(-0.1)),
            ("top_k", json!(-2)),
            ("min_p", json!(1.5)),
            ("presence_penalty", json!(3)),
            ("frequency_penalty", json!(-3)),
            ("repetition_penalty", json!(0)),
            ("n", json!(0)),
            ("n", json!(9)),
            ("seed", json!(1.5)),
            ("seed", json!(9_223_372_036_854_775_808u64)),
            ("logit_bias", json!({"10": 1})),
            ("logit_bias.5", json!({"5": 101})),
            ("stop_token_ids", json!([10])),
            ("stream", json!("yes")),
            ("stream_options", json!(3)),
            ("stream_options.include_usage", json!({"include_usage": 1})),
        ] {
            let field = name.split('.').next().unwrap();
            let error = read(json!({field: value})).unwrap_err();
            assert_eq!(error.to_json()["error"]["param"], name, "{value}");
        }
    }
}
