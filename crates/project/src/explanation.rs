//! What the keys of a configuration mean, by the tables that read it.

use olive_engine::REGISTRY;
use serde_json::{Map, Value};

/// A key with its value, and what it means.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Explained {
    /// From the root of the file: `passes.lora.r`.
    pub path: String,
    pub value: Value,
    pub meaning: String,
}

/// The keys of a configuration that have a meaning of their own, in the order of the file.
pub(crate) fn explained(config: &Value) -> Vec<Explained> {
    let mut all = Vec::new();
    let root = Walk { block: "the configuration", path: String::new() };
    if let Value::Object(map) = config {
        root.object(map, &mut all);
    }
    all
}

/// An object on the way through the file.
struct Walk<'a> {
    /// The block of options that it is.
    block: &'a str,
    path: String,
}

impl Walk<'_> {
    fn object(&self, map: &Map<String, Value>, all: &mut Vec<Explained>) {
        for (key, value) in map {
            let path = if self.path.is_empty() { key.clone() } else { format!("{}.{key}", self.path) };
            match (self.block, key.as_str(), value) {
                ("the configuration", "systems" | "passes", Value::Object(named)) => {
                    named.iter().for_each(|(name, value)| typed(format!("{path}.{name}"), value, all));
                }
                ("the configuration", "input_model", Value::Object(model)) => {
                    Walk { block: "the input model", path }.object(model, all);
                }
                ("the configuration", "data_configs", Value::Array(items)) => {
                    items.iter().for_each(|item| each("the data config", &path, item, all));
                }
                ("the configuration", "evaluators", Value::Object(named)) => {
                    named
                        .iter()
                        .for_each(|(name, value)| of_evaluator(&format!("{path}.{name}"), value, all));
                }
                (_, "accelerators", Value::Array(items)) => {
                    items.iter().for_each(|item| each("the accelerator", &path, item, all));
                }
                (_, block, Value::Object(options)) => Walk { block, path }.object(options, all),
                // Explained by themselves.
                ("the metric", "sub_types", _) => {}
                (block, key, value) => {
                    let meaning = REGISTRY.meaning(block, key);
                    let explained = |meaning| Explained { path, value: value.clone(), meaning };
                    all.extend(meaning.map(explained));
                }
            }
        }
    }
}

/// An object that says itself what it is.
fn typed(path: String, value: &Value, all: &mut Vec<Explained>) {
    if let (Some(block), Value::Object(map)) = (value["type"].as_str(), value) {
        Walk { block, path }.object(map, all);
    }
}

/// An evaluator with its metrics and what they measure.
fn of_evaluator(path: &str, value: &Value, all: &mut Vec<Explained>) {
    for metric in value["metrics"].as_array().into_iter().flatten() {
        each("the metric", &format!("{path}.metrics"), metric, all);
        for measured in metric["sub_types"].as_array().into_iter().flatten() {
            let name = metric["name"].as_str().unwrap_or("0");
            each("the sub type", &format!("{path}.metrics.{name}.sub_types"), measured, all);
        }
    }
}

/// An element of a list that has one.
fn each(block: &str, path: &str, value: &Value, all: &mut Vec<Explained>) {
    if let Value::Object(map) = value {
        let path = format!("{path}.{}", value["name"].as_str().unwrap_or("0"));
        Walk { block, path }.object(map, all);
    }
}
