//! Runs steps on this machine.

use super::{Chain, Execution, Executor};
use crate::cache::partial::forget_state;
use crate::cache::store::Unusable;
use crate::cache::{Artefacts, CacheError, Manifest};
use crate::passes::{self, MemoryPolicy, RunContext};
use crate::plan::{Step, StepKey};
use crate::tracking::Tracking;
use crate::{EngineError, Host, StepOutcome};
use olive_core::Result;
use olive_core::device::Device;
use olive_core::handle::{ModelHandle, ModelKind};
use olive_model::HubModel;
use olive_train::Paused;
use std::path::Path;
use std::time::{Instant, SystemTime};

/// Runs steps in this process.
pub struct LocalExecutor<'a> {
    device: Device,
    memory: MemoryPolicy,
    tracking: &'a Tracking,
}

impl LocalExecutor<'_> {
    /// Computes on `device`; `memory` says what becomes of passes that do not fit, `tracking` where trainings are logged.
    pub fn new(device: Device, memory: MemoryPolicy, tracking: &Tracking) -> LocalExecutor<'_> {
        LocalExecutor { device, memory, tracking }
    }
}

impl Executor for LocalExecutor<'_> {
    fn reaches(&self, host: &Host) -> bool {
        host.is_here()
    }

    fn run(&self, chain: &Chain, execution: &Execution) -> Result<ModelHandle> {
        let mut model = chain.input.clone();
        for (index, (step, key)) in chain.steps.iter().zip(chain.keys).enumerate() {
            execution.cancel.check()?;
            let started = Instant::now();
            chain.announce(index, execution.events);
            // What a pass made has no name on the hub.
            let name = chain.name.filter(|_| model.base() == chain.input.base());
            let artefact = execution.store.get_or_run(
                &key.artefact_id(step),
                step.config.clean_run_cache,
                execution.cancel,
                execution.events,
                |dir| {
                    let model = on_this_machine(&model, chain, execution)?;
                    let made = self.run_step(step, key, &model, name, dir, execution)?;
                    if let Err(changed) = inputs_are_the_same(chain, index, execution) {
                        // Nor is the state what the key stands for.
                        forget_state(dir)?;
                        return Err(changed);
                    }
                    Ok(made)
                },
            )?;
            execution.report(&StepOutcome {
                pass: step.config.name.clone(),
                r#type: step.pass.name().to_owned(),
                cached: artefact.cached,
                seconds: started.elapsed().as_secs_f64(),
                bytes: artefact.manifest.bytes(),
                path: artefact.output.clone(),
                key: key.key.clone(),
                elsewhere: None,
            });
            model = model.made_into(artefact.manifest.output, artefact.output);
        }
        Ok(model)
    }
}

/// The model, whose base comes here where only jobs elsewhere had it so far.
///
/// # Errors
/// Those of [`Execution::input_here`].
fn on_this_machine(model: &ModelHandle, chain: &Chain, execution: &Execution) -> Result<ModelHandle> {
    if chain.is_here || model.base() != chain.input.base() {
        return Ok(model.clone());
    }
    let base = (execution.input_here)()?.base().to_owned();
    Ok(model.clone().on_base(base))
}

/// Whether the step of this index worked on what its key stands for, to the end.
///
/// # Errors
/// What was changed meanwhile.
fn inputs_are_the_same(chain: &Chain, index: usize, execution: &Execution) -> Result<()> {
    (execution.unchanged)()?;
    if let Some((step, key)) = previous(chain, index)
        && let Err(Unusable::Changed { file: path }) = execution.store.look_up(&key.artefact_id(step))
    {
        return Err(CacheError::InputChanged { path }.into());
    }
    Ok(())
}

/// The step whose result the step of this index works on, if the chain has it.
fn previous<'a>(chain: &Chain<'a>, index: usize) -> Option<(&'a Step, &'a StepKey)> {
    let before = index.checked_sub(1)?;
    Some((&chain.steps[before], &chain.keys[before]))
}

impl LocalExecutor<'_> {
    fn run_step(
        &self,
        step: &Step,
        key: &StepKey,
        model: &ModelHandle,
        name: Option<&HubModel>,
        dir: &Path,
        execution: &Execution,
    ) -> Result<(ModelKind, Manifest)> {
        let context = RunContext {
            device: self.device.clone(),
            memory: self.memory,
            cancel: execution.cancel,
            events: execution.events,
            base: name,
            pause_after: execution.pause_after,
            artefacts: Some(Artefacts {
                store: execution.store,
                input_key: &key.input,
                unchanged: execution.unchanged,
            }),
            log: self.tracking.log_of(step),
        };
        let clock = Instant::now();
        let started = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |t| t.as_secs());
        let data = passes::data_entries(&*step.pass, &execution.store.contents())?;
        step.pass.run(model, dir, &context).map_err(|error| {
            if error.is_interruption() || error.downcast_ref::<Paused>().is_some() {
                return error;
            }
            EngineError::Pass { pass: step.config.name.clone(), pass_type: step.pass.name(), source: error }
                .into()
        })?;
        let manifest = Manifest {
            olive_version: env!("CARGO_PKG_VERSION").into(),
            pass_type: step.pass.name().into(),
            pass_version: step.pass.version(),
            pass_name: step.config.name.clone(),
            key: key.key.clone(),
            input_key: key.input.clone(),
            input: model.dir().to_owned(),
            options: step.options(),
            data,
            output: step.output,
            started,
            seconds: clock.elapsed().as_secs_f64(),
            files: Vec::new(),
        };
        Ok((step.output, manifest))
    }
}
