//! A named set of measurements.

use super::evaluator_type::WHICH;
use super::metric::{METRIC, Metric};
use super::tasks::{LmTasks, MtebTasks};
use crate::option::{Block, Kind, Opt, Special, at_least};
use crate::statement::OptionValue;
use crate::values::Setting;
use serde::Serialize;
use serde_json::json;
use std::sync::Arc;

/// What is measured of a model. What serialises decides about the values: names, ranks and goals do not.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluator {
    /// Key in `evaluators`, or of the option in which it stands.
    #[serde(skip)]
    pub name: String,
    pub measures: Measures,
    /// How many prompts of its data are answered, for people to read.
    #[serde(skip)]
    pub answers: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Measures {
    /// Olive's `PyTorchEvaluator` and `OnnxEvaluator`: the form of the model decides how it is measured.
    Metrics(Vec<Metric>),
    LmTasks(LmTasks),
    Mteb(MtebTasks),
}

impl Measures {
    /// What is measured here, whatever grammar says it.
    pub fn metrics(&self) -> &[Metric] {
        match self {
            Measures::Metrics(metrics) => metrics,
            Measures::LmTasks(tasks) => &tasks.metrics,
            Measures::Mteb(_) => &[],
        }
    }
}

impl Evaluator {
    /// The keys of its results, in their order.
    pub fn keys(&self) -> impl Iterator<Item = String> {
        let metrics = self.measures.metrics().iter();
        metrics.flat_map(|metric| metric.sub_types.iter().map(|value| metric.key(value)))
    }

    /// Whether some value is an objective of a search.
    pub fn ranks(&self) -> bool {
        let mut measured = self.measures.metrics().iter().flat_map(|metric| &metric.sub_types);
        measured.any(|measured| measured.priority.is_some())
    }
}

/// An evaluator of metrics.
pub(crate) static EVALUATOR: Block = Block {
    name: "the evaluator",
    doc: "What is measured of a model. The type may be left out: the form of the model decides how it is measured, and \
          every form is measured on the same tokens.",
    wrapper: Some("type_args"),
    outer: WHICH,
    parts: &[&[
        Opt::new("metrics", Kind::Blocks(&METRIC), "What is measured."),
        Opt::new(
            "answers",
            at_least(0),
            "How many prompts of the data each model answers, for people to read side by side; 0 for none.",
        )
        .default("3"),
    ]],
    open: None,
};

/// A name in `evaluators`, or an evaluator.
static EVALUATOR_REFERENCE: Special = Special::unchecked(
    "a name or an evaluator",
    || json!({"anyOf": [{"type": ["string", "null"]}, {"$ref": "#/$defs/any_evaluator"}]}),
);

// An option holds the name; the reader attaches the evaluator.
impl OptionValue for Arc<Evaluator> {
    const KIND: Kind = Kind::Special(&EVALUATOR_REFERENCE);

    fn read(setting: &Setting) -> Option<Arc<Evaluator>> {
        setting.object()
    }
}
