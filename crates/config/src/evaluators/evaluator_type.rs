//! The types of evaluators.

use crate::option::{Opt, TEXT};

/// The `type` of an evaluator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EvaluatorType {
    Metrics,
    LmTasks,
    Mteb,
}

impl EvaluatorType {
    /// Olive's names. Those of the first type mean the same: the form of the model decides how it is measured.
    pub(crate) const NAMES: [(&str, EvaluatorType); 4] = [
        ("PyTorchEvaluator", EvaluatorType::Metrics),
        ("OnnxEvaluator", EvaluatorType::Metrics),
        ("LMEvaluator", EvaluatorType::LmTasks),
        ("MTEBEvaluator", EvaluatorType::Mteb),
    ];

    /// Those of models that are not made here.
    pub(crate) const FOREIGN: [&str; 2] = ["OpenVINOEvaluator", "QNNEvaluator"];

    /// The type of this name, in any case.
    pub(crate) fn find(name: &str) -> Option<EvaluatorType> {
        EvaluatorType::NAMES
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, found)| *found)
    }
}

const PYTHON: &str = "no Python is run; leave `type` out, and give `metrics`";

/// What stands in evaluators of all types.
pub(super) const WHICH: &[Opt] = &[
    Opt::new(
        "type",
        TEXT,
        "`PyTorchEvaluator`, `OnnxEvaluator`, `LMEvaluator` or `MTEBEvaluator`, in any case.",
    ),
    Opt::new("name", TEXT, "Name in messages; the key in `evaluators` if absent."),
    Opt::new("user_script", TEXT, "Python file of the evaluator.").refused_unless("null", PYTHON),
    Opt::new("script_dir", TEXT, "Folder of Python files.").refused_unless("null", PYTHON),
];
