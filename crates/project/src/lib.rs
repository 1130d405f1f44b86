//! A project for somebody's model and data.
//!
//! [`RowShape`] says what the rows of a file are, [`pair_text`] how a question and its answer become a text of the model, [`Proposal`]
//! how it is trained, [`Prospect`] what that takes, and [`Layout`] which files a project has. `olive init` asks what cannot be known.

mod block_length;
mod columns;
mod error;
mod explanation;
mod layout;
mod pair_text;
mod proposal;
mod prospect;
mod speed;

pub use block_length::block_length;
pub use columns::{Columns, RowShape};
pub use error::ProjectError;
pub use layout::{CONFIGURATION, Existing, Layout, place_of_data, place_of_model, refuse_existing};
pub use pair_text::{PairText, pair_text};
pub use proposal::{DataPart, Method, Outcome, Proposal, TextPart, Trained, TrainingPart};
pub use prospect::{Prospect, parameters, prospect};
