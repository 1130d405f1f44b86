//! GPTQ over a whole model, layer by layer.
//!
//! A layer sees what the quantised layers before it give. One pass of the float layer over all samples gathers the moments
//! of its linear layers' inputs; a second one, of the quantised layer, makes the inputs of the next. Each layer has its own
//! mask and rotations. At any time memory holds the hidden states of all samples and the decoded weights of one layer.

use super::calibration_batch::CalibrationBatch;
use olive_arch::{Linear, LinearKind, Spec};
use olive_core::Result;
use olive_core::cancel::CancelFlag;
use olive_core::event::{Event, EventSink, Unit};
use olive_decoder::{Decoder, HiddenStates};
use olive_kernels::quant::Scheme;
use olive_kernels::quant::feedback::Moments;
use olive_kernels::quant::gptq::{Chosen, Corrections, Order};
use olive_kernels::{FrozenWeight, invalid};
use olive_model::{Tensor, WeightSource};

/// What is chosen by the data, and how.
pub struct Gptq<'a> {
    /// The model as it is.
    pub float: &'a Decoder,
    /// Its weights.
    pub source: &'a dyn WeightSource,
    /// How the weight of a module becomes codes; `None`: it stays as it is.
    pub scheme: &'a dyn Fn(&str) -> Option<Scheme>,
    pub order: Order,
    /// Share of the mean of the moments that is added to their diagonal.
    pub damping: f32,
    pub cancel: &'a CancelFlag,
    pub events: &'a dyn EventSink,
}

/// Codes of one module.
pub struct ModuleCodes {
    pub module: String,
    pub scheme: Scheme,
    /// Elements of a row of the weight.
    pub width: usize,
    pub chosen: Chosen,
}

/// Codes of the linear layers of one layer, or of the head.
pub struct LayerCodes {
    /// `None`: the head.
    pub layer: Option<usize>,
    pub modules: Vec<ModuleCodes>,
}

impl Gptq<'_> {
    /// Chooses the codes of all layers and, if it has a scheme, of the head. `work` is the model once more, whose weights are
    /// replaced while their layer is passed. `kept` gives the codes that an earlier attempt has
    /// chosen for a layer; `done` is given every layer's as soon as they are chosen.
    ///
    /// # Errors
    /// Moments that are not numbers, a device error, what `kept` and `done` refuse, cancellation.
    pub fn run(
        &self,
        mut work: Decoder,
        batches: &[CalibrationBatch],
        kept: &mut dyn FnMut(usize) -> Result<Option<LayerCodes>>,
        done: &mut dyn FnMut(LayerCodes) -> Result<()>,
    ) -> Result<()> {
        let phase = "choose codes";
        let layers = self.float.spec.num_layers();
        self.events.emit(Event::PhaseStarted {
            phase: phase.into(),
            total: Some(layers as u64),
            unit: Unit::Steps,
        });
        let embed = |batch: &CalibrationBatch| HiddenStates::embed(self.float, &batch.tokens);
        let mut states: Vec<HiddenStates> = batches.iter().map(embed).collect::<Result<_>>()?;
        let sequences = batches.iter().map(|batch| batch.samples).sum();
        let head = (self.scheme)(Spec::HEAD_MODULE);
        for layer in 0..layers {
            self.cancel.check()?;
            let (codes, again) = match kept(layer)? {
                Some(codes) => (codes, true),
                None => (self.layer(layer, &states, sequences)?, false),
            };
            let last = layer + 1 == layers;
            if !last || head.is_some() {
                self.advance(&mut work, layer, &codes, &mut states)?;
            }
            if !again {
                done(codes)?;
            }
            self.events.emit(Event::PhaseProgress { done: layer as u64 + 1 });
        }
        if let Some(scheme) = head {
            let mut moments = Moments::new(self.float.spec.hidden_size);
            for states in &states {
                self.cancel.check()?;
                moments.add(&states.head_input(self.float)?)?;
            }
            let corrections = self.corrections(moments, sequences, Spec::HEAD_MODULE)?;
            let spec = &self.float.spec;
            let shape = [spec.vocab_size, spec.hidden_size];
            let values = self.source.read(spec.head_name(), &shape)?;
            let codes = module(Spec::HEAD_MODULE, values, spec.hidden_size, scheme, &corrections);
            done(LayerCodes { layer: None, modules: vec![codes] })?;
        }
        self.events.emit(Event::PhaseFinished { phase: phase.into() });
        Ok(())
    }

    /// Chooses the codes of one layer.
    fn layer(&self, layer: usize, states: &[HiddenStates], sequences: usize) -> Result<LayerCodes> {
        let mut moments: Vec<(&[LinearKind], Moments)> = Vec::new();
        for states in states {
            self.cancel.check()?;
            for (place, (kinds, input)) in states.linear_inputs(self.float, layer)?.into_iter().enumerate() {
                if moments.len() == place {
                    moments.push((kinds, Moments::new(input.dim(1)?)));
                }
                moments[place].1.add(&input)?;
            }
        }
        let linears = self.float.spec.linears(layer);
        let mut modules = Vec::with_capacity(linears.len());
        for (kinds, moments) in moments {
            let of_input = linears.iter().filter(|linear| kinds.contains(&linear.kind));
            let wanted: Vec<(&Linear, Scheme)> =
                of_input.filter_map(|linear| Some((linear, (self.scheme)(&linear.module)?))).collect();
            let Some((first, _)) = wanted.first() else { continue };
            let corrections = self.corrections(moments, sequences, &first.module)?;
            for (linear, scheme) in wanted {
                self.cancel.check()?;
                let shape = [linear.out_features, linear.in_features];
                let values = self.source.read(&linear.weight_name(), &shape)?;
                modules.push(module(&linear.module, values, linear.in_features, scheme, &corrections));
            }
        }
        Ok(LayerCodes { layer: Some(layer), modules })
    }

    fn corrections(&self, moments: Moments, sequences: usize, module: &str) -> Result<Corrections> {
        let sums = moments.scaled(2.0 / sequences.max(1) as f32);
        let corrections = Corrections::new(sums, self.damping, self.order).ok_or_else(|| {
            invalid(format!("the inputs of `{module}` are not finite on the calibration data"))
        })?;
        if corrections.damping > self.damping {
            let message = format!(
                "the inputs of `{module}` do not tell its columns apart: `damp_percent` {} was raised to {} for it",
                self.damping, corrections.damping
            );
            self.events.emit(Event::Warning { message });
        }
        Ok(corrections)
    }

    /// Takes the samples through a layer as its codes have it.
    fn advance(
        &self,
        work: &mut Decoder,
        layer: usize,
        codes: &LayerCodes,
        states: &mut [HiddenStates],
    ) -> Result<()> {
        let linears = self.float.spec.linears(layer);
        let mut originals = Vec::with_capacity(codes.modules.len());
        for codes in &codes.modules {
            let linear = linears.iter().find(|linear| linear.module == codes.module);
            let linear =
                linear.ok_or_else(|| invalid(format!("`{}` is not in layer {layer}", codes.module)))?;
            originals.push((linear.kind, work.replace_linear(layer, linear.kind, codes.weight()?)));
        }
        for states in states {
            self.cancel.check()?;
            states.advance(work, layer)?;
        }
        for (kind, weight) in originals {
            work.replace_linear(layer, kind, weight);
        }
        Ok(())
    }
}

/// Codes of the weight of a module, which has these values.
fn module(
    name: &str,
    mut values: Vec<f32>,
    width: usize,
    scheme: Scheme,
    corrections: &Corrections,
) -> ModuleCodes {
    let chosen = corrections.quantise(&mut values, scheme);
    ModuleCodes { module: name.to_owned(), scheme, width, chosen }
}

impl ModuleCodes {
    /// Groups of a row.
    pub fn groups(&self) -> usize {
        self.width.div_ceil(self.scheme.group_of(self.width))
    }

    fn weight(&self) -> Result<FrozenWeight> {
        let values = self.values();
        Tensor::weight_in_memory(&self.module, [values.len() / self.width, self.width], &values)
    }

    /// What the codes stand for, `[rows, width]`.
    pub fn values(&self) -> Vec<f32> {
        let group = self.scheme.group_of(self.width);
        let per_row = self.width.div_ceil(group);
        let value = |(at, code): (usize, &u8)| {
            let grid = self.chosen.grids[at / self.width * per_row + at % self.width / group];
            grid.value(f32::from(*code))
        };
        self.chosen.codes.iter().enumerate().map(value).collect()
    }
}
