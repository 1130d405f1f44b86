//! The data of a training, and how long it is.

use olive_config::DataConfig;
use olive_config::training::{EvalSize, TrainingArgs};
use olive_core::Result;
use olive_core::cancel::CancelFlag;
use olive_core::event::EventSink;
use olive_data::Dataset;
use olive_model::ModelFolder;
use olive_train::{BatchPlan, TrainError};

/// What a training is done on.
#[derive(Debug, Clone, Copy)]
pub struct Training<'a> {
    pub data: &'a DataConfig,
    pub held_out: HeldOut<'a>,
    pub args: &'a TrainingArgs,
}

/// The rows on which a training is evaluated.
#[derive(Debug, Clone, Copy)]
pub enum HeldOut<'a> {
    None,
    /// Those of a configuration of their own.
    Data(&'a DataConfig),
    /// So many of the training's, which it then has not.
    Share(EvalSize),
}

/// How long a training is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrainingLength {
    /// Optimiser steps.
    pub steps: usize,
    /// Tokens of all steps, padding not counted.
    pub tokens: u64,
}

impl Training<'_> {
    /// Samples to train on, and those to evaluate on.
    ///
    /// # Errors
    /// Data that cannot be read or split.
    pub fn datasets(
        &self,
        folder: &ModelFolder,
        events: &dyn EventSink,
        cancel: &CancelFlag,
    ) -> Result<(Dataset, Option<Dataset>)> {
        let prepare = |config: &DataConfig| olive_data::prepare(config, folder, events, cancel);
        let train = prepare(self.data)?;
        match self.held_out {
            HeldOut::None => Ok((train, None)),
            HeldOut::Data(data) => Ok((train, Some(prepare(data)?))),
            HeldOut::Share(size) => {
                let (train, eval) = olive_data::hold_out(train, size, self.args.data_seed)?;
                Ok((train, Some(eval)))
            }
        }
    }

    /// How long the training on these samples is.
    ///
    /// # Errors
    /// Too few samples for a batch.
    pub fn length(&self, train: &Dataset) -> Result<TrainingLength, TrainError> {
        let tokens: Vec<u64> = train.samples.iter().map(|sample| sample.real_tokens() as u64).collect();
        let lengths = train.samples.iter().map(|sample| sample.input_ids.len()).collect();
        let mut plan = BatchPlan::new(lengths, self.args)?;
        let steps = plan.total_steps(self.args);
        let batches = plan.batches(0).start..plan.batches(steps.saturating_sub(1)).end;
        let tokens = batches.flat_map(|batch| plan.rows(batch)).map(|row| tokens[row]).sum();
        Ok(TrainingLength { steps, tokens })
    }
}
