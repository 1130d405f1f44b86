//! What the quantisers of checkpoints are asked: bits, groups, modules that differ.

use super::pass::{DataUse, MoveData, Pass, RunContext};
use olive_config::option::{Kind, Misfit, MisfitPlace, Special};
use olive_config::{DataConfig, Fields, Findings, OptionValue, PassContext, ResolvedOption, Setting, Values};
use olive_core::Result;
use olive_core::event::EventSink;
use olive_core::handle::{ModelHandle, ModelKind};
use olive_kernels::quant::{FloatType, Scheme};
use olive_model::{Checkpoint, ModelFolder};
use olive_model::{ModuleSettings, NewCodes};
use olive_quantise::calibration_batch::Together;
use olive_quantise::plan::Override;
use olive_quantise::{CalibrationBatch, Note, Plan, QuantiseError, Wanted};
use serde::Serialize;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Neighbours in a row that share a scale: −1, or a power of two from 16 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct GroupSize(pub i64);

impl OptionValue for GroupSize {
    const KIND: Kind = Kind::IntChoice(&[-1, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096]);

    fn read(setting: &Setting) -> Option<GroupSize> {
        setting.json.as_i64().map(GroupSize)
    }
}

pub(crate) const BITS: Kind = Kind::IntChoice(&[2, 4, 8]);

/// Settings of single modules, by their full names.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ModuleOverrides(pub BTreeMap<String, Override>);

static OVERRIDES: Special = Special {
    value: "an object",
    schema: || {
        json!({
            "type": ["object", "null"],
            "additionalProperties": {
                "type": "object",
                "properties": {
                    "bits": {"enum": [2, 4, 8]},
                    "group_size": {"type": "integer"},
                    "symmetric": {"type": "boolean"}
                },
                "additionalProperties": false
            }
        })
    },
    check: |node| overrides(&node.to_json()).map(drop),
};

impl OptionValue for ModuleOverrides {
    const KIND: Kind = Kind::Special(&OVERRIDES);

    fn read(setting: &Setting) -> Option<ModuleOverrides> {
        overrides(&setting.json).ok().map(ModuleOverrides)
    }
}

fn overrides(json: &Json) -> Result<BTreeMap<String, Override>, Misfit> {
    if json.is_null() {
        return Ok(BTreeMap::new());
    }
    serde_json::from_value(json.clone()).map_err(|e| Misfit {
        message: format!("expected settings by module: {e}"),
        hint: Some(
            "for example {\"lm_head\": {\"bits\": 8, \"group_size\": 32, \"symmetric\": false}}".into(),
        ),
        place: MisfitPlace::Value,
    })
}

/// `bits`, `group_size` and `sym`.
pub(crate) fn settings(bits: u8, group_size: GroupSize, sym: bool) -> ModuleSettings {
    let group = usize::try_from(group_size.0).ok().filter(|size| *size > 0);
    ModuleSettings { bits, symmetric: sym, group }
}

/// The kind of model that a quantiser of checkpoints makes of another.
pub(crate) fn output(input: ModelKind) -> Result<ModelKind, String> {
    match input {
        ModelKind::Hf | ModelKind::HfWithNote => Ok(ModelKind::Hf),
        ModelKind::HfWithAdapter => {
            Err("the adapter would be left out; MergeAdapterWeights puts it into the weights first".into())
        }
        ModelKind::Onnx => {
            Err("it quantises the Hugging Face checkpoint, and the model is an ONNX model already".into())
        }
    }
}

/// Attaches the data that `data_config` names; gives what the plan shows of all options.
pub(crate) fn attach_data(
    fields: &Fields<'_>,
    values: &mut Values,
    context: &PassContext<'_>,
    findings: &mut Findings,
) -> Vec<ResolvedOption> {
    let data_shown = context.attach_data(fields, values, "data_config", findings);
    let mut shown = values.resolved("");
    shown.retain(|option| option.name != "data_config");
    shown.extend(data_shown);
    shown
}

/// The pass with its data where that lies now; `None` if it has none. `data`: where the pass has it.
///
/// # Errors
/// Those of `moved`.
pub(crate) fn with_moved_data<P: Pass + Clone + 'static>(
    pass: &P,
    data: fn(&mut P) -> &mut Option<DataConfig>,
    moved: &mut MoveData,
) -> Result<Option<Arc<dyn Pass>>> {
    let mut pass = pass.clone();
    let Some(data) = data(&mut pass) else { return Ok(None) };
    moved(data)?;
    Ok(Some(Arc::new(pass)))
}

/// What a quantiser works on.
pub(crate) struct Work {
    pub(crate) folder: ModelFolder,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) note: Option<Note>,
}

impl Work {
    /// # Errors
    /// The model or its note cannot be read.
    pub(crate) fn on(input: &ModelHandle) -> Result<Work> {
        let folder = ModelFolder::of(input)?;
        let checkpoint = folder.checkpoint()?;
        Ok(Work { checkpoint, note: Note::read(input.dir())?, folder })
    }

    /// Finds what is wrong with the data for this model.
    ///
    /// # Errors
    /// A column that does not exist, rows that cannot be read.
    pub(crate) fn check_data(&self, uses: &[DataUse<'_>]) -> Result<()> {
        uses.iter().try_for_each(|DataUse { config, .. }| {
            olive_data::check_model(&config.pre_process, &self.folder)?;
            olive_data::check_rows(config, Some(&self.folder))
        })
    }

    /// The data, as it flows through the model.
    ///
    /// # Errors
    /// Data that cannot be read, or holds no tokens.
    pub(crate) fn batches(
        &self,
        data: &DataConfig,
        together: Together,
        context: &RunContext,
    ) -> Result<Vec<CalibrationBatch>> {
        let dataset = olive_data::prepare(data, &self.folder, context.events, context.cancel)?;
        let batches = CalibrationBatch::of(&dataset, together);
        if batches.is_empty() {
            return Err(QuantiseError::NoTokens { rows: dataset.rows }.into());
        }
        Ok(batches)
    }

    /// How a matrix that is to be quantised becomes codes.
    pub(crate) fn scheme(&self, new: &NewCodes) -> Option<Scheme> {
        Some(new.settings.scheme(FloatType::of(self.checkpoint.get(&new.tensor)?.dtype)?))
    }

    /// # Errors
    /// Settings that do not fit the model.
    pub(crate) fn plan(&self, wanted: &Wanted, events: &dyn EventSink) -> Result<Plan> {
        Plan::new(&self.folder, &self.checkpoint, wanted, self.note.as_ref(), events)
    }
}
