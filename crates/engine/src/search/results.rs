//! The best results of a search on their way into the output folder.

use super::FlowSearch;
use super::documents::{footprint, run_history, search_results};
use super::trial::{Found, Made};
use crate::error::EngineError;
use crate::evaluated::EvaluationOutcome;
use crate::evaluation::documents;
use crate::model_document::model_id;
use crate::output::{self, Destination, Documents};
use crate::packaging::{Packed, archives};
use olive_core::event::{Event, EventSink};
use olive_core::{Result, shown};
use std::path::{Path, PathBuf};

/// Where the best results lie, each in a folder of its own, if several were asked for.
const CANDIDATES: &str = "candidates";

impl FlowSearch<'_> {
    /// Writes the best result into the output folder, and as many of the best as the strategy asks for beside it.
    pub(super) fn write(&self, found: &Found) -> Result<bool> {
        let ranked = ranked(found);
        let best = ranked[0];
        let mut evaluations = Vec::new();
        (self.note)(&mut |flow| {
            flow.steps.clone_from(&best.steps);
            flow.evaluations.push(best.evaluation.clone());
            evaluations.clone_from(&flow.evaluations);
        });
        let mut beside = documents(&evaluations);
        beside.push(footprint(found, self.runner)?);
        beside.push(run_history(found, self.runner)?);
        beside.push(search_results(&found.outcome));
        let wanted = self.search.strategy.output_model_num.unwrap_or(1);
        let packed: Vec<Packed> = ranked.iter().take(wanted).map(|made| packed(made)).collect();
        beside.extend(archives(self.config, self.runner, &packed, &evaluations)?);
        let mut written = self.publish(best, self.output_dir, Documents::Are(beside))?;
        let folders = self.candidates(&ranked);
        for (made, folder) in ranked.iter().zip(&folders) {
            self.destination(made, folder).prepare()?;
            let beside = documents(std::slice::from_ref::<EvaluationOutcome>(&made.evaluation));
            written |= self.publish(made, folder, Documents::Are(beside))?;
        }
        self.withdraw_others(&folders)?;
        Ok(written)
    }

    fn publish(&self, made: &Made, dir: &Path, beside: Documents) -> Result<bool> {
        // Without a record, what lies beside a result is not kept either.
        let beside = if self.runner.record.is_some() { beside } else { Documents::AsTheyAre };
        self.runner.publish(made.prepared.keyed(), made.result(), dir, beside)
    }

    /// The folders of the best results, as many as are asked for.
    fn candidates(&self, ranked: &[&Made]) -> Vec<PathBuf> {
        let wanted = self.search.strategy.output_model_num.unwrap_or(0);
        if ranked.len() < wanted {
            let message = format!("{wanted} models are asked for, and there are {} candidates", ranked.len());
            self.runner.environment.events.emit(Event::Warning { message });
        }
        let name = |(index, made): (usize, &&Made)| {
            let id = model_id(&made.prepared.keys[made.prepared.keys.len() - 1].key);
            self.output_dir.join(CANDIDATES).join(format!("{}_{id}", index + 1))
        };
        ranked.iter().take(wanted).enumerate().map(name).collect()
    }

    fn destination<'a>(&'a self, made: &'a Made, dir: &'a Path) -> Destination<'a> {
        Destination {
            output_dir: dir,
            config: &self.config.path,
            cache_dir: &self.config.engine.cache_dir,
            home: self.runner.environment.home.as_deref(),
            foreign: self.runner.environment.foreign_files,
            last: made.prepared.flow.steps.last(),
        }
    }

    /// Removes the candidates of earlier searches.
    fn withdraw_others(&self, folders: &[PathBuf]) -> Result<()> {
        let all = self.output_dir.join(CANDIDATES);
        if all.is_symlink() {
            return Err(EngineError::OutputLink { path: all }.into());
        }
        let environment = self.runner.environment;
        for entry in std::fs::read_dir(&all).into_iter().flatten().flatten() {
            let path = entry.path();
            if !folders.contains(&path) && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                output::withdraw(&path, &environment.cancel, &*environment.events)?;
                tracing::debug!("{} is of an earlier search", shown(&path));
            }
        }
        // Fails where something is left.
        let _ = std::fs::remove_dir(&all);
        Ok(())
    }
}

fn packed(made: &Made) -> Packed<'_> {
    Packed { keyed: made.prepared.keyed(), result: made.result(), evaluation: Some(&made.evaluation) }
}

/// What the candidates gave, the best first.
fn ranked(found: &Found) -> Vec<&Made> {
    let mut ranked: Vec<(usize, &Made)> = std::iter::zip(&found.outcome.trials, &found.made)
        .filter_map(|(trial, made)| trial.rank.zip(made.as_ref()))
        .collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, made)| made).collect()
}
