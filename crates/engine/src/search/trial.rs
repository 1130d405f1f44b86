//! One point: its configuration, its run, its evaluation.

use super::FlowSearch;
use super::ranking;
use crate::cache::CacheError;
use crate::error::EngineError;
use crate::evaluated::EvaluationOutcome;
use crate::evaluation::FlowEvaluation;
use crate::flow_runner::{FlowResult, KeyedFlow};
use crate::model_document::model_id;
use crate::passes::{PassConfig, REGISTRY, RunConfig};
use crate::plan::{Flow, Step, StepKey};
use crate::resources::Resources;
use crate::searched::{SearchOutcome, TrialOutcome, TrialState};
use crate::{Plan, StepOutcome};
use olive_config::{PassChoice, SearchPoint, SearchedPass};
use olive_core::event::{Event, EventSink};
use olive_core::handle::ModelHandle;
use olive_core::{Error, Result};
use serde_json::Value;
use std::cell::{Cell, RefCell};
use std::time::Instant;

/// A point whose keys are known.
pub(super) struct Prepared {
    pub(super) config: RunConfig,
    pub(super) flow: Flow,
    pub(super) keys: Vec<StepKey>,
}

/// What a point gave.
pub(super) struct Made {
    pub(super) prepared: Prepared,
    pub(super) model: ModelHandle,
    pub(super) steps: Vec<StepOutcome>,
    pub(super) evaluation: EvaluationOutcome,
}

/// The points that were tried so far.
pub(super) struct Trials<'a> {
    search: &'a FlowSearch<'a>,
    found: RefCell<Found>,
    /// How many there will be, where that is known.
    total: Cell<Option<u64>>,
    started: Instant,
}

/// The points that were tried, and what those gave that did not fail.
pub(super) struct Found {
    pub(super) outcome: SearchOutcome,
    /// One for each trial.
    pub(super) made: Vec<Option<Made>>,
}

impl Prepared {
    pub(super) fn keyed(&self) -> KeyedFlow<'_> {
        KeyedFlow { config: &self.config, flow: &self.flow, keys: &self.keys }
    }
}

impl Made {
    pub(super) fn result(&self) -> FlowResult<'_> {
        FlowResult { model: &self.model, steps: &self.steps }
    }
}

impl FlowSearch<'_> {
    /// The first `length` passes of the flow at a point.
    ///
    /// # Errors
    /// Values that do not go together, or data that cannot be read.
    pub(super) fn prepare(&self, choices: &[PassChoice], length: usize) -> Result<Prepared> {
        let (environment, store) = (self.runner.environment, self.runner.store);
        let config = self.config.at_point(self.search, choices, &REGISTRY)?;
        let passes = config.flows[self.number].iter().take(length);
        let passes: Vec<PassConfig> = passes.map(|index| config.passes[*index].clone()).collect();
        let plan = Plan::of(&config, vec![passes])?;
        plan.check(|host| environment.executors.iter().any(|executor| executor.reaches(host)))?;
        let mut plan = Resources { config: &config, store, environment }.bring_data(&plan)?;
        let flow = plan.flows.remove(0);
        flow.steps.iter().try_for_each(Step::check)?;
        let keys = self.runner.keys(&flow)?;
        Ok(Prepared { config, flow, keys })
    }

    /// Whether an error ends the search, and not only the trial.
    pub(super) fn is_fatal(&self, error: &Error) -> bool {
        error.is_interruption() || matches!(error.downcast_ref(), Some(CacheError::InputChanged { .. }))
    }

    fn make(&self, prepared: Prepared) -> Result<Made> {
        let keyed = prepared.keyed();
        self.runner.check(keyed)?;
        let steps = RefCell::new(Vec::new());
        let model = self.runner.run(keyed, None, &|step| steps.borrow_mut().push(step.clone()))?;
        let steps = steps.into_inner();
        let evaluation = FlowEvaluation::new(self.runner, keyed, &steps)?.result()?;
        let evaluation = evaluation.ok_or(EngineError::NotMeasured)?;
        Ok(Made { prepared, model, steps, evaluation })
    }
}

impl<'a> Trials<'a> {
    pub(super) fn new(search: &'a FlowSearch<'a>) -> Trials<'a> {
        let space = search.search.space(search.passes());
        let outcome = SearchOutcome {
            strategy: search.search.strategy.describe(),
            points: space.map_or(u64::MAX, |space| space.len()),
            varied: varied(&search.search.passes).map(|(name, _)| name).collect(),
            objectives: Vec::new(),
            trials: Vec::new(),
        };
        let found = RefCell::new(Found { outcome, made: Vec::new() });
        Trials { search, found, total: Cell::new(None), started: Instant::now() }
    }

    /// How many trials there will be.
    pub(super) fn expect(&self, total: u64) {
        self.total.set(Some(total));
    }

    pub(super) fn len(&self) -> usize {
        self.found.borrow().made.len()
    }

    pub(super) fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// The trial at this place.
    pub(super) fn get(&self, place: usize) -> TrialOutcome {
        self.found.borrow().outcome.trials[place].clone()
    }

    /// Whether the trial at this place gave a model.
    pub(super) fn has_model(&self, place: usize) -> bool {
        self.found.borrow().made[place].is_some()
    }

    /// Places of these trials, the best first.
    pub(super) fn sorted(&self, places: &[usize]) -> Vec<usize> {
        let trials: Vec<TrialOutcome> = places.iter().map(|place| self.get(*place)).collect();
        let objectives = ranking::objectives(&trials);
        ranking::sorted(&trials, &objectives).into_iter().map(|index| places[index]).collect()
    }

    /// Tries a point, with the first `length` passes of the flow, and gives the trial's place.
    ///
    /// # Errors
    /// What ends the whole search.
    pub(super) fn attempt(&self, point: &SearchPoint, length: usize) -> Result<usize> {
        let mut trial = self.begin(point);
        let started = Instant::now();
        let prepared = self.search.prepare(&point.choices, length);
        if let Ok(prepared) = &prepared {
            trial.name(&prepared.keys);
        }
        let made = match prepared.and_then(|prepared| self.search.make(prepared)) {
            Err(error) if self.search.is_fatal(&error) => return Err(error),
            Err(error) => {
                trial.state = TrialState::Failed { error: error.with_causes() };
                None
            }
            Ok(made) => {
                trial.metrics = made.evaluation.metrics.clone();
                trial.goals.clone_from(&made.evaluation.goals);
                trial.not_evaluated.clone_from(&made.evaluation.not_evaluated);
                Some(made)
            }
        };
        trial.seconds = started.elapsed().as_secs_f64();
        Ok(self.end(trial, made))
    }

    /// Announces a trial, of which nothing is known yet.
    pub(super) fn begin(&self, point: &SearchPoint) -> TrialOutcome {
        let values = varied_values(&self.search.search.passes, &point.choices);
        self.search.runner.environment.events.emit(Event::PointStarted {
            index: self.len() + 1,
            total: self.total.get(),
            point: describe(&values),
        });
        TrialOutcome {
            point: serde_json::to_value(point).expect("plain data"),
            values: values.into_iter().map(|(_, value)| value).collect(),
            model_id: None,
            ancestors: Vec::new(),
            state: TrialState::Measured,
            seconds: 0.0,
            metrics: Default::default(),
            goals: Vec::new(),
            not_evaluated: Vec::new(),
            rank: None,
            is_on_frontier: false,
        }
    }

    /// Adds a trial that has come to its end, and gives its place.
    pub(super) fn end(&self, trial: TrialOutcome, made: Option<Made>) -> usize {
        self.search.runner.environment.events.emit(Event::PointFinished {
            index: self.len() + 1,
            model_id: trial.model_id.clone(),
            error: (trial.state != TrialState::Measured).then(|| trial.state.to_string()),
            seconds: trial.seconds,
            metrics: trial
                .metrics
                .iter()
                .map(|(name, found)| (name.to_owned(), found.value.as_f64()))
                .collect(),
        });
        let mut found = self.found.borrow_mut();
        found.outcome.trials.push(trial);
        found.made.push(made);
        ranking::rank(&mut found.outcome);
        (self.search.note)(&mut |flow| flow.search = Some(found.outcome.clone()));
        found.made.len() - 1
    }

    /// The trials, after the last one.
    pub(super) fn into_found(self) -> Found {
        self.found.into_inner()
    }
}

impl TrialOutcome {
    /// Names the model, and those that it is made of.
    pub(super) fn name(&mut self, keys: &[StepKey]) {
        let mut ids: Vec<String> = keys.iter().map(|key| model_id(&key.key)).collect();
        self.model_id = ids.pop();
        self.ancestors = ids;
    }
}

/// `lora.r 16, lora.training_args.learning_rate 0.0002`.
pub(super) fn describe(values: &[(String, Option<Value>)]) -> String {
    let known = values.iter().filter_map(|(name, value)| Some(format!("{name} {}", value.as_ref()?)));
    known.collect::<Vec<_>>().join(", ")
}

/// The values of what points differ in, by name; `None` for what these choices do not have.
pub(super) fn varied_values(passes: &[SearchedPass], choices: &[PassChoice]) -> Vec<(String, Option<Value>)> {
    varied(passes).map(|(name, varied)| (name, varied.value(choices))).collect()
}

/// Something that points differ in.
enum Varied<'a> {
    /// Which alternative a pass is.
    Alternative(&'a str),
    /// An option of one of a pass's alternatives.
    Option { pass: &'a str, alternative: usize, number: usize },
}

/// All of it, with its names.
fn varied(passes: &[SearchedPass]) -> impl Iterator<Item = (String, Varied<'_>)> {
    passes.iter().flat_map(|pass| {
        let several = pass.alternatives.len() > 1;
        let alternative = several.then(|| (pass.name.clone(), Varied::Alternative(&pass.name)));
        let options = pass.alternatives.iter().enumerate().flat_map(move |(alternative, found)| {
            let options = found.options.iter().enumerate().filter(|(_, option)| option.values.len() > 1);
            options.map(move |(number, option)| {
                let name = match several {
                    true => format!("{}[{alternative}].{}", pass.name, option.name),
                    false => format!("{}.{}", pass.name, option.name),
                };
                (name, Varied::Option { pass: &pass.name, alternative, number })
            })
        });
        alternative.into_iter().chain(options)
    })
}

impl Varied<'_> {
    fn value(&self, choices: &[PassChoice]) -> Option<Value> {
        let of = |pass: &str| choices.iter().find(|choice| choice.pass == pass);
        match self {
            Varied::Alternative(pass) => Some(Value::from(of(pass)?.alternative)),
            Varied::Option { pass, alternative, number } => {
                let choice = of(pass).filter(|choice| choice.alternative == *alternative)?;
                choice.values.get(*number).map(|chosen| chosen.value.clone())
            }
        }
    }
}
