//! One metric.

use super::EvaluatorContext;
use super::sub_metric::{self, ReadSubMetric};
use crate::evaluators::{
    GENERATION, Generation, METRIC, METRIC_CONFIG, MULTIPLE_CHOICE, Metric, MetricData, MetricKind,
    MetricType, MultipleChoice, ROW_PROMPT, Timing,
};
use crate::fields::Fields;
use crate::findings::Findings;
use crate::names::{list_names, nearest};
use crate::node::{Node, NodeValue};
use crate::origin::Era;
use crate::place::At;
use crate::read::data::{Evaluated, RowUse};
use crate::values::Values;

/// A metric with the places of what other metrics may contradict.
pub(super) struct ReadMetric {
    /// Without its values, which are in `sub_types`.
    pub(super) metric: Metric,
    pub(super) name_at: At,
    pub(super) path: String,
    pub(super) sub_types: Vec<ReadSubMetric>,
}

/// `None`: it is wrong, and that was said.
pub(super) fn read(
    node: &Node,
    path: &str,
    context: EvaluatorContext<'_>,
    findings: &mut Findings,
) -> Option<ReadMetric> {
    let fields = Fields::open(node, path, &METRIC, findings);
    let values = fields.resolve(Era::New, findings);
    let r#type = metric_type(&values, findings)?;
    warn_unused(&values, r#type, findings);
    let sub_types = sub_types(&fields, r#type, findings);
    let data = data(&fields, r#type, context, findings);
    let kind = match r#type {
        MetricType::Accuracy => MetricKind::Accuracy,
        MetricType::Latency => MetricKind::Latency,
        MetricType::Throughput => MetricKind::Throughput,
        MetricType::SizeOnDisk => MetricKind::SizeOnDisk,
        MetricType::Memory => MetricKind::Memory,
        MetricType::MultipleChoice => MetricKind::MultipleChoice(MultipleChoice::read(&values)?),
        MetricType::Generation => MetricKind::Generation(Generation::read(&values)?),
    };
    let name = values.text("name")?.to_owned();
    let (data, batch_size) = data?.unzip();
    let sub_types = sub_types?;
    let timing = timing(&sub_types, findings)?;
    let batch_size = values.positive("batch_size").or(batch_size).unwrap_or(1);
    Some(ReadMetric {
        metric: Metric { name, kind, data, batch_size, timing, sub_types: Vec::new() },
        name_at: values.get("name").at,
        path: path.to_owned(),
        sub_types,
    })
}

fn metric_type(values: &Values, findings: &mut Findings) -> Option<MetricType> {
    let text = values.text("type")?;
    let names = || MetricType::ALL.into_iter().map(MetricType::name);
    if let Some(found) = MetricType::ALL.into_iter().find(|known| known.name().eq_ignore_ascii_case(text)) {
        return Some(found);
    }
    let hint = || format!("the types are {}", list_names(names()));
    if text.eq_ignore_ascii_case("custom") {
        let message = "`custom` metrics are Python functions, and no Python is run";
        values.refuse("type", message, hint(), findings);
    } else {
        let hint = nearest(text, names()).map_or_else(hint, |near| format!("did you mean `{near}`?"));
        values.error("type", format!("there is no metric type `{text}`"), Some(hint), findings);
    }
    None
}

/// Says which options of other types are given.
fn warn_unused(values: &Values, r#type: MetricType, findings: &mut Findings) {
    let choices = r#type == MetricType::MultipleChoice;
    let answers = r#type == MetricType::Generation;
    for (options, used, owner) in [
        (MULTIPLE_CHOICE, choices, "`multiple_choice`"),
        (GENERATION, answers, "`generation`"),
        (ROW_PROMPT, choices || answers, "`multiple_choice` and `generation`"),
    ] {
        if !used {
            values.warn_given(options, owner, findings);
        }
    }
}

fn sub_types(fields: &Fields<'_>, r#type: MetricType, findings: &mut Findings) -> Option<Vec<ReadSubMetric>> {
    let none: &[Node] = &[];
    let (items, path) = match fields.found("sub_types").map(|found| (&found.node.value, &found.path)) {
        Some((NodeValue::List(items), path)) => (items.as_slice(), path),
        None if fields.lacks("sub_types") => (none, &fields.path),
        // It is misspelled or no list, and that was said.
        _ => return None,
    };
    if items.is_empty() {
        let names = r#type.measures().into_iter().map(|measure| measure.name());
        let hint = format!("{} has {}", r#type.name(), list_names(names));
        findings.error(fields.at, &fields.path, "the metric has no `sub_types`", Some(hint));
        return None;
    }
    let items = items.iter().enumerate();
    let read: Vec<_> = items
        .map(|(index, item)| sub_metric::read(item, &format!("{path}[{index}]"), r#type, findings))
        .collect();
    let read: Vec<ReadSubMetric> = read.into_iter().collect::<Option<_>>()?;
    let mut unique = true;
    for (index, item) in read.iter().enumerate() {
        let name = item.value.measure.name();
        if read[..index].iter().any(|other| other.value.measure.name() == name) {
            unique = false;
            findings.error(item.at, &item.path, format!("the metric has `{name}` already"), None);
        }
    }
    unique.then_some(read)
}

/// That of the first sub type that has a configuration, else the defaults.
fn timing(sub_types: &[ReadSubMetric], findings: &mut Findings) -> Option<Timing> {
    sub_types.iter().find_map(|sub_type| sub_type.timing).or_else(|| default_timing(findings))
}

/// The timing of a metric without a `metric_config`.
pub(super) fn default_timing(findings: &mut Findings) -> Option<Timing> {
    Timing::read(&Fields::empty("", None, &METRIC_CONFIG).resolve(Era::New, findings))
}

/// What the metric is measured on; `Some(None)`: nothing.
fn data(
    fields: &Fields<'_>,
    r#type: MetricType,
    context: EvaluatorContext<'_>,
    findings: &mut Findings,
) -> Option<Option<Evaluated>> {
    let rows = match r#type {
        MetricType::Accuracy | MetricType::Latency | MetricType::Throughput | MetricType::Memory => {
            RowUse::Text
        }
        MetricType::MultipleChoice | MetricType::Generation | MetricType::SizeOnDisk => RowUse::Columns,
    };
    let needed = matches!(r#type, MetricType::Accuracy | MetricType::MultipleChoice | MetricType::Generation);
    let Some(found) = fields.found("data_config") else {
        if needed && fields.lacks("data_config") {
            let message = format!("a metric of the type `{}` needs `data_config`", r#type.name());
            let hint = "`data_config`: a name in `data_configs`, or a data config";
            findings.error(fields.at, &fields.path, message, Some(hint.into()));
        }
        return (!needed).then_some(None);
    };
    let evaluated = context.data.evaluated(found, rows, context.consumer, findings)?;
    match (&evaluated.0, r#type) {
        (_, MetricType::SizeOnDisk) => {
            findings.warn(found.at, &found.path, "`data_config` is not used: the size needs no data");
            Some(None)
        }
        (MetricData::Dummy(_), _) if needed => {
            let message =
                "the data config holds dummy tokens, of which only times and memory can be measured";
            findings.error(found.node.at, &found.path, message, None);
            None
        }
        _ => Some(Some(evaluated)),
    }
}
