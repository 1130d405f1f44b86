//! Adapters that are written during the training: `checkpoint-N/`, each complete and loadable by itself.

use crate::interval::steps_between;
use crate::selection::Best;
use crate::trainer::Trainer;
use olive_config::canonical::{SaveStrategy, Saving};
use olive_core::{Result, error::IoContext, file};
use olive_model::{AdapterConfig, adapter_config};
use std::path::{Path, PathBuf};

/// How the names of adapters end that are on their way in or out.
const PARTIAL: &str = "partial";
const REMOVED: &str = "removed";

/// Where and when adapters are saved, and how many are kept.
pub struct Saver<'a> {
    pub saving: &'a Saving,
    pub config: &'a AdapterConfig,
    pub dir: PathBuf,
    /// Whether the limit spares the adapter of the best evaluation.
    pub keeps_best: bool,
}

/// A step that was done, as far as saving depends on it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FinishedStep {
    /// Steps done, this one included, of how many.
    pub step: usize,
    pub total: usize,
    /// The step is the last of its epoch.
    pub ends_epoch: bool,
    /// Training ends here.
    pub last: bool,
    /// The evaluation after it was the best so far.
    pub new_best: bool,
}

impl Saver<'_> {
    /// As in transformers, `steps` also saves after the last step.
    pub(crate) fn is_due(&self, after: &FinishedStep) -> bool {
        match self.saving.strategy {
            SaveStrategy::No => false,
            SaveStrategy::Steps => {
                after.last || after.step.is_multiple_of(steps_between(self.saving.steps, after.total))
            }
            SaveStrategy::Epoch => after.ends_epoch || after.last,
            SaveStrategy::Best => after.new_best,
        }
    }

    /// Writes the adapter as it is now, and removes older ones beyond `total_limit`.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn save(&self, trainer: &Trainer, best: Option<Best>) -> Result<()> {
        let step = trainer.steps();
        let adapter = trainer.decoder.to_adapter(self.config.clone())?;
        std::fs::create_dir_all(&self.dir).at("create", &self.dir)?;
        // Renamed once it is complete, so that a crash leaves no partial adapter under the final name.
        let partial = self.on_its_way(step, PARTIAL);
        self.remove_leftovers(step)?;
        adapter.save(&partial)?;
        let target = self.path(step);
        self.remove_adapter(step)?;
        std::fs::rename(&partial, &target).at("publish", &target)?;
        self.prune(step, best.filter(|_| self.keeps_best))
    }

    fn path(&self, step: usize) -> PathBuf {
        self.dir.join(format!("checkpoint-{step}"))
    }

    fn on_its_way(&self, step: usize, end: &str) -> PathBuf {
        self.dir.join(format!(".checkpoint-{step}.{end}"))
    }

    /// transformers' rule: the oldest go first, but neither the newest nor the best.
    fn prune(&self, newest: usize, best: Option<Best>) -> Result<()> {
        let Some(limit) = self.saving.total_limit else { return Ok(()) };
        let mut steps = Vec::new();
        for entry in file::entries(&self.dir).at("read", &self.dir)? {
            let name = entry.at("read", &self.dir)?.file_name();
            steps.extend(name.to_str().and_then(|n| n.strip_prefix("checkpoint-")?.parse::<usize>().ok()));
        }
        // Later steps are those of an earlier training in the same `output_dir`, which are left alone.
        steps.retain(|step| *step <= newest);
        steps.sort_unstable();
        let best = best.map(|best| best.step).filter(|best| steps.contains(best));
        let limit = limit.max(if best.is_some_and(|best| best != newest) { 2 } else { 1 });
        let surplus = steps.len().saturating_sub(limit);
        for step in steps.iter().filter(|step| **step != newest && Some(**step) != best).take(surplus) {
            self.remove_adapter(*step)?;
        }
        Ok(())
    }

    /// Removes what a killed training left on its way in or out, up to this step.
    fn remove_leftovers(&self, newest: usize) -> Result<()> {
        for entry in file::entries(&self.dir).at("read", &self.dir)? {
            let path = entry.at("read", &self.dir)?.path();
            let step = path.file_name().and_then(|name| {
                let (step, end) = name.to_str()?.strip_prefix(".checkpoint-")?.split_once('.')?;
                step.parse::<usize>().ok().filter(|_| [PARTIAL, REMOVED].contains(&end))
            });
            if step.is_some_and(|step| step <= newest) {
                remove(&path)?;
            }
        }
        Ok(())
    }

    /// Removes a saved adapter, by way of another name, as half of one would be in the way. A folder of that name without
    /// an adapter is somebody's, and stays; of a link only the link goes.
    fn remove_adapter(&self, step: usize) -> Result<()> {
        let path = self.path(step);
        if path.is_symlink() {
            return remove(&path);
        }
        if !path.join(adapter_config::CONFIG).is_file() {
            return Ok(());
        }
        let aside = self.on_its_way(step, REMOVED);
        std::fs::rename(&path, &aside).at("remove", &path)?;
        remove(&aside)
    }
}

fn remove(path: &Path) -> Result<()> {
    let is_folder = path.symlink_metadata().is_ok_and(|meta| meta.is_dir());
    let removed = if is_folder { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    removed.at("remove", path)
}
