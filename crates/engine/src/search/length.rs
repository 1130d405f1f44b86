//! How long the trainings of points are.

use crate::FlowInput;
use crate::passes::{HeldOut, Training, TrainingLength};
use olive_config::DataConfig;
use olive_config::training::EvalSize;
use olive_core::Result;
use olive_core::cancel::CancelFlag;
use olive_data::Dataset;
use olive_model::ModelFolder;
use std::cell::RefCell;
use std::rc::Rc;

/// Tokenises the data of trainings, each once.
pub(super) struct Lengths<'a> {
    folder: ModelFolder,
    cancel: &'a CancelFlag,
    made: RefCell<Vec<(DataOfTraining, Rc<Dataset>)>>,
}

/// What the samples to train on depend on.
#[derive(PartialEq)]
struct DataOfTraining {
    data: DataConfig,
    /// What is held out of them, and the seed that decides which.
    share: Option<(EvalSize, u64)>,
}

impl<'a> Lengths<'a> {
    /// `None` where the model is not on this machine.
    pub(super) fn new(input: &FlowInput, cancel: &'a CancelFlag) -> Option<Lengths<'a>> {
        let folder = ModelFolder::of(input.here()?).ok()?;
        Some(Lengths { folder, cancel, made: RefCell::default() })
    }

    /// # Errors
    /// Data that cannot be read, or too few samples.
    pub(super) fn of(&self, training: &Training) -> Result<TrainingLength> {
        let share = match training.held_out {
            HeldOut::Share(size) => Some((size, training.args.data_seed)),
            HeldOut::None | HeldOut::Data(_) => None,
        };
        let wanted = DataOfTraining { data: training.data.clone(), share };
        let known =
            self.made.borrow().iter().find(|(known, _)| *known == wanted).map(|(_, made)| Rc::clone(made));
        let dataset = match known {
            Some(dataset) => dataset,
            None => {
                let held_out = match training.held_out {
                    HeldOut::Data(_) => HeldOut::None,
                    held_out => held_out,
                };
                let (train, _) =
                    Training { held_out, ..*training }.datasets(&self.folder, &(), self.cancel)?;
                let train = Rc::new(train);
                self.made.borrow_mut().push((wanted, Rc::clone(&train)));
                train
            }
        };
        Ok(training.length(&dataset)?)
    }
}
