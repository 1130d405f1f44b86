//! Which matrices get more bits than the rest.

use super::plan::{EMBEDDING_MODULE, Note, Override};
use olive_arch::{LinearKind, Spec};
use olive_core::Result;
use olive_core::cancel::CancelFlag;
use olive_core::event::{Event, EventSink, Unit as Of};
use olive_kernels::quant::Scheme;
use olive_model::{Checkpoint, Tensor};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Matrices that have one setting: queries, keys and values of a layer are one unit, any other matrix is one by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Modules, and the tensors that their weights are.
    pub modules: Vec<(String, String)>,
    pub parameters: usize,
}

/// The units of a model, the head last.
pub fn units(spec: &Spec) -> Vec<Unit> {
    let mut units = Vec::new();
    for layer in 0..spec.num_layers() {
        let mut inputs = Unit { modules: Vec::new(), parameters: 0 };
        for linear in spec.linears(layer) {
            let module = (linear.module.clone(), linear.weight_name());
            let parameters = linear.in_features * linear.out_features;
            if matches!(linear.kind, LinearKind::Q | LinearKind::K | LinearKind::V) {
                inputs.modules.push(module);
                inputs.parameters += parameters;
            } else {
                units.push(Unit { modules: vec![module], parameters });
            }
        }
        if !inputs.modules.is_empty() {
            units.push(inputs);
        }
    }
    let head = (Spec::HEAD_MODULE.to_owned(), spec.head_name().to_owned());
    units.push(Unit { modules: vec![head], parameters: spec.vocab_size * spec.hidden_size });
    units
}

/// What is low, what is high, and how much stays low.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection {
    pub low: Override,
    pub high: Override,
    /// Share of the parameters that stay low, in (0, 1).
    pub ratio: f64,
}

impl Selection {
    /// The units with the least scores are high, until they have the rest of the parameters; the one with which they reach it
    /// is among them.
    pub fn note(&self, units: &[Unit], scores: &[f64], tied: bool) -> Note {
        let total: usize = units.iter().map(|unit| unit.parameters).sum();
        let wanted = (1.0 - self.ratio) * total as f64;
        let mut order: Vec<usize> = (0..units.len()).collect();
        order.sort_by(|a, b| scores[*a].total_cmp(&scores[*b]));
        let (mut held, mut overrides) = (0.0, BTreeMap::new());
        for index in order {
            if held >= wanted {
                break;
            }
            held += units[index].parameters as f64;
            overrides.extend(units[index].modules.iter().map(|(module, _)| (module.clone(), self.high)));
        }
        note(self.low, overrides, tied)
    }
}

/// Which layers are high besides the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByPlace {
    HeadOnly,
    /// And the last products of MLPs in some layers.
    Down,
    /// And queries, keys and values there.
    Mixed,
}

/// What stands where errors are known to weigh most: the head, and some matrices of the first and the last eighth of the
/// layers and of every third between them.
pub fn by_place(spec: &Spec, which: ByPlace, low: u8, high: u8) -> Note {
    let bits = |bits| Override { bits: Some(bits), ..Override::default() };
    let mut overrides = BTreeMap::from([(Spec::HEAD_MODULE.to_owned(), bits(high))]);
    let layers = spec.num_layers();
    let first = layers / 8;
    let chosen = |i: &usize| 8 * i < layers || 8 * i >= 7 * layers || (*i >= first && (i - first) % 3 == 2);
    for layer in (0..layers).filter(chosen) {
        for linear in spec.linears(layer) {
            let sensitive = match which {
                ByPlace::HeadOnly => false,
                ByPlace::Down => linear.kind == LinearKind::Down,
                ByPlace::Mixed => {
                    use LinearKind::{Down, K, Q, Qkv, V};
                    matches!(linear.kind, Down | Q | K | V | Qkv)
                }
            };
            if sensitive {
                overrides.insert(linear.module, bits(high));
            }
        }
    }
    note(bits(low), overrides, spec.tied)
}

fn note(default: Override, mut overrides: BTreeMap<String, Override>, tied: bool) -> Note {
    if let Some(head) = overrides.get(Spec::HEAD_MODULE).copied().filter(|_| tied) {
        overrides.insert(EMBEDDING_MODULE.to_owned(), head);
    }
    Note { default, overrides }
}

/// What is measured of the weights alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightMeasure {
    /// Signal to noise in few bits, in decibels.
    Snr,
    /// The same less that in many bits.
    SnrRelative,
    /// The reciprocal of the largest mean squared error of a row in few bits.
    Iqe,
    /// The same times that error in many bits.
    IqeRelative,
}

/// What rounding does to a unit.
#[derive(Debug, Clone, Copy, Default)]
struct Damage {
    signal: f64,
    /// In few bits and in many.
    noise: [f64; 2],
    worst_row: [f64; 2],
}

impl Damage {
    fn with(self, other: Damage) -> Damage {
        Damage {
            signal: self.signal + other.signal,
            noise: [0, 1].map(|i| self.noise[i] + other.noise[i]),
            worst_row: [0, 1].map(|i| self.worst_row[i].max(other.worst_row[i])),
        }
    }

    fn score(&self, measure: WeightMeasure) -> f64 {
        let snr = |noise: f64| 10.0 * (self.signal.max(1e-24) / noise.max(1e-24)).log10();
        match measure {
            WeightMeasure::Snr => snr(self.noise[0]),
            WeightMeasure::SnrRelative => snr(self.noise[0]) - snr(self.noise[1]),
            WeightMeasure::Iqe => 1.0 / (self.worst_row[0] + 1e-12),
            WeightMeasure::IqeRelative => (self.worst_row[1] + 1e-12) / (self.worst_row[0] + 1e-12),
        }
    }
}

/// The score of every unit: the lower, the more it needs the bits. `schemes` are that of few bits and that of many.
///
/// # Errors
/// A tensor that is missing or holds no finite values, an interruption.
pub fn scores_of_weights(
    checkpoint: &Checkpoint,
    units: &[Unit],
    measure: WeightMeasure,
    schemes: [Scheme; 2],
    cancel: &CancelFlag,
    events: &dyn EventSink,
) -> Result<Vec<f64>> {
    let phase = "measure sensitivity";
    events.emit(Event::PhaseStarted {
        phase: phase.into(),
        total: Some(units.len() as u64),
        unit: Of::Tensors,
    });
    let mut scores = Vec::with_capacity(units.len());
    for unit in units {
        let mut damage = Damage::default();
        for (_, tensor) in &unit.modules {
            cancel.check()?;
            damage = damage.with(damage_to(checkpoint.tensor(tensor)?, schemes)?);
        }
        scores.push(damage.score(measure));
        events.emit(Event::PhaseProgress { done: scores.len() as u64 });
    }
    events.emit(Event::PhaseFinished { phase: phase.into() });
    Ok(scores)
}

fn damage_to(tensor: &Tensor, schemes: [Scheme; 2]) -> Result<Damage> {
    let values = tensor.to_f32()?;
    tensor.release();
    let width = tensor.shape.last().copied().unwrap_or(1).max(1);
    let square = |x: f32| f64::from(x) * f64::from(x);
    let rows = values.par_chunks_exact(width).map(|row| {
        let mut damage = Damage { signal: row.iter().map(|x| square(*x)).sum(), ..Damage::default() };
        let mut rounded = vec![0.0; width];
        for (i, scheme) in schemes.iter().enumerate() {
            rounded.copy_from_slice(row);
            scheme.round(&mut rounded, width);
            damage.noise[i] = row.iter().zip(&rounded).map(|(x, q)| square(x - q)).sum();
            damage.worst_row[i] = damage.noise[i] / width as f64;
        }
        damage
    });
    let rows: Vec<Damage> = rows.collect();
    Ok(rows.into_iter().fold(Damage::default(), Damage::with))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_that_crosses_the_line_is_high() {
        let unit =
            |name: &str, parameters| Unit { modules: vec![(name.to_owned(), String::new())], parameters };
        let units = [unit("a", 40), unit("b", 30), unit("lm_head", 30)];
        let high = Override { bits: Some(8), ..Override::default() };
        let selection = Selection { low: Override::default(), high, ratio: 0.65 };
        let names = |note: Note| note.overrides.into_keys().collect::<Vec<_>>();
        assert_eq!(names(selection.note(&units, &[1.0, 3.0, 2.0], true)), ["a"]);
        assert_eq!(
            names(selection.note(&units, &[2.0, 3.0, 1.0], true)),
            ["a", "lm_head", "model.embed_tokens"]
        );
        assert_eq!(names(selection.note(&units, &[2.0, 1.0, 3.0], false)), ["a", "b"]);
    }
}
