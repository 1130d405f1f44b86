//! Where steps are executed. A flow is cut into chains of consecutive steps with one host, and the executor of that host
//! runs a whole chain: it sees all of it before it begins, as a job that is sent elsewhere must.
//!
//! The cache stays the place of results. An executor looks every step up by its key, works on what is missing, and leaves
//! what it made in the [`Store`] of this machine under that key, so that another run finds it there, whoever made it.
//!
//! An executor that sends jobs elsewhere notes in [`Execution::jobs`] what it sent, under [`Chain::key`], before it waits. A run
//! that finds such a note takes the job up instead of sending it again: the key says that it is the same work.

mod local;

pub use local::LocalExecutor;

use crate::EngineError;
use crate::cache::Store;
use crate::passes::RunConfig;
use crate::plan::{Flow, Step, StepKey};
use crate::record::JobNotes;
use crate::{FlowInput, Host, StepOutcome};
use olive_core::Result;
use olive_core::cancel::CancelFlag;
use olive_core::event::{Event, EventSink};
use olive_core::handle::ModelHandle;
use olive_model::HubModel;

/// Runs chains of steps on one kind of host.
pub trait Executor {
    /// Whether this executor reaches that host.
    fn reaches(&self, host: &Host) -> bool;

    /// Runs the steps of a chain in order, each from the cache where it can, and gives the model that the last one made.
    /// Each step is announced and closed with the events of a pass, and reported to [`Execution::on_step`] when it is done.
    ///
    /// # Errors
    /// The first step that fails, or [`olive_core::error::Interrupted`] soon after the flag is raised; what earlier steps
    /// made is in the cache.
    fn run(&self, chain: &Chain, execution: &Execution) -> Result<ModelHandle>;
}

/// Consecutive steps of a flow that have one host, and what they start from.
#[derive(Clone, Copy)]
pub struct Chain<'a> {
    pub host: &'a Host,
    /// At least one.
    pub steps: &'a [Step],
    /// One for each step.
    pub keys: &'a [StepKey],
    /// How many steps of the flow come before this chain, and how many it has in all: what events count in.
    pub before: usize,
    pub total: usize,
    /// The model that the first step works on.
    pub input: &'a ModelHandle,
    /// Whether that, or what it is an adapter of, is on this machine; if not, the handle has names, and the jobs fetch it.
    pub is_here: bool,
    /// The hub's name for `input`, or for its base, if the user gave that.
    pub name: Option<&'a HubModel>,
}

impl Chain<'_> {
    /// Names the work of the whole chain: the key of its last step.
    pub fn key(&self) -> &str {
        &self.keys[self.keys.len() - 1].key
    }

    /// Announces the step of this index in the chain.
    pub fn announce(&self, index: usize, events: &dyn EventSink) {
        let step = &self.steps[index];
        events.emit(Event::PassStarted {
            pass: step.config.name.clone(),
            r#type: step.pass.name().into(),
            index: self.before + index + 1,
            total: self.total,
        });
    }
}

/// What an executor may use while it runs a chain.
#[derive(Clone, Copy)]
pub struct Execution<'a> {
    pub config: &'a RunConfig,
    pub store: &'a Store,
    pub cancel: &'a CancelFlag,
    pub events: &'a dyn EventSink,
    /// Brings the input model of the flow to this machine, where jobs elsewhere fetched it for themselves so far.
    pub input_here: &'a dyn Fn() -> Result<ModelHandle>,
    /// Fails if what the keys were computed of has changed since: nothing that was made of it may be kept.
    pub unchanged: &'a dyn Fn() -> Result<()>,
    /// Told of every step that is done, at once: a later failure must not lose it.
    pub on_step: &'a dyn Fn(&StepOutcome),
    /// Where jobs are noted, in the record of the run; `None` if none is kept.
    pub jobs: Option<JobNotes<'a>>,
    /// See [`RunContext::pause_after`](crate::passes::RunContext::pause_after); jobs elsewhere do not pause.
    pub pause_after: Option<usize>,
}

impl Execution<'_> {
    /// Closes a step that is done.
    pub fn report(&self, outcome: &StepOutcome) {
        self.events.emit(Event::PassFinished {
            pass: outcome.pass.clone(),
            r#type: outcome.r#type.clone().into(),
            cached: outcome.cached,
            seconds: outcome.seconds,
            bytes: outcome.bytes,
            path: outcome.path.clone(),
        });
        (self.on_step)(outcome);
    }
}

/// The executors that a workflow may use.
pub struct Executors<'a>(Vec<&'a dyn Executor>);

impl<'a> Executors<'a> {
    pub fn new(executors: Vec<&'a dyn Executor>) -> Executors<'a> {
        Executors(executors)
    }

    /// The first that reaches the host.
    ///
    /// # Errors
    /// [`EngineError::Host`]: none does. [`Plan::check`](crate::Plan::check) says so before anything is done.
    fn of(&self, host: &Host) -> Result<&dyn Executor> {
        let executor = self.0.iter().copied().find(|executor| executor.reaches(host));
        executor.ok_or_else(|| EngineError::Host { host: host.to_string() }.into())
    }

    /// Runs all steps of a flow, chain by chain, and gives the last model.
    ///
    /// # Errors
    /// The first chain that fails. A host that no executor reaches is found before anything runs.
    pub fn run_flow(
        &self,
        flow: &Flow,
        keys: &[StepKey],
        input: &FlowInput,
        name: Option<&HubModel>,
        execution: &Execution,
    ) -> Result<ModelHandle> {
        let mut chains = Vec::new();
        for steps in flow.chains() {
            chains.push((steps, self.of(&steps[0].host)?));
        }
        let mut model = input.handle().clone();
        let mut before = 0;
        for (steps, executor) in chains {
            execution.cancel.check()?;
            let chain = Chain {
                host: &steps[0].host,
                steps,
                keys: &keys[before..before + steps.len()],
                before,
                total: flow.steps.len(),
                input: &model,
                is_here: input.here().is_some() || model.base() != input.handle().base(),
                // What a pass made has no name on the hub.
                name: name.filter(|_| model.base() == input.handle().base()),
            };
            model = executor.run(&chain, execution)?;
            before += steps.len();
        }
        Ok(model)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::KeyHasher;
    use crate::passes::{Pass, REGISTRY, RunConfig, RunContext};
    use olive_config::{ConfiguredPass, LoadOptions, PassOptions, SystemKind};
    use olive_core::handle::ModelKind;
    use std::cell::RefCell;
    use std::path::{Path, PathBuf};
    use std::rc::Rc;
    use std::sync::Arc;

    /// Runs nothing: says what it was given, and that every step made a model of its own.
    struct Fake {
        host: &'static str,
        heard: Rc<RefCell<Vec<String>>>,
    }

    impl Executor for Fake {
        fn reaches(&self, host: &Host) -> bool {
            host.name() == Some(self.host)
        }

        fn run(&self, chain: &Chain, execution: &Execution) -> Result<ModelHandle> {
            let steps: Vec<&str> = chain.steps.iter().map(|step| step.config.name.as_str()).collect();
            let (first, input) = (chain.before + 1, chain.input.dir().display());
            let name = chain.name.map_or("", |name| name.id.as_str());
            self.heard
                .borrow_mut()
                .push(format!("{}: {}/{} {steps:?} on {input} {name}", self.host, first, chain.total));
            for key in chain.keys {
                (execution.on_step)(&StepOutcome {
                    pass: "pass".into(),
                    r#type: "Fake".into(),
                    cached: false,
                    seconds: 0.0,
                    bytes: 0,
                    path: PathBuf::from(&key.key),
                    key: key.key.clone(),
                    elsewhere: None,
                });
            }
            Ok(ModelHandle::Hf { dir: PathBuf::from(chain.key()) })
        }
    }

    #[derive(Debug)]
    struct NoPass;

    impl ConfiguredPass for NoPass {
        fn name(&self) -> &'static str {
            "Fake"
        }
        fn options(&self) -> &dyn PassOptions {
            &()
        }
        fn output(&self, input: ModelKind) -> Result<ModelKind, String> {
            Ok(input)
        }
    }

    impl Pass for NoPass {
        fn version(&self) -> u32 {
            1
        }
        fn key(&self, _: &mut KeyHasher) -> Result<()> {
            Ok(())
        }
        fn run(&self, _: &ModelHandle, _: &Path, _: &RunContext) -> Result<ModelHandle> {
            unreachable!("the executor is a fake")
        }
        fn writes(&self, _: &str) -> bool {
            false
        }
    }

    fn host(name: &str) -> Host {
        Host::System { name: name.into(), kind: SystemKind::AzureMl }
    }

    fn quickstart() -> RunConfig {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/quickstart/olive-config.json");
        RunConfig::load(&path, &LoadOptions::default(), &REGISTRY).unwrap()
    }

    /// A flow whose steps have these hosts, and keys for it.
    fn flow(hosts: &[&str]) -> (Flow, Vec<StepKey>) {
        let config = quickstart();
        let step = |(index, name): (usize, &&str)| {
            let mut config = config.passes[0].clone();
            config.name = format!("step{index}");
            Step {
                config,
                host: host(name),
                pass: Arc::new(NoPass),
                input: ModelKind::Hf,
                output: ModelKind::Hf,
            }
        };
        let key = |index: usize| StepKey { input: index.to_string(), key: format!("key{index}") };
        (Flow { steps: hosts.iter().enumerate().map(step).collect() }, (0..hosts.len()).map(key).collect())
    }

    fn run(hosts: &[&str], cancel: &CancelFlag) -> (Result<ModelHandle>, Vec<String>, usize) {
        let heard = Rc::new(RefCell::new(Vec::new()));
        let [one, two] = ["one", "two"].map(|host| Fake { host, heard: heard.clone() });
        let executors = Executors::new(vec![&one, &two]);
        let (flow, keys) = flow(hosts);
        let steps = RefCell::new(0);
        let dir = tempfile::tempdir().unwrap();
        let execution = Execution {
            config: &quickstart(),
            store: &Store::new(dir.path()),
            cancel,
            events: &(),
            input_here: &|| unreachable!("it is here"),
            unchanged: &|| Ok(()),
            on_step: &|_| *steps.borrow_mut() += 1,
            jobs: None,
            pause_after: None,
        };
        let input = FlowInput::Here(ModelHandle::Hf { dir: "input".into() });
        let name = HubModel { id: "hub/id".into(), revision: None };
        let model = executors.run_flow(&flow, &keys, &input, Some(&name), &execution);
        (model, heard.take(), steps.into_inner())
    }

    #[test]
    fn a_flow_is_cut_where_the_host_changes_and_the_model_is_handed_on() {
        let (model, heard, steps) = run(&["one", "one", "two", "one"], &CancelFlag::default());
        assert_eq!(model.unwrap(), ModelHandle::Hf { dir: "key3".into() });
        assert_eq!(
            heard,
            [
                r#"one: 1/4 ["step0", "step1"] on input hub/id"#,
                r#"two: 3/4 ["step2"] on key1 "#,
                r#"one: 4/4 ["step3"] on key2 "#,
            ]
        );
        assert_eq!(steps, 4);
    }

    #[test]
    fn nothing_runs_when_one_of_the_hosts_cannot_be_reached() {
        let (model, heard, _) = run(&["one", "three"], &CancelFlag::default());
        let error = model.unwrap_err();
        assert_eq!(error.to_string(), "nothing here runs passes on `three` (AzureML)");
        assert_eq!((error.exit_code(), heard.len()), (2, 0));
    }

    #[test]
    fn no_chain_begins_after_the_flag_is_raised() {
        let cancel = CancelFlag::default();
        cancel.raise();
        let (model, heard, _) = run(&["one"], &cancel);
        assert!(model.unwrap_err().is_interruption() && heard.is_empty());
    }
}
