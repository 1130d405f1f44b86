//! Codes for the weights of checkpoints, chosen by what flows through the model, and which weights need more bits.

pub mod calibration_batch;
pub mod error;
pub mod gptq;
pub mod kept;
pub mod mixed_precision;
pub mod plan;
pub mod rotate;
pub mod round;
pub mod sensitivity;

pub use calibration_batch::CalibrationBatch;
pub use error::QuantiseError;
pub use gptq::{Gptq, LayerCodes, ModuleCodes};
pub use mixed_precision::{Selection, Unit, scores_of_weights, units};
pub use plan::{Note, Plan, Wanted};
pub use rotate::Rotated;
pub use round::{GridSearch, round_to_grids};
pub use sensitivity::{Sensitivity, divergence_scores};
