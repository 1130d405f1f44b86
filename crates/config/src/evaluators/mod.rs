//! `evaluators`: what is measured of a model, and which values are aimed at.

mod evaluator;
mod evaluator_type;
mod goal;
mod measure;
mod metric;
mod tasks;

pub(crate) use evaluator::EVALUATOR;
pub use evaluator::{Evaluator, Measures};
pub(crate) use evaluator_type::EvaluatorType;
pub(crate) use goal::GOAL;
pub use goal::{Goal, GoalKind};
pub(crate) use measure::MetricType;
pub use measure::{Measure, Statistic};
pub(crate) use metric::{
    DUMMY_DATA, DummyOptions, GENERATION, IGNORED_LABELS, METRIC, METRIC_CONFIG, MULTIPLE_CHOICE, ROW_PROMPT,
    SUB_METRIC, SubMetricOptions, TIMING,
};
pub use metric::{
    DummyInput, Generation, Metric, MetricData, MetricKind, MultipleChoice, RowPrompt, SubMetric, Timing,
};
pub(crate) use tasks::{LM_EVALUATOR, LmOptions, MTEB_EVALUATOR, MtebOptions};
pub use tasks::{LmTasks, MtebTasks};
