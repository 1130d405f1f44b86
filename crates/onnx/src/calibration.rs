//! Codes chosen by what flows through the model, and what they cost on data that did not choose them.
//!
//! The layers are done in order. Each sees what the quantised layers before it give, so that it makes up for their
//! errors too; its codes are chosen by [`quant::feedback`](olive_kernels::quant::feedback). Rows that were held out go through
//! the float model, through the codes that the data did not choose and through those that it did, layer by layer beside
//! each other: at any time the memory holds the decoded weights of one layer.

use super::data_file::{ChosenCodes, ChosenTensor};
use olive_arch::{LinearKind, Spec};
use olive_core::cancel::CancelFlag;
use olive_core::event::EventSink;
use olive_core::event::{Event, Unit};
use olive_core::{Error, Result};
use olive_data::{Dataset, MicroBatch};
use olive_decoder::{Decoder, HiddenStates};
use olive_kernels::FrozenWeight;
use olive_kernels::quant::feedback::{Feedback, Moments};
use olive_kernels::quant::{BlockFormat, QuantisedRows, WeightFormat};
use olive_model::{Tensor, WeightSource};
use rayon::prelude::*;
use serde::Serialize;
use std::collections::BTreeMap;

/// Tokens that choose the codes; what the data has beyond that is not needed.
const TOKENS: usize = 1 << 13;
/// Held-out tokens that are evaluated.
const HELD_OUT_TOKENS: usize = 1 << 12;
/// Tokens that go through a layer at once.
const BATCH: usize = 1 << 10;
/// Rows of a weight that a thread chooses codes for at a time.
const ROWS: usize = 128;
/// Share of the mean that is added to the diagonal of the moments.
const DAMPING: f32 = 0.01;
/// The same for a head that is the embedding too: an embedding counts by its elements, not by what the head sees.
const SHARED_DAMPING: f32 = 1.0;

/// A model with the data to choose its codes by.
pub struct Calibration {
    /// The model as it is, with its adapter.
    pub float: Decoder,
    /// The same without one; its weights are replaced.
    pub work: Decoder,
    pub samples: Dataset,
    pub held_out: Dataset,
}

/// Losses on the held-out rows, in nats per token.
#[derive(Debug, Clone, Serialize)]
pub struct QuantisationReport {
    pub calibration_tokens: usize,
    pub held_out_tokens: usize,
    pub float: Loss,
    /// Codes by rounding alone.
    pub default: Loss,
    /// Codes chosen by the data.
    pub calibrated: Loss,
    /// Share of the loss that rounding costs, and that the chosen codes do not.
    pub recovered: f64,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub struct Loss {
    pub loss: f64,
    pub perplexity: f64,
}

impl QuantisationReport {
    /// Name of the file beside the model.
    pub const NAME: &'static str = "quantisation_report.json";

    fn message(&self) -> String {
        let one = |name: &str, l: Loss| format!("{name} {:.4} (perplexity {:.2})", l.loss, l.perplexity);
        format!(
            "loss on {} held-out tokens: {}, {}, {}: {:.0} % of what rounding costs is recovered",
            self.held_out_tokens,
            one("float", self.float),
            one("rounded", self.default),
            one("calibrated", self.calibrated),
            100.0 * self.recovered
        )
    }
}

/// Codes for every tensor of `formats`. `shared`: the embedding has the codes of the head.
pub(crate) fn choose(
    calibration: Calibration,
    source: &dyn WeightSource,
    formats: &BTreeMap<String, BlockFormat>,
    shared: bool,
    cancel: &CancelFlag,
    events: &dyn EventSink,
) -> Result<(ChosenCodes, QuantisationReport)> {
    let Calibration { float, work, samples, held_out } = calibration;
    let mut run = Run {
        samples: batches(&samples, TOKENS),
        held_out: batches(&held_out, HELD_OUT_TOKENS),
        float,
        work,
        weights: CheckpointWeights { source, formats },
        shared,
        chosen: ChosenCodes::new(),
        cancel,
        events,
    };
    let report = run.run()?;
    events.emit(Event::Info { message: report.message() });
    Ok((run.chosen, report))
}

/// Samples laid together, up to a number of tokens.
fn batches(dataset: &Dataset, limit: usize) -> Vec<MicroBatch> {
    let (mut batches, mut part, mut tokens, mut total) = (Vec::new(), Vec::new(), 0, 0);
    for (row, sample) in dataset.samples.iter().enumerate() {
        if total >= limit {
            break;
        }
        part.push((row, sample));
        tokens += sample.input_ids.len();
        total += sample.input_ids.len();
        if tokens >= BATCH {
            batches.push(MicroBatch::new(part.drain(..)));
            tokens = 0;
        }
    }
    batches.push(MicroBatch::new(part));
    batches.retain(|batch| batch.labels > 0);
    batches
}

struct CheckpointWeights<'a> {
    source: &'a dyn WeightSource,
    formats: &'a BTreeMap<String, BlockFormat>,
}

struct Run<'a> {
    samples: Vec<MicroBatch>,
    held_out: Vec<MicroBatch>,
    float: Decoder,
    work: Decoder,
    weights: CheckpointWeights<'a>,
    shared: bool,
    chosen: ChosenCodes,
    cancel: &'a CancelFlag,
    events: &'a dyn EventSink,
}

impl Run<'_> {
    fn run(&mut self) -> Result<QuantisationReport> {
        let phase = "choose codes";
        let layers = self.float.spec.num_layers();
        self.events.emit(Event::PhaseStarted {
            phase: phase.into(),
            total: Some(layers as u64),
            unit: Unit::Steps,
        });
        let embedding = Spec::EMBEDDING;
        let embed = |decoder: &Decoder, batches: &[MicroBatch]| -> Result<Vec<HiddenStates>> {
            batches.iter().map(|batch| HiddenStates::embed(decoder, &batch.tokens)).collect()
        };
        let mut float = embed(&self.float, &self.held_out)?;
        let (mut rounded, mut calibrated, mut samples);
        if self.shared {
            let moments = self.head_moments()?;
            let codes = self.weights.choose(embedding, &moments.feedback(SHARED_DAMPING))?;
            let original = self.work.replace_embedding(self.weights.rounded(embedding)?);
            rounded = embed(&self.work, &self.held_out)?;
            self.work.replace_embedding(self.weights.decode(embedding, &codes)?);
            calibrated = embed(&self.work, &self.held_out)?;
            samples = embed(&self.work, &self.samples)?;
            self.work.replace_embedding(original);
            self.chosen.insert(embedding.to_owned(), codes);
        } else {
            rounded = embed(&self.float, &self.held_out)?;
            calibrated = embed(&self.float, &self.held_out)?;
            samples = embed(&self.float, &self.samples)?;
        }
        for layer in 0..layers {
            self.cancel.check()?;
            advance(&mut float, &self.float, layer)?;
            self.layer(layer, &mut rounded, &mut calibrated, &mut samples)?;
            self.events.emit(Event::PhaseProgress { done: layer as u64 + 1 });
        }
        let report = self.losses(&float, &rounded, &calibrated, &samples)?;
        self.events.emit(Event::PhaseFinished { phase: phase.into() });
        Ok(report)
    }

    /// Moments of what the head of the float model is given. The head is needed first when the embedding has its codes.
    fn head_moments(&self) -> Result<Moments> {
        let mut moments = Moments::new(self.float.spec.hidden_size);
        // It has few columns beside the number of tokens, so a part of them will do.
        for batch in &self.samples[..self.samples.len().div_ceil(4)] {
            self.cancel.check()?;
            let mut states = HiddenStates::embed(&self.float, &batch.tokens)?;
            for layer in 0..self.float.spec.num_layers() {
                states.advance(&self.float, layer)?;
            }
            moments.add(&states.head_input(&self.float)?)?;
        }
        Ok(moments)
    }

    /// Chooses the codes of one layer, and takes the streams through it.
    fn layer(
        &mut self,
        layer: usize,
        rounded: &mut [HiddenStates],
        calibrated: &mut [HiddenStates],
        samples: &mut [HiddenStates],
    ) -> Result<()> {
        let linears = self.float.spec.linears(layer);
        let tensor = |module: &str| format!("{module}.weight");
        let mut originals = Vec::with_capacity(linears.len());
        for linear in &linears {
            let weight = self.weights.rounded(&tensor(&linear.module))?;
            originals.push((linear.kind, self.work.replace_linear(layer, linear.kind, weight)));
        }
        advance(rounded, &self.work, layer)?;

        let mut moments: Vec<(&[LinearKind], Moments)> = Vec::new();
        for states in samples.iter() {
            self.cancel.check()?;
            for (i, (kinds, input)) in states.linear_inputs(&self.float, layer)?.into_iter().enumerate() {
                if moments.len() == i {
                    moments.push((kinds, Moments::new(input.dim(1)?)));
                }
                moments[i].1.add(&input)?;
            }
        }
        for (kinds, moments) in moments {
            let of_input = linears.iter().filter(|linear| kinds.contains(&linear.kind));
            let quantised: Vec<_> = of_input
                .filter(|linear| self.weights.formats.contains_key(&tensor(&linear.module)))
                .collect();
            if quantised.is_empty() {
                continue;
            }
            let feedback = moments.feedback(DAMPING);
            for linear in quantised {
                self.cancel.check()?;
                let name = tensor(&linear.module);
                let codes = self.weights.choose(&name, &feedback)?;
                self.work.replace_linear(layer, linear.kind, self.weights.decode(&name, &codes)?);
                self.chosen.insert(name, codes);
            }
        }
        advance(calibrated, &self.work, layer)?;
        advance(samples, &self.work, layer)?;
        for (kind, weight) in originals {
            self.work.replace_linear(layer, kind, weight);
        }
        Ok(())
    }

    fn losses(
        &mut self,
        float: &[HiddenStates],
        rounded: &[HiddenStates],
        calibrated: &[HiddenStates],
        samples: &[HiddenStates],
    ) -> Result<QuantisationReport> {
        let head = self.float.spec.head_name();
        if !self.chosen.contains_key(head) && self.weights.formats.contains_key(head) {
            let mut moments = Moments::new(self.float.spec.hidden_size);
            for states in samples {
                moments.add(&states.head_input(&self.work)?)?;
            }
            let codes = self.weights.choose(head, &moments.feedback(DAMPING))?;
            self.chosen.insert(head.to_owned(), codes);
        }
        let float = self.loss(&self.float, float)?;
        self.work.replace_head(self.weights.rounded(head)?);
        let default = self.loss(&self.work, rounded)?;
        let weight = match self.chosen.get(head) {
            Some(codes) => self.weights.decode(head, codes)?,
            None => self.weights.float(head)?,
        };
        self.work.replace_head(weight);
        let calibrated = self.loss(&self.work, calibrated)?;
        let cost = default.loss - float.loss;
        let tokens = |batches: &[MicroBatch]| batches.iter().map(|b| b.labels).sum();
        Ok(QuantisationReport {
            calibration_tokens: tokens(&self.samples),
            held_out_tokens: tokens(&self.held_out),
            float,
            default,
            calibrated,
            recovered: if cost > 0.0 { (default.loss - calibrated.loss) / cost } else { 0.0 },
        })
    }

    fn loss(&self, decoder: &Decoder, states: &[HiddenStates]) -> Result<Loss> {
        let (mut sum, mut count) = (0.0, 0);
        for (states, batch) in states.iter().zip(&self.held_out) {
            self.cancel.check()?;
            let loss = states.loss(decoder, &batch.targets)?;
            sum += loss.sum;
            count += loss.count;
        }
        if count == 0 {
            return Err(olive_data::DataError::NoEvaluationLabels { samples: 0 }.into());
        }
        let loss = sum / count as f64;
        Ok(Loss { loss, perplexity: loss.exp() })
    }
}

fn advance(states: &mut [HiddenStates], decoder: &Decoder, layer: usize) -> Result<()> {
    states.iter_mut().try_for_each(|states| states.advance(decoder, layer))
}

impl CheckpointWeights<'_> {
    fn shape(&self, tensor: &str) -> Result<(usize, usize)> {
        match self.source.describe(tensor) {
            Some((_, &[n, k])) => Ok((n, k)),
            _ => Err(olive_kernels::invalid(format!("`{tensor}` is not a matrix"))),
        }
    }

    /// Calls `work` with some rows after the other, on all threads; gives its results in order.
    fn panels<T: Send>(
        &self,
        tensor: &str,
        work: impl Fn(&mut Vec<f32>, usize) -> Result<T> + Sync,
    ) -> Result<Vec<T>> {
        let (n, k) = self.shape(tensor)?;
        (0..n.div_ceil(ROWS))
            .into_par_iter()
            .map_init(Vec::new, |rows, panel| {
                let (start, end) = (panel * ROWS, ((panel + 1) * ROWS).min(n));
                rows.resize((end - start) * k, 0.0);
                self.source.read_rows(tensor, start..end, rows)?;
                work(rows, k)
            })
            .collect()
    }

    fn choose(&self, tensor: &str, feedback: &Feedback) -> Result<ChosenTensor> {
        let format = self.formats[tensor];
        let mut all = QuantisedRows::default();
        for part in self.panels(tensor, |rows, _| Ok(feedback.quantise(format, rows)))? {
            all.codes.extend(part.codes);
            all.scales.extend(part.scales);
            all.zero_points.extend(part.zero_points);
        }
        Ok(ChosenTensor { rows: self.shape(tensor)?.0, codes: all })
    }

    fn decode(&self, tensor: &str, chosen: &ChosenTensor) -> Result<FrozenWeight> {
        let format = self.formats[tensor];
        let (n, k) = self.shape(tensor)?;
        let mut values = vec![0.0; n * k];
        values
            .par_chunks_exact_mut(k)
            .enumerate()
            .for_each(|(row, values)| format.decode_row(&chosen.codes, row, values));
        Tensor::weight_in_memory(tensor, [n, k], &values)
    }

    /// What rounding alone makes of the tensor, or the tensor itself if it stays in float.
    fn rounded(&self, tensor: &str) -> Result<FrozenWeight> {
        let Some(format) = self.formats.get(tensor) else { return self.float(tensor) };
        let parts = self.panels(tensor, |rows, k| {
            let mut codes = QuantisedRows::default();
            format.quantise(rows, k, &mut codes);
            let mut values = vec![0.0; rows.len()];
            values.chunks_exact_mut(k).enumerate().for_each(|(r, row)| format.decode_row(&codes, r, row));
            Ok(values)
        })?;
        self.joined(tensor, parts)
    }

    fn float(&self, tensor: &str) -> Result<FrozenWeight> {
        let parts = self.panels(tensor, |rows, _| Ok::<_, Error>(rows.clone()))?;
        self.joined(tensor, parts)
    }

    fn joined(&self, tensor: &str, parts: Vec<Vec<f32>>) -> Result<FrozenWeight> {
        let (n, k) = self.shape(tensor)?;
        Tensor::weight_in_memory(tensor, [n, k], &parts.concat())
    }
}
