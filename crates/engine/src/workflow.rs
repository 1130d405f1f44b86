//! A whole configuration, from the input model to the output folders.

use super::plan::{Flow, Step, StepKey};
use super::{
    EngineError, Environment, FlowInput, FlowOutcome, OutputState, Plan, WorkflowOutcome, input, memory,
    output,
};
use crate::cache::{CacheError, KeyHasher, Store};
use crate::evaluated::EvaluationOutcome;
use crate::evaluation::{FlowEvaluation, documents};
use crate::executor::{Execution, Executor, Executors, LocalExecutor};
use crate::output::{Destination, Documents, HistoryFile, Publication};
use crate::passes::RunConfig;
use crate::record::{self, JobNotes, PlanDocument, RunDocument, RunRecorder, RunState};
use crate::resources::Resources;
use crate::stages::stages;
use olive_config::InputModel;
use olive_core::content::ContentHashes;
use olive_core::device::Device;
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
    let recorder = (!config.engine.no_artifacts).then(Arc::<RunRecorder>::default);
    let attached = recorder.clone().map(|recorder| environment.events.attach(recorder));
    for warning in &config.warnings {
        environment.events.emit(Event::Warning { message: warning.render(&config.path) });
    }
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

/// A flow that is about to run.
struct FlowRun<'a> {
    /// Its place in the plan.
    number: usize,
    keys: &'a [StepKey],
    input: &'a FlowInput,
    /// See [`Execution::input_here`].
    input_here: &'a dyn Fn() -> Result<ModelHandle>,
    /// See [`Execution::unchanged`].
    unchanged: &'a dyn Fn() -> Result<()>,
    contents: &'a ContentHashes,
    device: &'a Device,
    /// The name of the run's record.
    record: Option<&'a str>,
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
        let local = LocalExecutor::new(device.clone(), environment.memory);
        let elsewhere = environment.executors.iter().map(|executor| &**executor);
        let executors = Executors::new(elsewhere.chain([&local as &dyn Executor]).collect());
        let contents = ContentHashes::open(&self.config.engine.cache_dir);
        let keys = self.keys(&input, &contents)?;
        if let Some(recorder) = self.recorder {
            recorder.plan(&self.plan_document(Some(&keys)));
        }
        for (flow, keys) in self.plan.flows.iter().zip(&keys) {
            flow.check_input(input.here(), Some(keys), self.store)?;
        }
        for (flow, keys) in self.plan.flows.iter().zip(&keys) {
            memory::check(flow, input.handle(), keys, self.store, environment)?;
        }
        let unchanged = || self.check_unchanged(&input, &contents, &keys);
        for (number, keys) in keys.iter().enumerate() {
            let (input_here, unchanged) = (&input_here, &unchanged);
            let (input, contents, device) = (&input, &contents, &device);
            let run = FlowRun { number, keys, input, input_here, unchanged, contents, device, record };
            self.run_flow(&run, &executors, outcome)?;
        }
        Ok(())
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
    fn keys(&self, input: &FlowInput, contents: &ContentHashes) -> Result<Vec<Vec<StepKey>>> {
        let keys = self.plan.flows.iter().map(|flow| flow.keys(input, self.environment.device, contents));
        let keys = keys.collect::<Result<_>>()?;
        if let Err(error) = contents.save() {
            // It only saves time; a cache that may be read but not written is a cache.
            tracing::debug!("content hashes are not remembered: {error}");
        }
        Ok(keys)
    }

    /// Whether the model and the data are still what the keys were computed of: they may be replaced during a run, and
    /// files may come or go.
    fn check_unchanged(
        &self,
        input: &FlowInput,
        contents: &ContentHashes,
        keys: &[Vec<StepKey>],
    ) -> Result<()> {
        let changed = |path: PathBuf| Err(CacheError::InputChanged { path }.into());
        if let Some(path) = contents.first_changed() {
            return changed(path);
        }
        match self.keys(input, contents) {
            Ok(now) if now == keys => Ok(()),
            _ => changed(input.handle().dir().to_owned()),
        }
    }

    /// Runs a flow and writes its result.
    fn run_flow(
        &self,
        run: &FlowRun,
        executors: &Executors,
        outcome: &RefCell<WorkflowOutcome>,
    ) -> Result<()> {
        let &FlowRun { number, keys, input, input_here, unchanged, contents, device, record } = run;
        let change = |change: &dyn Fn(&mut FlowOutcome)| {
            change(&mut outcome.borrow_mut().flows[number]);
            if let Some(recorder) = self.recorder {
                recorder.outcome(&outcome.borrow());
            }
        };
        let (flow, dir) = (&self.plan.flows[number], self.output_dirs[number].as_path());
        let name = input::hub_model(&self.config.input_model);
        let execution = Execution {
            config: self.config,
            store: self.store,
            cancel: &self.environment.cancel,
            events: &*self.environment.events,
            input_here,
            unchanged,
            on_step: &|step| change(&|flow| flow.steps.push(step.clone())),
            jobs: record.map(|id| JobNotes::new(&self.config.engine.output_dir, id)),
        };
        let model = executors.run_flow(flow, keys, input, name.as_ref(), &execution)?;
        let steps = outcome.borrow().flows[number].steps.clone();
        let publish = |documents: Documents| Publication {
            output_dir: dir,
            input: input.handle(),
            name: name.as_ref(),
            model: &model,
            steps: &steps,
            history: record.map_or(HistoryFile::Absent, |id| HistoryFile::Written {
                record: record::runs_dir(&self.way_up(dir)).join(id),
                stages: stages(&flow.steps, &steps, input.handle()),
            }),
            documents,
            foreign: self.environment.foreign_files,
            cancel: &self.environment.cancel,
            events: &*self.environment.events,
        };
        let evaluation = FlowEvaluation {
            config: self.config,
            environment: self.environment,
            device,
            store: self.store,
            contents,
            unchanged,
            flow,
            input_key: &match keys.first() {
                Some(key) => key.input.clone(),
                None => input_key(input, contents)?,
            },
            keys,
            input,
            steps: &steps,
        };
        let mut written = false;
        if evaluation.has_targets() {
            // The result is there before it is measured: what stops a measurement costs nothing else.
            written = publish(Documents::AsTheyAre).write()?;
            evaluation.run(|outcome| change(&|flow| flow.evaluations.push(outcome.clone())))?;
        }
        let evaluations: Vec<EvaluationOutcome> = outcome.borrow().flows[number].evaluations.clone();
        // Without a record, what lies beside a result is not kept either.
        if record.is_some() || !evaluation.has_targets() {
            written |= publish(Documents::Are(documents(&evaluations))).write()?;
        }
        let (state, message) = if written {
            (OutputState::Written, format!("wrote {}", shown(dir)))
        } else {
            (OutputState::UpToDate, format!("{} is up to date", shown(dir)))
        };
        change(&|flow| flow.output = state);
        self.environment.events.emit(Event::Info { message });
        Ok(())
    }

    /// The way from a flow's folder to the output folder, which has the records.
    fn way_up(&self, dir: &Path) -> PathBuf {
        let below = dir.strip_prefix(&self.config.engine.output_dir).unwrap_or(Path::new(""));
        below.components().map(|_| "..").collect()
    }
}

/// What the input model is known by in the cache.
fn input_key(input: &FlowInput, contents: &ContentHashes) -> Result<String> {
    let mut hasher = KeyHasher::new(contents);
    input.feed(&mut hasher)?;
    Ok(hasher.finish())
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
