//! The models of a run with what is known of each.

use crate::format::{bytes, duration, number};
use crate::run::Run;
use crate::words::model_name;
use olive_engine::{EvaluatedModel, EvaluationOutcome, StepOutcome};

/// Rows of a table: the input model and what each step made.
pub(crate) struct Stages<'a> {
    /// Names of what was measured of any of them.
    pub(crate) metrics: Vec<&'a str>,
    pub(crate) rows: Vec<Stage<'a>>,
}

pub(crate) struct Stage<'a> {
    pub(crate) name: String,
    pub(crate) step: Option<&'a StepOutcome>,
    pub(crate) evaluation: Option<&'a EvaluationOutcome>,
}

impl<'a> Stages<'a> {
    pub(crate) fn of(run: &'a Run) -> Stages<'a> {
        let mut rows = Vec::new();
        for flow in run.outcome.iter().flat_map(|outcome| &outcome.flows) {
            let measured = |model: &EvaluatedModel| flow.evaluations.iter().find(|e| e.model == *model);
            if let Some(evaluation) = measured(&EvaluatedModel::Input) {
                rows.push(Stage {
                    name: model_name(&EvaluatedModel::Input).into(),
                    step: None,
                    evaluation: Some(evaluation),
                });
            }
            let last = flow.steps.len().saturating_sub(1);
            for (index, step) in flow.steps.iter().enumerate() {
                let own = measured(&EvaluatedModel::Pass(step.pass.clone()));
                let result = if index == last { measured(&EvaluatedModel::Result) } else { None };
                rows.push(Stage { name: step.pass.clone(), step: Some(step), evaluation: own.or(result) });
            }
        }
        let mut metrics = Vec::new();
        for (name, _) in rows.iter().filter_map(|row| row.evaluation).flat_map(|e| e.metrics.iter()) {
            if !metrics.contains(&name) {
                metrics.push(name);
            }
        }
        Stages { metrics, rows }
    }
}

impl Stage<'_> {
    /// How its artefact came about.
    pub(crate) fn state(&self) -> &'static str {
        match self.step {
            None => "",
            Some(StepOutcome { elsewhere: Some(_), .. }) => "left in the datastore",
            Some(StepOutcome { cached: true, .. }) => "cached",
            Some(StepOutcome { cached: false, .. }) => "run",
        }
    }

    pub(crate) fn kind(&self) -> &str {
        self.step.map_or("", |step| &step.r#type)
    }

    pub(crate) fn time(&self) -> String {
        self.step.map_or_else(String::new, |step| duration(step.seconds))
    }

    pub(crate) fn size(&self) -> String {
        self.step.map_or_else(String::new, |step| bytes(step.bytes))
    }

    /// A measured value; `None`: it was not measured of this model.
    pub(crate) fn metric(&self, name: &str) -> Option<String> {
        Some(number(name, self.evaluation?.metrics.get(name)?.value))
    }
}
