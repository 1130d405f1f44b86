//! `metrics.jsonl`: one line per optimiser step and per evaluation; the same numbers in `runs/` for TensorBoard and, where that is
//! asked for, in `wandb/` for Weights & Biases.

use crate::tensorboard::EventFile;
use crate::wandb::{OfflineRun, WandbRun};
use olive_core::{Result, error::IoContext};
use serde::{Deserialize, Deserializer, Serialize};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// One line of `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum MetricsRow {
    Train {
        /// Optimiser steps so far.
        step: usize,
        epoch: f64,
        #[serde(deserialize_with = "finite_or_nan")]
        loss: f64,
        learning_rate: f64,
        #[serde(deserialize_with = "finite_or_nan")]
        grad_norm: f64,
        /// Of this step.
        tokens: usize,
        seconds: f64,
    },
    Eval {
        step: usize,
        #[serde(deserialize_with = "finite_or_nan")]
        loss: f64,
        tokens: usize,
        seconds: f64,
    },
}

/// JSON has no infinities and no NaN: they are written as null.
///
/// # Errors
/// Neither a number nor null.
pub fn finite_or_nan<'de, D: Deserializer<'de>>(value: D) -> Result<f64, D::Error> {
    Option::deserialize(value).map(|number| number.unwrap_or(f64::NAN))
}

impl MetricsRow {
    /// The rows of a file's text; a line that a crash left incomplete is skipped.
    pub fn all(text: &str) -> impl Iterator<Item = MetricsRow> {
        text.lines().filter_map(|line| serde_json::from_str(line).ok())
    }

    fn step(&self) -> usize {
        match self {
            MetricsRow::Train { step, .. } | MetricsRow::Eval { step, .. } => *step,
        }
    }

    /// The numbers that are drawn, by the names that transformers has for them.
    fn scalars(&self) -> Vec<(&'static str, f64)> {
        match *self {
            MetricsRow::Train { epoch, loss, learning_rate, grad_norm, .. } => vec![
                ("train/loss", loss),
                ("train/learning_rate", learning_rate),
                ("train/grad_norm", grad_norm),
                ("train/epoch", epoch),
            ],
            MetricsRow::Eval { loss, .. } => vec![("eval/loss", loss)],
        }
    }

    fn line(&self) -> String {
        serde_json::to_string(self).expect("plain data") + "\n"
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
    wandb: Option<OfflineRun>,
}

impl Metrics {
    pub const NAME: &'static str = "metrics.jsonl";
    /// Folder of the event files.
    pub const RUNS: &'static str = "runs";

    /// Loss of the last evaluation that the metrics in `dir` have.
    ///
    /// # Errors
    /// As for reading them.
    pub fn last_evaluation(dir: &Path) -> Result<Option<f64>> {
        let rows = Metrics::read(&dir.join(Self::NAME), usize::MAX)?;
        let last = rows.iter().rev().find(|row| matches!(row, MetricsRow::Eval { .. }));
        Ok(last.map(MetricsRow::loss))
    }

    /// Begins the files in `dir` with the `earlier` rows, those of an interrupted run up to its checkpoint. Such a run's
    /// `metrics.jsonl` stays until all these rows are in another one.
    ///
    /// # Errors
    /// The files cannot be written.
    pub(crate) fn create(dir: &Path, earlier: &[MetricsRow], wandb: Option<&WandbRun>) -> Result<Metrics> {
        let (path, runs) = (dir.join(Self::NAME), dir.join(Self::RUNS));
        let partial = path.with_extension("partial");
        let mut file = File::create(&partial).at("create", &partial)?;
        let lines: String = earlier.iter().map(MetricsRow::line).collect();
        file.write_all(lines.as_bytes()).at("write", &partial)?;
        std::fs::rename(&partial, &path).at("write", &path)?;
        if runs.is_dir() {
            std::fs::remove_dir_all(&runs).at("remove", &runs)?;
        }
        let wandb = wandb.map(|run| OfflineRun::create(dir, run)).transpose()?;
        let mut metrics = Metrics { path, file, board: EventFile::create(&runs)?, wandb };
        earlier.iter().try_for_each(|row| metrics.draw(row))?;
        Ok(metrics)
    }

    /// # Errors
    /// The files cannot be written.
    pub(crate) fn write(&mut self, row: &MetricsRow) -> Result<()> {
        self.file.write_all(row.line().as_bytes()).at("write", &self.path)?;
        self.draw(row)
    }

    /// Closes the files of a training that came to its end.
    ///
    /// # Errors
    /// The files cannot be written.
    pub(crate) fn finish(self) -> Result<()> {
        self.wandb.map_or(Ok(()), OfflineRun::finish)
    }

    /// Writes the row for those who draw it.
    fn draw(&mut self, row: &MetricsRow) -> Result<()> {
        let (step, scalars) = (row.step(), row.scalars());
        self.board.scalars(step, &scalars)?;
        self.wandb.as_mut().map_or(Ok(()), |run| run.log(step, &scalars))
    }

    /// Rows of a file up to step `last`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn read(path: &Path, last: usize) -> Result<Vec<MetricsRow>> {
        let text = std::fs::read_to_string(path).at("read", path)?;
        Ok(MetricsRow::all(&text).filter(|row| row.step() <= last).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_as_they_were_written() {
        let train = |step, loss, grad_norm| {
            let (epoch, learning_rate, tokens, seconds) = (0.5, 1e-4, 64, 0.25);
            MetricsRow::Train { step, epoch, loss, learning_rate, grad_norm, tokens, seconds }
        };
        let eval = MetricsRow::Eval { step: 2, loss: 1.5, tokens: 9, seconds: 0.1 };
        let text = train(1, 2.5, 1.0).line() + &train(2, 2.0, f64::INFINITY).line() + &eval.line();
        let rows: Vec<MetricsRow> = MetricsRow::all(&(text + "{\"kind\": \"train\", \"st")).collect();
        assert_eq!((&rows[0], &rows[2], rows.len()), (&train(1, 2.5, 1.0), &eval, 3));
        let MetricsRow::Train { loss, grad_norm, .. } = rows[1] else { panic!("{:?}", rows[1]) };
        assert!(loss == 2.0 && grad_norm.is_nan());
    }
}
