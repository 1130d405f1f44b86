//! What was measured, as Olive writes it.

use olive_core::{Result, error::IoContext, file};
use olive_data::python_text::float_repr;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt::Write as _;
use std::path::Path;

/// A measured value: Olive writes counts without a fraction.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Number {
    Count(u64),
    Real(f64),
}

impl Number {
    pub fn as_f64(self) -> f64 {
        match self {
            Number::Count(count) => count as f64,
            Number::Real(real) => real,
        }
    }
}

/// One value of an evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MetricValue {
    pub value: Number,
    /// 1 is the first objective of a search; −1 is none.
    pub priority: i32,
    pub higher_is_better: bool,
}

/// Values by their names, `<metric>-<sub type>`, in the order of the evaluator.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Metrics(Vec<(String, MetricValue)>);

impl Serialize for Metrics {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Metrics {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Metrics, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Metrics;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("values by their names")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Metrics, A::Error> {
                let mut metrics = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    metrics.push(entry);
                }
                Ok(Metrics(metrics))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

impl Metrics {
    /// Name of the file that holds the metrics of a result.
    pub const FILE: &'static str = "metrics.json";

    /// Adds a value, or puts it in the place of the one with this name.
    pub fn insert(&mut self, metric: &str, sub_type: &str, value: MetricValue) {
        let name = format!("{metric}-{sub_type}");
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.0.push((name, value)),
        }
    }

    pub fn get(&self, name: &str) -> Option<&MetricValue> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &MetricValue)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// The text of `metrics.json`, as Python's `json.dump` with an indent of 4 writes it.
    pub fn to_json(&self) -> String {
        let mut text = String::from("{");
        for (index, (name, MetricValue { value, priority, higher_is_better })) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let name = serde_json::Value::from(name.as_str());
            let value = match value {
                Number::Count(count) => count.to_string(),
                Number::Real(real) => float_repr(*real),
            };
            write!(
                text,
                "{comma}\n    {name}: {{\n        \"value\": {value},\n        \"priority\": {priority},\n        \
                 \"higher_is_better\": {higher_is_better}\n    }}"
            )
            .expect("a String takes everything");
        }
        text.push_str(if self.0.is_empty() { "}" } else { "\n}" });
        text
    }

    /// Writes `metrics.json`, or another file of its form.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        file::replace(path, self.to_json().as_bytes()).at("write", path)
    }
}
