//! A whole configuration, from the input model to the output folders.

use super::plan::{Flow, Step, StepKey};
use super::{
    EngineError, Environment, FlowInput, FlowOutcome, OutputState, Plan, StepOutcome, WorkflowOutcome, output,
};
use crate::cache::Store;
use crate::evaluated::{EvaluatedModel, EvaluationOutcome};
use crate::evaluation::{FlowEvaluation, documents};
use crate::executor::{Executor, Executors, LocalExecutor};
use crate::flow_runner::{FlowResult, FlowRunner, KeyedFlow};
use crate::output::{Destination, Documents};
use crate::packaging::{Packed, archives};
use crate::passes::RunConfig;
use crate::record::{self, PlanDocument, RunDocument, RunRecorder, RunState};
use crate::resources::Resources;
use crate::search::FlowSearch;
use olive_config::{InputModel, Search};
use olive_core::content::ContentHashes;
use olive_core::event::{self, Event, EventSink};
use olive_core::handle::ModelHandle;
use olive_core::{Result, shown};
use std::cell::{OnceCell, RefCell};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Runs all flows of a plan, brings their output folders up to date, and keeps a record of it. What would stop a run is
/// looked for before anything is fetched or computed, as far as that is possible.
///
/// `plan` is the one of `config`, or one that was made of values: of `config`, only what is not in the plan is used.
///
/// # Errors
/// Whatever stops a step or keeps its result from being written; what was finished stays in the cache.
pub fn run_workflow(config: &RunConfig, plan: &Plan, environment: &Environment) -> Result<WorkflowOutcome> {
    plan.check(|host| environment.executors.iter().any(|executor| executor.reaches(host)))?;
    environment.tracking.mlflow.check(plan)?;
    let recorder = (!config.engine.no_artifacts).then(Arc::<RunRecorder>::default);
    let attached = recorder.clone().map(|recorder| environment.events.attach(recorder));
    for warning in &config.warnings {
        environment.events.emit(Event::Warning { message: warning.render(&config.path) });
    }
    environment.tracking.mlflow.warn(plan, &*environment.events);
    let workflow = Workflow {
        config,
        plan,
        environment,
        store: &Store::new(&config.engine.cache_dir),
        output_dirs: plan.flows.iter().map(|flow| plan.output_dir(flow, &config.engine.output_dir)).collect(),
        recorder: recorder.as_deref(),
    };
    let result = workflow.run();
    let problem = recorder.as_ref().and_then(|recorder| recorder.finish(result.as_ref().err()));
    drop(attached);
    if let Some(problem) = problem {
        let message = format!("the record of this run is not complete: {}", problem.with_causes());
        environment.events.emit(Event::Warning { message });
    }
    result
}

struct Workflow<'a> {
    config: &'a RunConfig,
    plan: &'a Plan,
    environment: &'a Environment,
    store: &'a Store,
    /// One for each flow.
    output_dirs: Vec<PathBuf>,
    recorder: Option<&'a RunRecorder>,
}

impl Workflow<'_> {
    fn run(&self) -> Result<WorkflowOutcome> {
        if self.config.engine.clean_cache {
            self.clean_cache()?;
        }
        let resources = self.resources();
        let here = match flow_input(&self.config.input_model, self.plan, || resources.find_input()) {
            Err(error) if matches!(error.downcast_ref(), Some(EngineError::InAzureMl { .. })) => {
                return Err(error);
            }
            here => here.ok(),
        };
        if let Some(input) = &here {
            self.check_output_dirs(input)?;
        }
        self.destinations().try_for_each(|destination| destination.prepare())?;
        let outcome = RefCell::new(self.pending());
        let record = self.begin_record(&outcome.borrow())?;
        let plan = resources.bring_data(self.plan)?;
        plan.flows.iter().flat_map(|flow| &flow.steps).try_for_each(Step::check)?;
        if here.is_none() {
            // No model is fetched for a run that the data stops.
            plan.flows.iter().try_for_each(|flow| flow.check_input(None, None, self.store))?;
        }
        let with_data = Workflow { plan: &plan, output_dirs: self.output_dirs.clone(), ..*self };
        with_data.run_flows(&outcome, record.as_deref())?;
        Ok(outcome.into_inner())
    }

    fn resources(&self) -> Resources<'_> {
        let &Workflow { config, store, environment, .. } = self;
        Resources { config, store, environment }
    }

    /// Runs the flows, whose data is on this machine as far as it is read here.
    fn run_flows(&self, outcome: &RefCell<WorkflowOutcome>, record: Option<&str>) -> Result<()> {
        let (resources, environment) = (self.resources(), self.environment);
        let brought = OnceCell::new();
        let input_here = || -> Result<ModelHandle> {
            if let Some(model) = brought.get() {
                return Ok(ModelHandle::clone(model));
            }
            let model = resources.bring_input()?;
            Ok(brought.get_or_init(|| model).clone())
        };
        let input = flow_input(&self.config.input_model, self.plan, input_here)?;
        self.check_output_dirs(&input)?;
        let device = environment.device.open()?;
        let local = LocalExecutor::new(device.clone(), environment.memory, &environment.tracking);
        let elsewhere = environment.executors.iter().map(|executor| &**executor);
        let executors = Executors::new(elsewhere.chain([&local as &dyn Executor]).collect());
        let contents = ContentHashes::open(&self.config.engine.cache_dir);
        let runner = FlowRunner {
            environment,
            store: self.store,
            device: &device,
            contents: &contents,
            executors: &executors,
            input: &input,
            input_here: &input_here,
            output_dir: &self.config.engine.output_dir,
            record,
        };
        let keys = self.keys(&runner)?;
        if let Some(recorder) = self.recorder {
            recorder.plan(&self.plan_document(Some(&keys)));
        }
        let keyed: Vec<KeyedFlow> = std::iter::zip(&self.plan.flows, &keys)
            .map(|(flow, keys)| KeyedFlow { config: self.config, flow, keys })
            .collect();
        if let Some(search) = &self.config.search {
            return (0..keyed.len()).try_for_each(|number| self.search(search, number, &runner, outcome));
        }
        keyed.iter().try_for_each(|keyed| runner.check(*keyed))?;
        keyed
            .iter()
            .enumerate()
            .try_for_each(|(number, keyed)| self.run_flow(number, *keyed, &runner, outcome))
    }

    /// Where the results of the flows go.
    fn destinations(&self) -> impl Iterator<Item = Destination<'_>> {
        let flows = self.plan.flows.iter().zip(&self.output_dirs);
        flows.map(|(flow, dir)| destination(self.config, flow, dir, self.environment))
    }

    fn clean_cache(&self) -> Result<()> {
        for kept in self.store.clean()?.kept {
            self.environment.events.emit(Event::Warning { message: kept.to_string() });
        }
        Ok(())
    }

    /// No result may take the place of the input model.
    fn check_output_dirs(&self, input: &FlowInput) -> Result<()> {
        let Some(input) = input.here() else { return Ok(()) };
        self.destinations().try_for_each(|destination| destination.check_input(input))
    }

    /// The outcome before anything has run.
    fn pending(&self) -> WorkflowOutcome {
        let flow = |dir: &PathBuf| FlowOutcome {
            output_dir: dir.clone(),
            output: OutputState::Pending,
            steps: Vec::new(),
            evaluations: Vec::new(),
            search: None,
        };
        WorkflowOutcome {
            output_dir: self.config.engine.output_dir.clone(),
            flows: self.output_dirs.iter().map(flow).collect(),
        }
    }

    /// Begins the record, unless none is kept, and gives its name.
    fn begin_record(&self, outcome: &WorkflowOutcome) -> Result<Option<String>> {
        let Some(recorder) = self.recorder else { return Ok(None) };
        let path = &self.config.path;
        let document = RunDocument {
            format: record::FORMAT,
            olive_version: env!("CARGO_PKG_VERSION").into(),
            id: String::new(),
            state: RunState::Running,
            // JSON has no room for a path that is not text.
            config: (!path.as_os_str().is_empty()).then(|| {
                std::path::absolute(path).unwrap_or_else(|_| path.clone()).to_string_lossy().into_owned()
            }),
            workflow_id: self.config.workflow_id.clone(),
            device: self.environment.device.to_string(),
            host: self.environment.host.clone(),
            pid: std::process::id(),
            started: event::now(),
            ended: None,
            error: None,
        };
        // The run that made a result is worth keeping as long as the result.
        let records = self.output_dirs.iter().filter_map(|dir| output::record_of(dir));
        let kept: Vec<String> =
            records.filter_map(|record| Some(record.file_name()?.to_string_lossy().into_owned())).collect();
        let plan = self.plan_document(None);
        let id = recorder.begin(&self.config.engine.output_dir, document, &plan, &kept)?;
        recorder.outcome(outcome);
        Ok(Some(id))
    }

    fn plan_document(&self, keys: Option<&[Vec<StepKey>]>) -> PlanDocument {
        PlanDocument::new(&self.config.input_model, self.plan, &self.output_dirs, keys)
    }

    /// The keys of every flow's steps.
    fn keys(&self, runner: &FlowRunner) -> Result<Vec<Vec<StepKey>>> {
        let keys = self.plan.flows.iter().map(|flow| runner.keys(flow)).collect::<Result<_>>()?;
        if let Err(error) = runner.contents.save() {
            // It only saves time; a cache that may be read but not written is a cache.
            tracing::debug!("content hashes are not remembered: {error}");
        }
        Ok(keys)
    }

    /// Notes what became of a flow, at once: a later failure must not lose it.
    fn note(&self, number: usize, outcome: &RefCell<WorkflowOutcome>, change: impl FnOnce(&mut FlowOutcome)) {
        change(&mut outcome.borrow_mut().flows[number]);
        if let Some(recorder) = self.recorder {
            recorder.outcome(&outcome.borrow());
        }
    }

    /// Runs a flow and writes its result.
    fn run_flow(
        &self,
        number: usize,
        keyed: KeyedFlow,
        runner: &FlowRunner,
        outcome: &RefCell<WorkflowOutcome>,
    ) -> Result<()> {
        let dir = self.output_dirs[number].as_path();
        let on_step = |step: &StepOutcome| self.note(number, outcome, |flow| flow.steps.push(step.clone()));
        let model = runner.run(keyed, None, &on_step)?;
        let steps = outcome.borrow().flows[number].steps.clone();
        let result = FlowResult { model: &model, steps: &steps };
        let evaluation = FlowEvaluation::new(runner, keyed, &steps)?;
        let is_measured = evaluation.has_targets();
        let mut written = false;
        if is_measured {
            // The result is there before it is measured: what stops a measurement costs nothing else.
            written = runner.publish(keyed, result, dir, Documents::AsTheyAre)?;
            evaluation.run(|measured| self.note(number, outcome, |flow| flow.evaluations.push(measured)))?;
        }
        let evaluations: Vec<EvaluationOutcome> = outcome.borrow().flows[number].evaluations.clone();
        // Without a record, what lies beside a result is not kept either.
        if runner.record.is_some() || !is_measured {
            let mut beside = documents(&evaluations);
            let evaluation = evaluations.iter().find(|evaluation| evaluation.model == EvaluatedModel::Result);
            if !steps.is_empty() {
                let packed = Packed { keyed, result, evaluation };
                beside.extend(archives(self.config, runner, &[packed], &evaluations)?);
            }
            written |= runner.publish(keyed, result, dir, Documents::Are(beside))?;
        }
        self.close(number, outcome, written);
        Ok(())
    }

    /// Says what became of the folder of a flow's result.
    fn close(&self, number: usize, outcome: &RefCell<WorkflowOutcome>, written: bool) {
        let dir = shown(&self.output_dirs[number]);
        let (state, message) = match written {
            true => (OutputState::Written, format!("wrote {dir}")),
            false => (OutputState::UpToDate, format!("{dir} is up to date")),
        };
        self.note(number, outcome, |flow| flow.output = state);
        self.environment.events.emit(Event::Info { message });
    }

    /// Searches the space of a flow's passes and writes the best results.
    fn search(
        &self,
        search: &Search,
        number: usize,
        runner: &FlowRunner,
        outcome: &RefCell<WorkflowOutcome>,
    ) -> Result<()> {
        let flow_search = FlowSearch {
            config: self.config,
            search,
            number,
            flow: &self.plan.flows[number],
            runner,
            output_dir: &self.output_dirs[number],
            note: &|change| self.note(number, outcome, change),
        };
        let written = flow_search.run()?;
        self.close(number, outcome, written);
        Ok(())
    }
}

/// The input of a run: what `here` finds on this machine, unless jobs elsewhere fetch it.
///
/// # Errors
/// Those of `here`.
pub(crate) fn flow_input(
    model: &InputModel,
    plan: &Plan,
    here: impl FnOnce() -> Result<ModelHandle>,
) -> Result<FlowInput> {
    let elsewhere = if plan.begins_elsewhere() { FlowInput::elsewhere(model) } else { None };
    elsewhere.map_or_else(|| here().map(FlowInput::Here), Ok)
}

/// Where the result of a flow goes.
pub(crate) fn destination<'a>(
    config: &'a RunConfig,
    flow: &'a Flow,
    output_dir: &'a Path,
    environment: &'a Environment,
) -> Destination<'a> {
    Destination {
        output_dir,
        config: &config.path,
        cache_dir: &config.engine.cache_dir,
        home: environment.home.as_deref(),
        foreign: environment.foreign_files,
        last: flow.steps.last(),
    }
}
