//! A run as its record has it.

use olive_core::{Result, file};
use olive_engine::record::{Metric, PlanDocument, RunRecord};
use olive_engine::{EvaluationOutcome, StepOutcome, WorkflowOutcome};
use olive_train::metrics::{Metrics, MetricsRow};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// What there is of a run. One that was interrupted may lack anything but its beginning.
pub struct Run {
    pub record: RunRecord,
    pub plan: Option<PlanDocument>,
    pub outcome: Option<WorkflowOutcome>,
    pub metrics: Vec<Metric>,
    /// Texts of the warnings, each once.
    pub warnings: Vec<String>,
    /// What the user calls it.
    pub name: String,
}

impl Run {
    /// The newest run of an output folder, or the one whose record is in `path`.
    ///
    /// # Errors
    /// There is no record, or it cannot be read.
    pub fn open(path: &Path) -> Result<Run> {
        let newest = RunRecord::list(path).into_iter().next();
        let record = RunRecord::open(newest.as_deref().unwrap_or(path))?;
        Ok(Run::new(record, path.display().to_string()))
    }

    pub fn new(record: RunRecord, name: String) -> Run {
        let mut warnings = Vec::new();
        for event in record.events().unwrap_or_default() {
            if let (Some("warning"), Some(message)) = (event["event"].as_str(), event["message"].as_str())
                && !warnings.iter().any(|known| known == message)
            {
                warnings.push(message.to_owned());
            }
        }
        let (plan, outcome) = (record.plan().ok(), record.outcome().ok());
        let heard = record.metrics().unwrap_or_default();
        let mut run = Run { record, plan, outcome, metrics: Vec::new(), warnings, name };
        // What a training kept is whole, also where this run did the rest of it, or nothing.
        let kept: Vec<(String, Vec<Metric>)> = run
            .steps()
            .map(|step| (step.pass.clone(), kept(step)))
            .filter(|(_, kept)| !kept.is_empty())
            .collect();
        let is_kept = |metric: &Metric| {
            let (Metric::Train { pass, .. } | Metric::Eval { pass, .. }) = metric;
            kept.iter().any(|(name, _)| name == pass)
        };
        // Of a search, only the training of the best point is shown: others have the same name.
        let heard = if run.is_search() { Vec::new() } else { heard };
        run.metrics = heard.into_iter().filter(|metric| !is_kept(metric)).collect();
        run.metrics.extend(kept.into_iter().flat_map(|(_, metrics)| metrics));
        run
    }

    /// The steps that are done, of all flows.
    pub fn steps(&self) -> impl Iterator<Item = &StepOutcome> {
        self.outcome.iter().flat_map(WorkflowOutcome::steps)
    }

    /// What was measured, of all flows.
    pub fn evaluations(&self) -> impl Iterator<Item = &EvaluationOutcome> {
        self.outcome.iter().flat_map(|outcome| &outcome.flows).flat_map(|flow| &flow.evaluations)
    }

    fn is_search(&self) -> bool {
        self.outcome.iter().flat_map(|outcome| &outcome.flows).any(|flow| flow.search.is_some())
    }

    /// Title of pages: the name of the configuration, or of the workflow.
    pub fn title(&self) -> String {
        let run = self.record.run();
        let file = run.config.as_deref().map(PathBuf::from);
        let name = file.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
        name.unwrap_or_else(|| run.workflow_id.clone())
    }

    /// The options of all steps by `pass.option`, with dots for nesting.
    pub fn options(&self) -> Vec<(String, Value)> {
        let mut options = Vec::new();
        for step in self.plan.iter().flat_map(|plan| &plan.flows).flat_map(|flow| &flow.steps) {
            flatten(&step.pass, &step.options, &mut options);
        }
        options
    }
}

/// What the training of a step left in its artefact, if it is one.
fn kept(step: &StepOutcome) -> Vec<Metric> {
    let text = file::read(&step.path.join(Metrics::NAME)).unwrap_or_default();
    let (time, pass) = (0.0, || step.pass.clone());
    let metric = |row| match row {
        MetricsRow::Train { step, epoch, loss, learning_rate, grad_norm, tokens, seconds } => Metric::Train {
            time,
            pass: pass(),
            step,
            total_steps: 0,
            epoch,
            loss,
            learning_rate,
            grad_norm,
            tokens_per_second: tokens as f64 / seconds,
        },
        MetricsRow::Eval { step, loss, tokens, seconds } => {
            Metric::Eval { time, pass: pass(), step, loss, tokens, seconds }
        }
    };
    MetricsRow::all(&String::from_utf8_lossy(&text)).map(metric).collect()
}

fn flatten(name: &str, value: &Value, into: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(entries) if !entries.is_empty() => {
            entries.iter().for_each(|(key, value)| flatten(&format!("{name}.{key}"), value, into));
        }
        value => into.push((name.to_owned(), value.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn options_have_dots_for_nesting() {
        let mut options = Vec::new();
        flatten(
            "lora",
            &json!({"r": 8, "training": {"max_steps": 2, "list": [1]}, "empty": {}}),
            &mut options,
        );
        let names: Vec<_> = options.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["lora.r", "lora.training.max_steps", "lora.training.list", "lora.empty"]);
    }
}
