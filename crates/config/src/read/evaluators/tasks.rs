//! Tasks of lm-eval and mteb: those that are files here are metrics, the others are named.

use super::EvaluatorContext;
use super::metric::default_timing;
use crate::evaluators::{
    LM_EVALUATOR, LmOptions, LmTasks, METRIC, MTEB_EVALUATOR, Metric, MetricKind, MetricType, MtebOptions,
    MtebTasks, MultipleChoice, SubMetric,
};
use crate::fields::{Fields, GivenOption};
use crate::findings::Findings;
use crate::names::list_names;
use crate::node::{Node, NodeValue};
use crate::origin::Era;
use crate::read::data::{Components, Evaluated, RowUse};
use serde_json::json;
use std::path::Path;

/// The reader of files by their ending.
const ENDINGS: [(&str, &str); 4] =
    [("json", "json"), ("jsonl", "json"), ("csv", "csv"), ("parquet", "parquet")];

/// The task that measures the size, in Olive.
const SIZE: &str = "size_on_disk";

pub(super) fn lm(
    node: &Node,
    path: &str,
    context: EvaluatorContext<'_>,
    findings: &mut Findings,
) -> Option<LmTasks> {
    let errors = findings.errors.len();
    let fields = Fields::open(node, path, &LM_EVALUATOR, findings);
    let values = fields.resolve(Era::New, findings);
    let options = LmOptions::read(&values)?;
    let found = fields.found("tasks")?;
    let split = split(options.limit).unwrap_or_else(|message| {
        values.error("limit", message, None, findings);
        Limit::default()
    });
    let mut tasks = LmTasks { metrics: Vec::new(), elsewhere: Vec::new() };
    let items = match &found.node.value {
        NodeValue::List(items) => items.as_slice(),
        _ => std::slice::from_ref(found.node),
    };
    for item in items {
        let measured = match name(item) {
            SIZE => metric(SIZE, MetricType::SizeOnDisk, MetricKind::SizeOnDisk, None, findings),
            task if is_file(task) => {
                let file = TaskFile { file: task, node: item, found };
                file.metric(&split, options.batch_size, context, findings)
            }
            task => {
                tasks.elsewhere.push(task.to_owned());
                None
            }
        };
        let Some(measured) = measured else { continue };
        if tasks.metrics.iter().any(|other| other.name == measured.name) {
            let message =
                format!("there is already a task `{}`, and results have the names of tasks", measured.name);
            findings.error(item.at, &found.path, message, Some("give the file another name".into()));
        }
        tasks.metrics.push(measured);
    }
    if items.is_empty() {
        findings.error(found.node.at, &found.path, "there is no task", None);
    }
    if !tasks.elsewhere.is_empty() {
        let message = format!(
            "not measured: the data and prompts of {} come with lm-eval",
            list_names(tasks.elsewhere.iter().map(String::as_str))
        );
        let hint = "a task can be a file of yours, for example `tasks/arc.jsonl` with the columns `question`, `choices` and \
                    `answer`; the metric `perplexity` measures texts";
        findings.warn_hint(found.node.at, &found.path, message, hint);
    }
    (findings.errors.len() == errors).then_some(tasks)
}

pub(super) fn mteb(node: &Node, path: &str, findings: &mut Findings) -> Option<MtebTasks> {
    let fields = Fields::open(node, path, &MTEB_EVALUATOR, findings);
    let MtebOptions { tasks } = MtebOptions::read(&fields.resolve(Era::New, findings))?;
    let found = fields.found("tasks")?;
    let names = list_names(tasks.iter().map(String::as_str));
    let message = format!("not measured: the data of {names} comes with mteb");
    let hint = "the metric `perplexity` measures texts, `latency` and `throughput` the model";
    findings.warn_hint(found.node.at, &found.path, message, hint);
    Some(MtebTasks { tasks })
}

/// The name of a task, which may be described by an object.
fn name(item: &Node) -> &str {
    let text = item.as_text().or_else(|| item.get("task")?.as_text());
    text.unwrap_or("an object without `task`")
}

/// Whether a task is a file, and not the name of one of lm-eval's.
fn is_file(task: &str) -> bool {
    task.contains('/') || reader(task).is_some()
}

/// The reader of a file.
fn reader(file: &str) -> Option<&'static str> {
    let ending = Path::new(file).extension()?.to_str()?;
    ENDINGS.iter().find(|(known, _)| known.eq_ignore_ascii_case(ending)).map(|(_, reader)| *reader)
}

/// How many rows of a file are measured.
struct Limit {
    split: String,
    max_samples: Option<u64>,
}

impl Default for Limit {
    fn default() -> Limit {
        Limit { split: "train".into(), max_samples: None }
    }
}

/// `limit` of lm-eval is a number of rows, or below 1 a share of them.
fn split(limit: Option<f64>) -> Result<Limit, String> {
    match limit {
        None => Ok(Limit::default()),
        Some(rows) if rows >= 1.0 && rows.fract() == 0.0 => {
            Ok(Limit { max_samples: Some(rows as u64), ..Limit::default() })
        }
        Some(share) => {
            let percent = share * 100.0;
            if share < 1.0 && (percent - percent.round()).abs() < 1e-9 {
                Ok(Limit { split: format!("train[:{}%]", percent.round()), max_samples: None })
            } else {
                Err(format!("expected a number of rows, or below 1 a share in whole per cent, found {share}"))
            }
        }
    }
}

/// A metric of a task, whose values have no rank.
fn metric(
    name: &str,
    r#type: MetricType,
    kind: MetricKind,
    data: Option<Evaluated>,
    findings: &mut Findings,
) -> Option<Metric> {
    let (data, batch_size) = data.unzip();
    Some(Metric {
        name: name.to_owned(),
        kind,
        data,
        batch_size: batch_size.unwrap_or(1),
        timing: default_timing(findings)?,
        sub_types: r#type.measures().into_iter().map(SubMetric::unranked).collect(),
    })
}

/// The columns of a file of questions.
fn columns(findings: &mut Findings) -> Option<MultipleChoice> {
    let mut fields = Fields::empty("", None, &METRIC);
    // There is no metric in the file that could lack something.
    fields.blind = true;
    MultipleChoice::read(&fields.resolve(Era::New, findings))
}

/// A task that is a file, and where it is named.
struct TaskFile<'a, 'n> {
    file: &'a str,
    node: &'a Node,
    found: &'a GivenOption<'n>,
}

impl TaskFile<'_, '_> {
    fn metric(
        &self,
        limit: &Limit,
        batch_size: usize,
        context: EvaluatorContext<'_>,
        findings: &mut Findings,
    ) -> Option<Metric> {
        let Some(reader) = reader(self.file) else {
            let message = format!("the format of `{}` is not known", self.file);
            let hint = format!("the endings are {}", list_names(ENDINGS.map(|(ending, _)| ending)));
            findings.error(self.node.at, &self.found.path, message, Some(hint));
            return None;
        };
        let name = Path::new(self.file).file_stem()?.to_string_lossy().into_owned();
        let data = json!({
            "type": "HuggingfaceContainer",
            "load_dataset_config": {"data_name": reader, "data_files": self.file, "split": limit.split},
            "pre_process_data_config": {"max_samples": limit.max_samples},
        });
        let data = Node::from_json(&data);
        let data = Components::read(&name, &data, self.found.path.clone(), findings);
        let (data, _) = data.evaluated(context.data, RowUse::Columns, context.consumer, findings)?;
        let kind = MetricKind::MultipleChoice(columns(findings)?);
        metric(&name, MetricType::MultipleChoice, kind, Some((data, batch_size)), findings)
    }
}
