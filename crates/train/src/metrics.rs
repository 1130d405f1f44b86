//! `metrics.jsonl`: one line per optimiser step and per evaluation; the same numbers in `runs/` for TensorBoard.

use crate::tensorboard::EventFile;
use olive_core::{Result, error::IoContext};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// One line of `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum MetricsRow {
    Train {
        step: usize,
        epoch: f64,
        loss: f64,
        learning_rate: f64,
        grad_norm: f64,
        tokens: usize,
        seconds: f64,
    },
    Eval {
        step: usize,
        loss: f64,
        tokens: usize,
        seconds: f64,
    },
}

impl MetricsRow {
    fn step(&self) -> usize {
        match self {
            MetricsRow::Train { step, .. } | MetricsRow::Eval { step, .. } => *step,
        }
    }

    pub(crate) fn loss(&self) -> f64 {
        match self {
            MetricsRow::Train { loss, .. } | MetricsRow::Eval { loss, .. } => *loss,
        }
    }

    pub(crate) fn is_evaluation_after(&self, after: usize) -> bool {
        matches!(self, MetricsRow::Eval { step, .. } if *step == after)
    }
}

/// The open files.
pub struct Metrics {
    path: PathBuf,
    file: File,
    board: EventFile,
}

impl Metrics {
    pub const NAME: &'static str = "metrics.jsonl";
    /// Folder of the event files.
    pub const RUNS: &'static str = "runs";

    /// Begins the files in `dir` with the `earlier` rows, those of an interrupted run up to its checkpoint.
    ///
    /// # Errors
    /// The files cannot be written.
    pub(crate) fn create(dir: &Path, earlier: &[MetricsRow]) -> Result<Metrics> {
        let (path, runs) = (dir.join(Self::NAME), dir.join(Self::RUNS));
        let file = File::create(&path).at("create", &path)?;
        if runs.is_dir() {
            std::fs::remove_dir_all(&runs).at("remove", &runs)?;
        }
        let mut metrics = Metrics { path, file, board: EventFile::create(&runs)? };
        earlier.iter().try_for_each(|record| metrics.write(record))?;
        Ok(metrics)
    }

    /// # Errors
    /// The file cannot be written.
    pub(crate) fn write(&mut self, record: &MetricsRow) -> Result<()> {
        let line = serde_json::to_string(record).expect("plain data") + "\n";
        self.file.write_all(line.as_bytes()).at("write", &self.path)?;
        match record {
            MetricsRow::Train { step, epoch, loss, learning_rate, grad_norm, .. } => self.board.scalars(
                *step,
                &[
                    ("train/loss", *loss),
                    ("train/learning_rate", *learning_rate),
                    ("train/grad_norm", *grad_norm),
                    ("train/epoch", *epoch),
                ],
            ),
            MetricsRow::Eval { step, loss, .. } => self.board.scalars(*step, &[("eval/loss", *loss)]),
        }
    }

    /// Rows of a file up to step `last`; a line that a crash left incomplete is skipped.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn read(path: &Path, last: usize) -> Result<Vec<MetricsRow>> {
        let text = std::fs::read_to_string(path).at("read", path)?;
        let records = text.lines().filter_map(|line| serde_json::from_str::<MetricsRow>(line).ok());
        Ok(records.filter(|record| record.step() <= last).collect())
    }
}
