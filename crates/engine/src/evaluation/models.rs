//! Models that no flow made, measured side by side.

use super::measurement::Evaluation;
use super::not_evaluated;
use super::samples::Samples;
use crate::Environment;
use crate::cache::{CacheError, KeyHasher, Store};
use crate::evaluated::{EvaluatedModel, EvaluationOutcome};
use olive_config::{Evaluator, MetricData};
use olive_core::Result;
use olive_core::content::ContentHashes;
use olive_core::event::{Event, EventSink};
use olive_core::handle::ModelHandle;
use olive_model::ModelFolder;
use std::path::Path;
use std::time::Instant;

/// Measures models of any form with one evaluator, each on the tokens of its own tokenizer, and calls `done` with every
/// outcome. What was measured before comes from the cache in `cache_dir`.
///
/// # Errors
/// Data that cannot be read, a model that cannot be opened, a computation that fails, or a raised flag.
pub fn evaluate_models(
    models: &[(String, ModelHandle)],
    evaluator: &Evaluator,
    cache_dir: &Path,
    environment: &Environment,
    mut done: impl FnMut(EvaluationOutcome),
) -> Result<()> {
    let (device, store) = (environment.device.open()?, Store::new(cache_dir));
    let contents = ContentHashes::open(cache_dir);
    let unchanged = || match contents.first_changed() {
        Some(path) => Err(CacheError::InputChanged { path }.into()),
        None => Ok(()),
    };
    let evaluation = Evaluation {
        environment,
        device: &device,
        store: &store,
        contents: &contents,
        unchanged: &unchanged,
    };
    let mut first: Option<Samples> = None;
    for (name, model) in models {
        environment.cancel.check()?;
        let started = Instant::now();
        let mut hasher = KeyHasher::new(&contents);
        hasher.model(model)?;
        let samples = Samples::new(ModelFolder::of(model)?, environment);
        let (record, cached) = evaluation.record(evaluator, model, &hasher.finish(), &samples)?;
        done(EvaluationOutcome {
            model: EvaluatedModel::Named(name.clone()),
            evaluator: evaluator.name.clone(),
            cached,
            seconds: started.elapsed().as_secs_f64(),
            metrics: record.metrics,
            detail: record.detail,
            goals: Vec::new(),
            not_evaluated: not_evaluated(evaluator),
        });
        match &first {
            None => first = Some(samples),
            Some(first) if !same_tokens(first, &samples, evaluator)? => {
                let message = format!(
                    "`{name}` is measured on other tokens than `{}`, as its tokenizer is another one: losses and perplexities \
                     cannot be compared",
                    models[0].0
                );
                environment.events.emit(Event::Warning { message });
            }
            Some(_) => {}
        }
    }
    if let Err(error) = contents.save() {
        // It only saves time.
        tracing::debug!("content hashes are not remembered: {error}");
    }
    Ok(())
}

/// Whether both make the same samples of the data of all metrics that compare losses.
fn same_tokens(one: &Samples, other: &Samples, evaluator: &Evaluator) -> Result<bool> {
    if one.has_tokenizer_of(other)? {
        return Ok(true);
    }
    for metric in evaluator.measures.metrics() {
        if matches!(metric.data, Some(MetricData::Rows(_)))
            && matches!(metric.kind, olive_config::MetricKind::Accuracy)
            && one.dataset(metric)? != other.dataset(metric)?
        {
            return Ok(false);
        }
    }
    Ok(true)
}
