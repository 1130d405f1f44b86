//! One value of a metric.

use crate::evaluators::{
    GOAL, Goal, IGNORED_LABELS, METRIC_CONFIG, Measure, MetricType, SUB_METRIC, SubMetric, SubMetricOptions,
    TIMING, Timing,
};
use crate::fields::{Fields, GivenOption};
use crate::findings::Findings;
use crate::names::{list_names, nearest};
use crate::node::Node;
use crate::origin::Era;
use crate::place::At;
use crate::values::Values;

/// A value with its place.
pub(super) struct ReadSubMetric {
    pub(super) value: SubMetric,
    /// How often it is timed, if that is said.
    pub(super) timing: Option<Timing>,
    pub(super) at: At,
    pub(super) path: String,
    /// Place of the rank, if one is given.
    pub(super) rank: (At, String),
    /// Place of the goal, if there is one.
    pub(super) goal: Option<(At, String)>,
}

/// `None`: it is wrong, and that was said.
pub(super) fn read(
    node: &Node,
    path: &str,
    r#type: MetricType,
    findings: &mut Findings,
) -> Option<ReadSubMetric> {
    let fields = Fields::open(node, path, &SUB_METRIC, findings);
    let values = fields.resolve(Era::New, findings);
    let options = SubMetricOptions::read(&values)?;
    let measure = measure(&values, r#type, findings)?;
    let (measure, timing) = match fields.found("metric_config") {
        Some(found) => configure(measure, r#type, found, findings),
        None => (measure, None),
    };
    let higher_is_better = direction(measure, options.higher_is_better, &values, findings);
    let goal = fields.found("goal");
    let goal_place = goal.map(|found| (found.at, found.path.clone()));
    let goal = match goal {
        Some(found) => Some(self::goal(found, higher_is_better, findings)?),
        None => None,
    };
    Some(ReadSubMetric {
        value: SubMetric { measure, priority: options.priority, higher_is_better, goal },
        timing,
        at: node.at,
        path: path.to_owned(),
        rank: (values.get("priority").at, values.get("priority").path.clone()),
        goal: goal_place,
    })
}

fn measure(values: &Values, r#type: MetricType, findings: &mut Findings) -> Option<Measure> {
    let name = values.text("name")?;
    let measures = r#type.measures();
    if let Some(measure) = measures.iter().find(|measure| measure.name().eq_ignore_ascii_case(name)) {
        return Some(*measure);
    }
    if let Some((why, instead)) = r#type.refusal(name) {
        values.refuse("name", format!("`{name}` is not supported: {why}"), instead.into(), findings);
        return None;
    }
    let names = || measures.iter().map(|measure| measure.name());
    let owner = MetricType::ALL
        .into_iter()
        .find(|other| other.measures().iter().any(|measure| measure.name() == name));
    let hint = match (nearest(name, names()), owner) {
        (_, Some(owner)) => format!("`{name}` is a sub type of `{}`", owner.name()),
        (Some(near), None) => format!("did you mean `{near}`?"),
        (None, None) => format!("it has {}", list_names(names())),
    };
    values.error("name", format!("{} has no sub type `{name}`", r#type.name()), Some(hint), findings);
    None
}

/// What `metric_config` says of a value: which labels count, or how often it is timed.
fn configure(
    measure: Measure,
    r#type: MetricType,
    found: &GivenOption<'_>,
    findings: &mut Findings,
) -> (Measure, Option<Timing>) {
    let values = Fields::open(found.node, &found.path, &METRIC_CONFIG, findings).resolve(Era::New, findings);
    let ignore_index = values.get("ignore_index").json.as_i64().unwrap_or_default();
    let counts = r#type == MetricType::Accuracy;
    let timed = matches!(r#type, MetricType::Latency | MetricType::Throughput);
    if !counts {
        values.warn_given(IGNORED_LABELS, "`perplexity` and `loss`", findings);
    }
    if !timed {
        values.warn_given(TIMING, "latencies and throughputs", findings);
    }
    let measure = match measure {
        Measure::Perplexity { .. } => Measure::Perplexity { ignore_index },
        Measure::Loss { .. } => Measure::Loss { ignore_index },
        measure => measure,
    };
    (measure, Timing::read(&values).filter(|_| timed))
}

fn direction(measure: Measure, asked: Option<bool>, values: &Values, findings: &mut Findings) -> bool {
    let natural = measure.higher_is_better();
    match (measure, asked) {
        (Measure::SizeOnDisk, Some(true)) => {
            let message = "`higher_is_better` is not used: of bytes less is always better";
            values.warn("higher_is_better", message, findings);
            natural
        }
        (Measure::Perplexity { .. } | Measure::Loss { .. }, Some(true)) => {
            let message = format!(
                "of `{}` less is better, and a search would look for the worst model, as Olive's default does",
                measure.name()
            );
            values.warn("higher_is_better", message, findings);
            true
        }
        (_, asked) => asked.unwrap_or(natural),
    }
}

fn goal(found: &GivenOption<'_>, higher_is_better: bool, findings: &mut Findings) -> Option<Goal> {
    let errors = findings.errors.len();
    let values = Fields::open(found.node, &found.path, &GOAL, findings).resolve(Era::New, findings);
    if findings.errors.len() > errors {
        return None;
    }
    let goal = Goal::read(&values)?;
    match goal.misfit(higher_is_better) {
        Some(message) => {
            values.error("value", message, None, findings);
            None
        }
        None => Some(goal),
    }
}
