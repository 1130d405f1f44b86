//! Which weights the predictions of a model are most sensitive to.

use super::calibration_batch::CalibrationBatch;
use candle_core::{DType, Device};
use olive_core::Result;
use olive_core::cancel::CancelFlag;
use olive_core::event::{Event, EventSink, Unit};
use olive_decoder::{Decoder, Directions};
use olive_kernels::quant::{RoundedMatrix, RoundingDifference, Scheme};
use olive_kernels::{FrozenWeight, HostMatrix};
use olive_model::Checkpoint;
use std::sync::Arc;

/// A model that is rounded to few bits, and what a few more bits would change.
pub struct Sensitivity<'a> {
    /// The model as it is.
    pub float: &'a Decoder,
    /// Its weights.
    pub checkpoint: &'a Checkpoint,
    pub low: Scheme,
    pub high: Scheme,
    pub cancel: &'a CancelFlag,
    pub events: &'a dyn EventSink,
}

/// How fast the divergence from the float model's predictions falls when the weight of a module goes from low to high
/// precision, by module: `Σ g (low − high)` over the elements, g the gradient of the mean divergence at low precision, on
/// average over the samples. In a tied model the head's is that of its embedding as well. `low_model` is the model once more,
/// whose weights are replaced.
///
/// Weights are rounded whenever they are read, so neither copy of the model exists in memory.
///
/// # Errors
/// A device error, cancellation.
pub fn divergence_scores(
    of: &Sensitivity<'_>,
    mut low_model: Decoder,
    batches: &[CalibrationBatch],
) -> Result<Vec<(String, f64)>> {
    let spec = &of.float.spec;
    let layers = spec.num_layers();
    let mut directions = Directions {
        layers: Vec::with_capacity(layers),
        head: of.direction(spec.head_name())?,
        embedding: None,
    };
    for layer in 0..layers {
        let mut of_layer = Vec::new();
        for linear in spec.linears(layer) {
            low_model.replace_linear(layer, linear.kind, of.rounded(&linear.weight_name())?);
            of_layer.push(of.direction(&linear.weight_name())?);
        }
        directions.layers.push(of_layer);
    }
    low_model.replace_head(of.rounded(spec.head_name())?);
    if spec.tied {
        low_model.replace_embedding(of.rounded(spec.head_name())?);
        directions.embedding = Some(of.direction(spec.head_name())?);
    }
    let phase = "measure sensitivity";
    let samples: usize = batches.iter().map(|batch| batch.samples).sum();
    of.events.emit(Event::PhaseStarted {
        phase: phase.into(),
        total: Some(samples as u64),
        unit: Unit::Steps,
    });
    let (mut sums, mut done, mut divergence) = (directions.zeros(), 0, 0.0);
    for batch in batches {
        of.cancel.check()?;
        // The mean over a batch of samples of one length, so often as there are samples.
        let mut part = directions.zeros();
        divergence += batch.samples as f64
            * low_model.divergence_along(of.float, &batch.tokens, &directions, &mut part)?;
        sums.add(&part, batch.samples as f64);
        done += batch.samples as u64;
        of.events.emit(Event::PhaseProgress { done });
    }
    of.events.emit(Event::PhaseFinished { phase: phase.into() });
    let mean = 1.0 / samples.max(1) as f64;
    let message = format!(
        "predictions of the model in {} bits are {:.4} nats from its own",
        of.low.bits,
        divergence * mean
    );
    of.events.emit(Event::Info { message });
    let mut scores = Vec::new();
    for (layer, sums) in sums.layers.iter().enumerate() {
        let modules = spec.linears(layer).into_iter().map(|linear| linear.module);
        scores.extend(modules.zip(sums.iter().map(|sum| sum * mean)));
    }
    scores.push((olive_arch::Spec::HEAD_MODULE.to_owned(), sums.head * mean));
    Ok(scores)
}

impl Sensitivity<'_> {
    fn rounded(&self, name: &str) -> Result<FrozenWeight> {
        let source = self.checkpoint.tensor(name)?.matrix()?;
        weight(Arc::new(RoundedMatrix { source, scheme: self.low }))
    }

    fn direction(&self, name: &str) -> Result<FrozenWeight> {
        let source = self.checkpoint.tensor(name)?.matrix()?;
        weight(Arc::new(RoundingDifference { source, minuend: self.low, subtrahend: self.high }))
    }
}

fn weight(matrix: Arc<dyn HostMatrix>) -> Result<FrozenWeight> {
    FrozenWeight::new(matrix, DType::F32, &Device::Cpu)
}
