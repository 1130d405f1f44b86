//! What evaluators measure of the models of a flow: of its input, of what passes with an evaluator of their own made, and of
//! its result. All are measured on the same tokens, those of the input model's tokenizer.
//!
//! What was measured is an artefact of the cache, known by the content of the model, the evaluator, the data and the
//! version of this program.

mod answers;
mod measure;
mod measurement;
mod models;
mod samples;

pub use models::evaluate_models;

use crate::StepOutcome;
use crate::evaluated::{EvaluatedModel, EvaluationOutcome, GoalOutcome};
use crate::flow_runner::{FlowRunner, KeyedFlow};
use crate::output::Document;
use measurement::{Evaluation, Record};
use olive_config::{Evaluator, Measures};
use olive_core::Result;
use olive_core::event::{Event, EventSink};
use olive_core::handle::ModelHandle;
use olive_evaluate::MetricsDetail;
use olive_model::ModelFolder;
use samples::Samples;
use std::sync::Arc;
use std::time::Instant;

/// The evaluations of a flow that has run.
pub(crate) struct FlowEvaluation<'a> {
    runner: &'a FlowRunner<'a>,
    keyed: KeyedFlow<'a>,
    steps: &'a [StepOutcome],
    /// Of the input model.
    input_key: String,
}

/// A model that is to be measured.
struct Target {
    which: EvaluatedModel,
    evaluator: Arc<Evaluator>,
    /// `None`: it is not on this machine.
    model: Option<ModelHandle>,
    /// What the model is known by in the cache.
    key: String,
}

impl<'a> FlowEvaluation<'a> {
    /// `steps` is what became of the flow's steps; without any, its input is all there is.
    ///
    /// # Errors
    /// A file of the input model cannot be read.
    pub(crate) fn new(
        runner: &'a FlowRunner<'a>,
        keyed: KeyedFlow<'a>,
        steps: &'a [StepOutcome],
    ) -> Result<FlowEvaluation<'a>> {
        let input_key = match keyed.keys.first() {
            Some(key) => key.input.clone(),
            None => runner.input_key()?,
        };
        Ok(FlowEvaluation { runner, keyed, steps, input_key })
    }

    /// Whether there is anything to measure.
    pub(crate) fn has_targets(&self) -> bool {
        !self.targets().is_empty()
    }

    /// Measures what is to be measured and not in the cache, and calls `done` with every outcome.
    ///
    /// # Errors
    /// Data that cannot be read, a model that cannot be opened, a computation that fails, or a raised flag.
    pub(crate) fn run(&self, done: impl FnMut(EvaluationOutcome)) -> Result<()> {
        self.measure(self.targets(), done)
    }

    /// Measures the last model alone; `None` where no evaluator does, or where it is not on this machine.
    ///
    /// # Errors
    /// As [`FlowEvaluation::run`].
    pub(crate) fn result(&self) -> Result<Option<EvaluationOutcome>> {
        let is_result = |target: &Target| target.which == EvaluatedModel::Result;
        let mut result = None;
        self.measure(self.targets().into_iter().filter(is_result).collect(), |outcome| {
            result = Some(outcome);
        })?;
        Ok(result)
    }

    fn measure(&self, targets: Vec<Target>, mut done: impl FnMut(EvaluationOutcome)) -> Result<()> {
        if targets.is_empty() {
            return Ok(());
        }
        let samples = Samples::new(self.tokenizer_folder()?, self.runner.environment);
        let unchanged = || self.runner.check_unchanged(self.keyed);
        let &FlowRunner { environment, device, store, contents, .. } = self.runner;
        let measuring = TargetEvaluation {
            flow: self,
            evaluation: Evaluation { environment, device, store, contents, unchanged: &unchanged },
            samples: &samples,
        };
        for target in targets {
            environment.cancel.check()?;
            if let Some(outcome) = measuring.outcome(&target)? {
                done(outcome);
            }
        }
        Ok(())
    }

    /// The models, in the order in which the flow has them.
    fn targets(&self) -> Vec<Target> {
        let (engine, input) = (&self.keyed.config.engine, self.runner.input);
        let mut targets = Vec::new();
        if let (true, Some(evaluator)) = (engine.evaluate_input_model, &engine.evaluator) {
            let (evaluator, key) = (Arc::clone(evaluator), self.input_key.clone());
            let model = input.here().cloned();
            targets.push(Target { which: EvaluatedModel::Input, evaluator, model, key });
        }
        let mut model = input.handle().clone();
        let last = self.keyed.flow.steps.len().saturating_sub(1);
        for (index, (step, made)) in self.keyed.flow.steps.iter().zip(self.steps).enumerate() {
            model = model.made_into(step.output, made.path.clone());
            let own = step.config.evaluator.as_ref();
            let which = own.map(|evaluator| (EvaluatedModel::Pass(step.config.name.clone()), evaluator));
            let result = own.or(engine.evaluator.as_ref()).filter(|_| index == last);
            let result = result.map(|evaluator| (EvaluatedModel::Result, evaluator));
            for (which, evaluator) in which.into_iter().chain(result) {
                let base_is_here = input.here().is_some() || model.base() == model.dir();
                targets.push(Target {
                    which,
                    evaluator: Arc::clone(evaluator),
                    model: (made.elsewhere.is_none() && base_is_here).then(|| model.clone()),
                    key: self.keyed.keys[index].key.clone(),
                });
            }
        }
        targets
    }

    /// The folder with the tokenizer of all models of the flow.
    fn tokenizer_folder(&self) -> Result<ModelFolder> {
        let input = self.runner.input;
        let models = input.here().cloned().into_iter();
        let made: Vec<_> = self.steps.iter().zip(&self.keyed.flow.steps).collect();
        let made = made.into_iter().rev().filter(|(made, _)| made.elsewhere.is_none());
        let made = made.map(|(made, step)| input.handle().made_into(step.output, made.path.clone()));
        let mut folders = models.chain(made).map(|model| ModelFolder::of(&model));
        folders.next().expect("a flow that was run has a model")
    }
}

/// What the evaluations of a flow's models share.
struct TargetEvaluation<'a> {
    flow: &'a FlowEvaluation<'a>,
    evaluation: Evaluation<'a>,
    samples: &'a Samples<'a>,
}

impl TargetEvaluation<'_> {
    /// What became of a target; `None` where the model is on another machine.
    fn outcome(&self, target: &Target) -> Result<Option<EvaluationOutcome>> {
        let (Target { which, evaluator, model, key }, started) = (target, Instant::now());
        let Some(model) = model else {
            let message =
                format!("the evaluator `{}` measures a model that is not on this machine", evaluator.name);
            self.evaluation.environment.events.emit(Event::Warning { message });
            return Ok(None);
        };
        let (record, cached) = self.evaluation.record(evaluator, model, key, self.samples)?;
        let goals = match which {
            EvaluatedModel::Input | EvaluatedModel::Named(_) => Vec::new(),
            EvaluatedModel::Pass(_) | EvaluatedModel::Result => self.goals(evaluator, &record)?,
        };
        Ok(Some(EvaluationOutcome {
            model: which.clone(),
            evaluator: evaluator.name.clone(),
            cached,
            seconds: started.elapsed().as_secs_f64(),
            metrics: record.metrics,
            detail: record.detail,
            goals,
            not_evaluated: not_evaluated(evaluator),
        }))
    }

    /// What became of the goals, some of which are relative to the input model.
    fn goals(&self, evaluator: &Evaluator, record: &Record) -> Result<Vec<GoalOutcome>> {
        let aims = || {
            let metrics = evaluator.measures.metrics().iter();
            let values = metrics.flat_map(|metric| metric.sub_types.iter().map(move |value| (metric, value)));
            values.filter_map(|(metric, value)| Some((metric.key(value), value, value.goal?)))
        };
        let baseline = match self.flow.runner.input.here() {
            Some(model) if aims().any(|(.., goal)| goal.kind.is_relative()) => {
                Some(self.evaluation.record(evaluator, model, &self.flow.input_key, self.samples)?.0)
            }
            _ => None,
        };
        let value_of =
            |record: &Record, name: &str| record.metrics.get(name).map(|found| found.value.as_f64());
        let outcome = |(metric, sub_type, goal): (String, &olive_config::SubMetric, olive_config::Goal)| {
            let value = value_of(record, &metric);
            let of_input = baseline.as_ref().and_then(|baseline| value_of(baseline, &metric));
            GoalOutcome {
                kind: goal.kind,
                limit: sub_type.limit(of_input),
                value,
                met: sub_type.met(value, of_input),
                metric,
            }
        };
        Ok(aims().map(outcome).collect())
    }
}

/// The tasks of an evaluator that are not measured here.
fn not_evaluated(evaluator: &Evaluator) -> Vec<String> {
    match &evaluator.measures {
        Measures::Metrics(_) => Vec::new(),
        Measures::LmTasks(tasks) => tasks.elsewhere.clone(),
        Measures::Mteb(tasks) => tasks.tasks.clone(),
    }
}

/// The files of an output folder that say what was measured.
pub(crate) fn documents(evaluations: &[EvaluationOutcome]) -> Vec<Document> {
    let mut documents: Vec<Document> = evaluations
        .iter()
        .map(|evaluation| Document::text(evaluation.model.file_name(), evaluation.metrics.to_json()))
        .collect();
    if !evaluations.is_empty() {
        let text = serde_json::to_string_pretty(evaluations).expect("plain data") + "\n";
        documents.push(Document::text(MetricsDetail::FILE, text));
    }
    documents
}
