//! The pass `SelectiveMixedPrecision`: which weights get more bits from the quantisers after it. It writes a note, no weights.

use super::code_options::{BITS, GroupSize, Work, attach_data, settings, with_moved_data};
use super::data_key;
use super::pass::{DataPurpose, DataUse, MoveData, Pass, RunContext, check_data};
use crate::cache::KeyHasher;
use olive_config::option::{Block, SHARE};
use olive_config::{
    ConfiguredPass, DataConfig, Fields, Findings, PASS, PassContext, PassDefinition, PassOptions, PassRead,
    Values, choice, options,
};
use olive_core::Result;
use olive_core::device::Device;
use olive_core::event::Event;
use olive_core::handle::{ModelHandle, ModelKind};
use olive_decoder::Decoder;
use olive_kernels::quant::{FloatType, Scheme};
use olive_model::ModelFolder;
use olive_quantise::calibration_batch::Together;
use olive_quantise::mixed_precision::{ByPlace, WeightMeasure, by_place};
use olive_quantise::plan::Override;
use olive_quantise::{
    Note, QuantiseError, Selection, Sensitivity, Unit, divergence_scores, scores_of_weights, units,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

options! {
    #[derive(Debug, Clone, Serialize)]
    pub struct SelectiveMixedPrecisionOptions {
        SELECTION {
            /// How the sensitive weights are found: by their place (`k_quant_…`), by what rounding does to them (`snr`, `iqe`
            /// and how much more bits would help, `…_relative`), or by what it does to the predictions (`kld_gradient`).
            pub algorithm: Algorithm, required(), searchable();
            /// Bits of most weights.
            pub bits: u8 = BITS, default("4"), searchable();
            /// Neighbours in a row that share a scale: a power of two from 16 on; -1 is the whole row.
            pub group_size: GroupSize, default("128"), searchable();
            /// No zero points.
            pub sym: bool, default("false");
            /// Bits of the sensitive ones.
            pub high_bits: u8 = BITS, default("8"), searchable();
            /// Their group size; null is `group_size`.
            pub high_group_size: Option<GroupSize>;
            /// Their `sym`; null is `sym`.
            pub high_sym: Option<bool>;
            /// Share of the parameters that are not sensitive; needed but for `k_quant_…`.
            pub ratio: Option<f64> = SHARE, searchable();
            /// Dataset for `kld_gradient`: a name in `data_configs`.
            pub data_config: Option<DataConfig>;
            /// How much memory Olive takes for `kld_gradient`.
            - "kld_memory_mode" = olive_config::option::TEXT, quiet();
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    KQuantDown,
    KQuantMixed,
    KQuantLast,
    Snr,
    SnrRelative,
    Iqe,
    IqeRelative,
    KldGradient,
}

choice!(Algorithm: "k_quant_down", "k_quant_mixed", "k_quant_last", "snr", "snr_relative", "iqe", "iqe_relative", "kld_gradient");

static BLOCK: Block = Block {
    name: "SelectiveMixedPrecision",
    doc: "Finds the weights that the quantisers after it give more bits.",
    wrapper: Some("config"),
    outer: PASS,
    parts: &[SELECTION],
    open: None,
};

pub static SELECTIVE_MIXED_PRECISION: PassDefinition<dyn Pass> = PassDefinition {
    block: &BLOCK,
    page: "quantise.md",
    example: "\"mixed\": {\"type\": \"SelectiveMixedPrecision\", \"algorithm\": \"kld_gradient\", \"ratio\": 0.65, …}",
    gives: ModelKind::HfWithNote,
    read,
};

fn read(
    fields: &Fields<'_>,
    mut values: Values,
    context: &PassContext<'_>,
    findings: &mut Findings,
) -> Option<PassRead<dyn Pass>> {
    let shown = attach_data(fields, &mut values, context, findings);
    let options = SelectiveMixedPrecisionOptions::read(&values)?;
    let possible = options.ratio.is_some_and(|ratio| ratio > 0.0 && ratio < 1.0);
    if options.algorithm.place().is_none() && !possible {
        let message = "this algorithm needs the share of the parameters that stay low, between 0 and 1";
        values.error("ratio", message, Some("for example `\"ratio\": 0.65`".into()), findings);
    }
    Some((Arc::new(SelectiveMixedPrecisionPass { options }), shown))
}

impl Algorithm {
    fn place(self) -> Option<ByPlace> {
        match self {
            Algorithm::KQuantDown => Some(ByPlace::Down),
            Algorithm::KQuantMixed => Some(ByPlace::Mixed),
            Algorithm::KQuantLast => Some(ByPlace::HeadOnly),
            _ => None,
        }
    }

    fn measure(self) -> Option<WeightMeasure> {
        match self {
            Algorithm::Snr => Some(WeightMeasure::Snr),
            Algorithm::SnrRelative => Some(WeightMeasure::SnrRelative),
            Algorithm::Iqe => Some(WeightMeasure::Iqe),
            Algorithm::IqeRelative => Some(WeightMeasure::IqeRelative),
            _ => None,
        }
    }
}

#[derive(Debug, Clone)]
pub struct SelectiveMixedPrecisionPass {
    pub options: SelectiveMixedPrecisionOptions,
}

impl ConfiguredPass for SelectiveMixedPrecisionPass {
    fn name(&self) -> &'static str {
        "SelectiveMixedPrecision"
    }

    fn options(&self) -> &dyn PassOptions {
        &self.options
    }

    fn output(&self, input: ModelKind) -> Result<ModelKind, String> {
        match input {
            ModelKind::Hf => Ok(ModelKind::HfWithNote),
            ModelKind::HfWithNote => Err("there is a note of which weights need more bits already".into()),
            ModelKind::HfWithAdapter => {
                Err("the adapter would be left out; MergeAdapterWeights puts it into the weights first"
                    .into())
            }
            ModelKind::Onnx => Err(
                "it is for quantisers of a Hugging Face checkpoint, and the model is an ONNX model already"
                    .into(),
            ),
        }
    }
}

impl SelectiveMixedPrecisionPass {
    /// Settings of most weights, and of the sensitive ones.
    fn overrides(&self) -> [Override; 2] {
        let of = |bits: u8, group: GroupSize, sym: bool| Override {
            bits: Some(bits),
            group_size: Some(group.0),
            symmetric: Some(sym),
        };
        let SelectiveMixedPrecisionOptions {
            bits,
            group_size,
            sym,
            high_bits,
            high_group_size,
            high_sym,
            ..
        } = &self.options;
        let high = of(*high_bits, high_group_size.unwrap_or(*group_size), high_sym.unwrap_or(*sym));
        [of(*bits, *group_size, *sym), high]
    }

    fn schemes(&self, float: FloatType) -> [Scheme; 2] {
        self.overrides().map(|own| {
            let group = GroupSize(own.group_size.unwrap_or(-1));
            settings(own.bits.unwrap_or(4), group, own.symmetric.unwrap_or(false)).scheme(float)
        })
    }

    fn scores(&self, work: &Work, units: &[Unit], head: &str, context: &RunContext) -> Result<Vec<f64>> {
        let head = work.checkpoint.tensor(head)?;
        let schemes = self.schemes(FloatType::of(head.dtype).unwrap_or(FloatType::F32));
        let (cancel, events) = (context.cancel, context.events);
        if let Some(measure) = self.options.algorithm.measure() {
            return scores_of_weights(&work.checkpoint, units, measure, schemes, cancel, events);
        }
        let data = self.data()?;
        let batches = work.batches(data, Together::OfOneLength, context)?;
        let load = || Decoder::load(&work.folder, None, None, &Device::Cpu);
        let [low, high] = schemes;
        let sensitivity =
            Sensitivity { float: &load()?, checkpoint: &work.checkpoint, low, high, cancel, events };
        let of_modules: BTreeMap<String, f64> =
            divergence_scores(&sensitivity, load()?, &batches)?.into_iter().collect();
        let sum =
            |unit: &Unit| unit.modules.iter().filter_map(|(module, _)| of_modules.get(module)).sum::<f64>();
        Ok(units.iter().map(|unit| -sum(unit) / (unit.parameters as f64 / 1e6)).collect())
    }

    fn data(&self) -> Result<&DataConfig, QuantiseError> {
        let missing = QuantiseError::DataMissing { pass: "SelectiveMixedPrecision's kld_gradient" };
        self.options.data_config.as_ref().ok_or(missing)
    }

    fn reads_data(&self) -> bool {
        self.options.algorithm == Algorithm::KldGradient
    }
}

impl Pass for SelectiveMixedPrecisionPass {
    fn version(&self) -> u32 {
        1
    }

    fn key(&self, hasher: &mut KeyHasher) -> Result<()> {
        let mut options = self.options.clone();
        options.data_config = options.data_config.filter(|_| self.reads_data());
        if let Some(data) = &mut options.data_config {
            data_key::feed("calibration", data, hasher)?;
        }
        hasher.field("options", &options);
        Ok(())
    }

    fn check(&self) -> Result<()> {
        if self.reads_data() {
            self.data()?;
        }
        check_data(&Pass::data(self))
    }

    fn check_input(&self, model: Option<&ModelHandle>) -> Result<()> {
        let Some(model) = model else { return Ok(()) };
        let work = Work::on(model)?;
        work.check_data(&Pass::data(self))?;
        work.folder.spec().map(drop)
    }

    fn run(&self, input: &ModelHandle, dir: &Path, context: &RunContext) -> Result<ModelHandle> {
        let work = Work::on(input)?;
        if work.folder.quantisation()?.is_some() {
            return Err(QuantiseError::Quantised { pass: "SelectiveMixedPrecision" }.into());
        }
        let spec = work.folder.spec()?;
        let SelectiveMixedPrecisionOptions { algorithm, bits, high_bits, ratio, .. } = self.options;
        let note: Note = match algorithm.place() {
            Some(place) => by_place(&spec, place, bits, high_bits),
            None => {
                let units = units(&spec);
                let scores = self.scores(&work, &units, spec.head_name(), context)?;
                let [low, high] = self.overrides();
                let selection = Selection { low, high, ratio: ratio.unwrap_or_default() };
                selection.note(&units, &scores, spec.tied)
            }
        };
        let message = format!("{} matrices get {high_bits} bits, the others {bits}", note.overrides.len());
        context.events.emit(Event::Info { message });
        note.write(dir)?;
        Ok(ModelHandle::HfWithNote { base: input.base().to_owned(), note: dir.to_owned() })
    }

    fn writes(&self, name: &str) -> bool {
        name == ModelFolder::NOTE
    }

    fn data(&self) -> Vec<DataUse<'_>> {
        let data = self.options.data_config.iter().filter(|_| self.reads_data()).flat_map(DataConfig::parts);
        data.map(|config| DataUse { purpose: DataPurpose::Calibration, config }).collect()
    }

    fn with_data(&self, moved: &mut MoveData) -> Result<Option<Arc<dyn Pass>>> {
        with_moved_data(self, |pass| &mut pass.options.data_config, moved)
    }
}
