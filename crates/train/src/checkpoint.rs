//! The state of an unfinished training, with which a later run gives the same bits as one without interruption.
//!
//! ```text
//! resume/
//!   step-000040/                 complete when state.json is there, which is written last and removed first
//!     state.safetensors          every parameter, its two moments, and the best parameters so far
//!     state.json                 the rest: `LoopState`
//! ```
//!
//! The schedule, the order of the data and every random number follow from the step, so they are not saved.

use crate::error::TrainError;
use crate::plateau::Plateau;
use crate::selection::Standing;
use crate::trainer::Trainer;
use candle_core::Tensor;
use olive_core::{Result, error::IoContext, file};
use olive_model::Checkpoint;
use olive_model::safetensors_file::{Entry, Writer};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// State of the training loop, without tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(default)]
pub(crate) struct LoopState {
    /// Optimiser steps done.
    pub step: usize,
    pub first_loss: Option<f64>,
    /// Losses since the last logged step.
    pub losses_since_log: Vec<f64>,
    /// Loss of the evaluation before the first step, if there was one.
    pub first_eval: Option<f64>,
    pub standing: Standing,
    pub plateau: Plateau,
    /// Losses of the evaluations for pauses, by the step after which the pause was asked for.
    pub pauses: Vec<(usize, f64)>,
}

/// A folder of checkpoints, of which the newest complete one is resumed.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    dir: PathBuf,
}

const STATE: &str = "state.json";
const TENSORS: &str = "state.safetensors";
const MOMENTS: [&str; 2] = [".m", ".v"];
const BEST: &str = ".best";

impl Checkpoints {
    /// Name of the folder within a pass's own.
    pub const NAME: &'static str = "resume";

    /// The checkpoints in `dir`, which is made if it is not there.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(dir: PathBuf) -> Result<Checkpoints> {
        std::fs::create_dir_all(&dir).at("create", &dir)?;
        Ok(Checkpoints { dir })
    }

    /// Saves the state after the last finished step, then drops older ones.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub(crate) fn save(&self, trainer: &Trainer, state: &LoopState) -> Result<()> {
        let dir = self.dir.join(format!("step-{:06}", state.step));
        if dir.join(STATE).is_file() {
            return Ok(());
        }
        std::fs::create_dir_all(&dir).at("create", &dir)?;
        write_tensors(trainer, &dir.join(TENSORS))?;
        let temporary = dir.join("state.json.partial");
        let text = serde_json::to_string_pretty(state).expect("plain data");
        std::fs::write(&temporary, text).at("write", &temporary)?;
        std::fs::File::open(&temporary).and_then(|f| f.sync_all()).at("sync", &temporary)?;
        std::fs::rename(&temporary, dir.join(STATE)).at("publish", &dir)?;
        for (step, path) in self.all()? {
            if step != state.step {
                remove_state(&path)?;
            }
        }
        Ok(())
    }

    /// Brings the trainer into the newest complete state; `None` when there is none.
    ///
    /// # Errors
    /// A state that cannot be read or is of another adapter.
    pub(crate) fn restore(&self, trainer: &mut Trainer) -> Result<Option<LoopState>> {
        let newest = self.all()?.into_iter().filter(|(_, path)| path.join(STATE).is_file()).max();
        let Some((_, dir)) = newest else { return Ok(None) };
        let damaged = |reason: String| TrainError::Resume { path: dir.clone(), reason };
        let path = dir.join(STATE);
        let text = std::fs::read_to_string(&path).at("read", &path)?;
        let state: LoopState = serde_json::from_str(&text).map_err(|e| damaged(e.to_string()))?;
        let saved = Checkpoint::open_file(&dir.join(TENSORS))?;
        let device = trainer.decoder.device().clone();
        let stored = |name: &str, like: &Tensor| -> Result<Tensor> {
            let values = saved.tensor_of(name, like.dims())?.to_f32()?;
            Ok(Tensor::from_vec(values, like.shape().clone(), &device)?)
        };
        let mut best = Vec::new();
        let has_best = saved.tensors().any(|tensor| tensor.name.ends_with(BEST));
        let Trainer { decoder, optimiser, .. } = trainer;
        for (parameter, moments) in decoder.parameters_mut(None).zip(&mut optimiser.moments) {
            let [m, v] =
                MOMENTS.map(|suffix| stored(&format!("{}{suffix}", parameter.name), parameter.value));
            *moments = [m?, v?];
            if has_best {
                best.push(stored(&format!("{}{BEST}", parameter.name), parameter.value)?);
            }
            *parameter.value = stored(&parameter.name, parameter.value)?;
        }
        decoder.refresh()?;
        trainer.best = has_best.then_some(best);
        trainer.optimiser.steps = state.step;
        trainer.first_loss = state.first_loss;
        Ok(Some(state))
    }

    /// Removes the folder.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn clear(self) -> Result<()> {
        self.all()?.iter().try_for_each(|(_, path)| remove_state(path))?;
        std::fs::remove_dir_all(&self.dir).at("remove", &self.dir)
    }

    fn all(&self) -> Result<Vec<(usize, PathBuf)>> {
        let mut all = Vec::new();
        for entry in file::entries(&self.dir).at("read", &self.dir)? {
            let path = entry.at("read", &self.dir)?.path();
            let step = path.file_name().and_then(|n| n.to_str()?.strip_prefix("step-")?.parse().ok());
            all.extend(step.map(|step| (step, path)));
        }
        Ok(all)
    }
}

/// A process that is killed on the way leaves a state that does not look complete.
fn remove_state(dir: &Path) -> Result<()> {
    let state = dir.join(STATE);
    if state.is_file() {
        std::fs::remove_file(&state).at("remove", &state)?;
    }
    std::fs::remove_dir_all(dir).at("remove", dir)
}

/// Writes one tensor at a time, so that at most one of them is in memory twice.
fn write_tensors(trainer: &Trainer, path: &Path) -> Result<()> {
    let entry = |(name, tensor): (String, &Tensor)| Entry {
        name,
        dtype: "F32",
        shape: tensor.dims().to_vec(),
        bytes: 4 * tensor.elem_count(),
    };
    let entries: Vec<Entry> = named_tensors(trainer).map(entry).collect();
    let mut writer = Writer::create(path, &entries)?;
    for (_, tensor) in named_tensors(trainer) {
        writer.write(bytemuck::cast_slice(&tensor.flatten_all()?.to_vec1::<f32>()?))?;
    }
    writer.finish()
}

/// Everything that is saved as a tensor.
fn named_tensors(trainer: &Trainer) -> impl Iterator<Item = (String, &Tensor)> {
    let parameters = trainer.decoder.parameters().zip(&trainer.optimiser.moments);
    let now = parameters.flat_map(|((name, value), [m, v])| {
        let [name_m, name_v] = MOMENTS.map(|suffix| format!("{name}{suffix}"));
        [(name, value), (name_m, m), (name_v, v)]
    });
    let best = trainer
        .best
        .iter()
        .flat_map(|best| trainer.decoder.parameters().zip(best).map(|((name, _), best)| (name + BEST, best)));
    now.chain(best)
}
