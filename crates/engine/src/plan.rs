//! What will be done: every pass checked against its input, every cache key computed, nothing run yet.

use super::{EngineError, FlowInput, Host, input};
use crate::cache::store::ArtefactId;
use crate::cache::{KeyHasher, Store};
use crate::passes::{self, MoveData, Pass, PassConfig, REGISTRY, RunConfig};
use olive_core::content::ContentHashes;
use olive_core::device::DeviceChoice;
use olive_core::handle::{ModelHandle, ModelKind};
use olive_core::{Error, Result};
use olive_data::DataError;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Flows of steps; most configurations have one.
pub struct Plan {
    pub flows: Vec<Flow>,
}

pub struct Flow {
    pub steps: Vec<Step>,
}

/// One pass of a flow.
#[derive(Clone)]
pub struct Step {
    pub config: PassConfig,
    pub host: Host,
    pub pass: Arc<dyn Pass>,
    pub input: ModelKind,
    pub output: ModelKind,
}

/// A step's place in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepKey {
    /// Key of what the step works on.
    pub input: String,
    pub key: String,
}

/// The passes of a flow that begins with a model of this kind. Where one of them wants an adapter beside its model, the pass
/// before it that would put it into the weights leaves it there.
fn leaving_adapters_apart(input: ModelKind, mut flow: Vec<PassConfig>) -> Vec<PassConfig> {
    let wanting = flow.iter().position(|config| config.pass.wants_adapter_apart()).unwrap_or(0);
    let mut kind = Ok(input);
    for config in &mut flow[..wanting] {
        if kind == Ok(ModelKind::HfWithAdapter)
            && let Some(pass) = config.pass.leaving_adapter_apart()
        {
            config.pass = pass;
        }
        kind = kind.and_then(|kind| config.pass.output(kind));
    }
    flow
}

impl Plan {
    /// Chains the passes of every flow of a configuration: of one with a search, the passes of its first point.
    ///
    /// # Errors
    /// A pass that cannot follow the one before it.
    pub fn new(config: &RunConfig) -> Result<Plan> {
        let passes = |flow: &Vec<usize>| flow.iter().map(|&index| config.passes[index].clone()).collect();
        Plan::of(config, config.flows.iter().map(passes).collect())
    }

    /// Chains passes that need not be in the configuration, for example with other values of their options. Input model
    /// and hosts are those of `run`.
    ///
    /// # Errors
    /// As [`Plan::new`].
    pub fn of(run: &RunConfig, passes: Vec<Vec<PassConfig>>) -> Result<Plan> {
        let mut flows = Vec::with_capacity(passes.len());
        for flow in passes {
            let mut kind = input::kind(&run.input_model);
            let mut steps: Vec<Step> = Vec::with_capacity(flow.len());
            for mut config in leaving_adapters_apart(kind, flow) {
                let named = run.engine.graph_file.as_ref().and_then(|name| config.pass.naming_graph(name));
                config.pass = named.unwrap_or(config.pass);
                let refuse = |pass: &PassConfig, reason: String, hint: String| EngineError::Plan {
                    pass: pass.name.clone(),
                    reason,
                    hint,
                };
                if let Some(before) = steps.last() {
                    let resolved = config.pass.after(&*before.pass);
                    let resolved = resolved
                        .map_err(|mismatch| refuse(&config, mismatch.reason, mismatch.hint.to_owned()))?;
                    config.pass = resolved.unwrap_or(config.pass);
                }
                let output = config.pass.output(kind).map_err(|reason| {
                    refuse(&config, reason, format!("order the passes as {}", REGISTRY.in_order()))
                })?;
                let pass = Arc::clone(&config.pass);
                let host = Host::of(config.host.as_deref().or(run.engine.host.as_deref()), &run.systems);
                steps.push(Step { config, host, pass, input: kind, output });
                kind = output;
            }
            flows.push(Flow { steps });
        }
        let plan = Plan { flows };
        plan.check_folders()?;
        Ok(plan)
    }

    /// Flows of other passes must not share a folder: `a-b`, and `a` followed by `b`.
    fn check_folders(&self) -> Result<()> {
        for (number, flow) in self.flows.iter().enumerate() {
            let shares = |other: &&Flow| other.folder() == flow.folder() && other.names() != flow.names();
            if let Some(pass) = self.flows[..number].iter().find(shares).and(flow.names().first()) {
                return Err(EngineError::Plan {
                    pass: (*pass).to_owned(),
                    reason: format!(
                        "the results of two flows would go to the same folder, `{}`",
                        flow.folder()
                    ),
                    hint: "give a pass another name".into(),
                }
                .into());
            }
        }
        Ok(())
    }

    /// Where the result of a flow goes: one flow writes into the output folder itself, several into a folder each, named
    /// for their passes.
    pub fn output_dir(&self, flow: &Flow, output_dir: &Path) -> PathBuf {
        if self.flows.len() == 1 {
            return output_dir.to_owned();
        }
        output_dir.join(flow.folder())
    }

    /// Everything that can be found wrong before a model is fetched or a pass run.
    ///
    /// # Errors
    /// The first host that is not this machine, and that nothing `reaches`, else the first pass that could not be run.
    pub fn check(&self, reaches: impl Fn(&Host) -> bool) -> Result<()> {
        let mut steps = self.flows.iter().flat_map(|flow| &flow.steps);
        if let Some(step) = steps.clone().find(|step| !step.host.is_here() && !reaches(&step.host)) {
            return Err(EngineError::Host { host: step.host.to_string() }.into());
        }
        steps.try_for_each(Step::check)
    }

    /// Whether every flow begins with jobs elsewhere, which fetch the input model for themselves.
    pub(crate) fn begins_elsewhere(&self) -> bool {
        self.flows.iter().all(Flow::begins_elsewhere)
    }

    /// The same plan, with the data configurations of steps on this machine as `moved` leaves them.
    ///
    /// # Errors
    /// Those of `moved`.
    pub(crate) fn with_data_here(&self, moved: &mut MoveData) -> Result<Plan> {
        let mut flows = Vec::with_capacity(self.flows.len());
        for flow in &self.flows {
            let mut steps = flow.steps.clone();
            for step in steps.iter_mut().filter(|step| step.host.is_here()) {
                if let Some(pass) = step.pass.with_data(moved)? {
                    step.pass = pass;
                }
            }
            flows.push(Flow { steps });
        }
        Ok(Plan { flows })
    }

    /// The jobs that a run sends elsewhere, with the number of the flow that each belongs to. What the cache holds is not
    /// looked at.
    pub fn jobs(&self) -> impl Iterator<Item = (usize, &[Step])> {
        let chains = self.flows.iter().enumerate();
        let chains = chains.flat_map(|(number, flow)| flow.chains().map(move |steps| (number, steps)));
        chains.filter(|(_, steps)| !steps[0].host.is_here())
    }
}

impl Step {
    /// The resolved options as plain data, for manifests and records.
    pub fn options(&self) -> serde_json::Value {
        passes::tagged_options(&*self.pass)
    }

    /// What can be found wrong before the model is looked at.
    pub(crate) fn check(&self) -> Result<()> {
        self.host.check_files()?;
        self.checked(self.pass.check())
    }

    /// What a check comes to: what lies in Azure ML is read by a job, or brought here first.
    fn checked(&self, checked: Result<()>) -> Result<()> {
        match checked {
            Err(error) if is_in_azureml(&error) => Ok(()),
            checked => Ok(checked.map_err(|source| self.refused(source))?),
        }
    }

    /// Whether the data is here that the step reads here: it decides about the result by its content.
    fn check_data_is_here(&self) -> Result<(), DataError> {
        let used = self.pass.data();
        let mut away = used.iter().filter_map(|used| Some((used, used.config.load.azureml().next()?)));
        match away.next().filter(|_| self.host.is_here()) {
            None => Ok(()),
            Some((used, resource)) => Err(DataError::InAzureMl {
                name: Some(used.config.name.clone()),
                place: resource.place.describe(),
                address: resource.to_string(),
            }),
        }
    }

    pub(crate) fn refused(&self, source: Error) -> EngineError {
        let (pass, pass_type) = (self.config.name.clone(), self.pass.name());
        EngineError::Check { pass, pass_type, source }
    }
}

/// Whether data was not read because it lies in AzureML.
fn is_in_azureml(error: &Error) -> bool {
    matches!(error.downcast_ref(), Some(DataError::InAzureMl { .. }))
}

impl Flow {
    /// Consecutive steps that have one host.
    pub fn chains(&self) -> impl Iterator<Item = &[Step]> {
        self.steps.chunk_by(|one, next| one.host == next.host)
    }

    /// Whether a job elsewhere takes the input model.
    pub(crate) fn begins_elsewhere(&self) -> bool {
        self.steps.first().is_some_and(|step| !step.host.is_here())
    }

    fn names(&self) -> Vec<&str> {
        self.steps.iter().map(|step| step.config.name.as_str()).collect()
    }

    /// The folder of its result, where there are several flows.
    fn folder(&self) -> String {
        self.names().join("-")
    }

    /// Everything that the input model and the data can tell of what would go wrong, as far as they are on this machine.
    /// Steps whose artefact is in the cache are not looked at.
    ///
    /// # Errors
    /// The first pass that could not be run.
    pub fn check_input(
        &self,
        model: Option<&ModelHandle>,
        keys: Option<&[StepKey]>,
        store: &Store,
    ) -> Result<()> {
        for (number, step) in self.steps.iter().enumerate() {
            let key = keys.and_then(|keys| keys.get(number));
            if key.is_some_and(|key| store.look_up(&key.artefact_id(step)).is_ok()) {
                continue;
            }
            step.checked(step.pass.check_input(model))?;
        }
        Ok(())
    }

    /// The cache key of every step, from the content of the input model and of the data, and from the options. No
    /// step needs to have run: a key stands for the artefact that the step will make.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn keys(
        &self,
        input: &FlowInput,
        device: DeviceChoice,
        contents: &ContentHashes,
    ) -> Result<Vec<StepKey>> {
        let mut hasher = KeyHasher::new(contents);
        input.feed(&mut hasher)?;
        let mut input = hasher.finish();
        let mut keys = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            step.check_data_is_here()?;
            let mut hasher = KeyHasher::new(contents);
            hasher.field("pass", &step.pass.name());
            hasher.field("version", &step.pass.version());
            hasher.field("input", &input);
            if step.pass.uses_device() {
                hasher.field("device", &device.family());
            }
            step.pass.key(&mut hasher)?;
            let key = hasher.finish();
            keys.push(StepKey { input, key: key.clone() });
            input = key;
        }
        Ok(keys)
    }
}

impl StepKey {
    pub fn artefact_id<'a>(&'a self, step: &Step) -> ArtefactId<'a> {
        ArtefactId { pass_type: step.pass.name(), key: &self.key }
    }
}
