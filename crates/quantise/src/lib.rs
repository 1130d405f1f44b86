//! Codes for the weights of checkpoints, chosen by what flows through the model, and which weights need more bits.

pub mod calibration_batch;
pub mod gptq;
pub mod sensitivity;

pub use calibration_batch::CalibrationBatch;
pub use gptq::{Gptq, LayerCodes, ModuleCodes};
pub use sensitivity::{Sensitivity, divergence_scores};
