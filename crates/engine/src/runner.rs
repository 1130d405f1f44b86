//! Runs the steps of a flow, each from the cache where it can.

use super::plan::{Flow, StepKey};
use super::{EngineError, Step, StepOutcome};
use crate::cache::{Artefacts, Manifest, Store};
use crate::passes::RunContext;
use olive_core::Result;
use olive_core::event::Event;
use olive_core::handle::{ModelHandle, ModelKind};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

/// Runs all steps, in order, and gives the last model.
///
/// # Errors
/// The first step that fails; what earlier steps made stays in the cache.
pub fn run(
    flow: &Flow,
    keys: &[StepKey],
    input: ModelHandle,
    store: &Store,
    context: &RunContext,
) -> Result<(ModelHandle, Vec<StepOutcome>)> {
    let start = input.base().to_owned();
    let mut model = input;
    let mut outcomes = Vec::with_capacity(flow.steps.len());
    for (index, (step, key)) in flow.steps.iter().zip(keys).enumerate() {
        context.cancel.check()?;
        let r#type = step.pass.name();
        let started = Instant::now();
        context.events.emit(Event::PassStarted {
            pass: step.config.name.clone(),
            r#type,
            index: index + 1,
            total: flow.steps.len(),
        });
        // What a pass made has no name on the hub.
        let context = &RunContext {
            device: context.device.clone(),
            base: context.base.filter(|_| model.base() == start),
            ..*context
        };
        let artefact = store.get_or_run(
            &key.slot(step),
            step.config.clean_run_cache,
            context.cancel,
            context.events,
            |dir| run_step(step, key, &model, dir, store, context),
        )?;
        let outcome = StepOutcome {
            pass: step.config.name.clone(),
            r#type,
            cached: artefact.cached,
            seconds: started.elapsed().as_secs_f64(),
            bytes: artefact.manifest.bytes(),
            path: artefact.output.clone(),
            key: key.key.clone(),
        };
        context.events.emit(Event::PassFinished {
            pass: outcome.pass.clone(),
            r#type,
            cached: outcome.cached,
            seconds: outcome.seconds,
            bytes: outcome.bytes,
            path: outcome.path.clone(),
        });
        model = handle(artefact.manifest.output, artefact.output, &model);
        outcomes.push(outcome);
    }
    Ok((model, outcomes))
}

fn run_step(
    step: &Step,
    key: &StepKey,
    model: &ModelHandle,
    dir: &Path,
    store: &Store,
    context: &RunContext,
) -> Result<(ModelKind, Manifest)> {
    let context = &RunContext {
        device: context.device.clone(),
        artefacts: Some(Artefacts { store, input_key: &key.input }),
        ..*context
    };
    let clock = Instant::now();
    let started = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |t| t.as_secs());
    step.pass.run(model, dir, context).map_err(|error| {
        if error.is_interruption() {
            return error;
        }
        EngineError::Pass {
            pass: step.config.name.clone(),
            pass_type: step.pass.name(),
            source: Box::new(error),
        }
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
        options: serde_json::to_value(&step.config.pass).expect("options are plain data"),
        output: step.output,
        started,
        seconds: clock.elapsed().as_secs_f64(),
        files: Vec::new(),
    };
    Ok((step.output, manifest))
}

/// The model that an artefact stands for, given what it was made from.
fn handle(kind: ModelKind, output: PathBuf, input: &ModelHandle) -> ModelHandle {
    match kind {
        ModelKind::Hf => ModelHandle::Hf { dir: output },
        ModelKind::Onnx => ModelHandle::Onnx { dir: output },
        ModelKind::HfWithAdapter => {
            ModelHandle::HfWithAdapter { base: input.base().to_owned(), adapter: output }
        }
    }
}
