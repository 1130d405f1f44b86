//! Microsoft Olive's fine-tuning pipeline as one program.
//!
//! The tour, in the order of a run:
//!
//! * [`config`] reads `olive-config.json`, both of Olive's grammars, into one [`config::RunConfig`];
//! * [`engine`] turns it into a plan, looks every step up in the [`cache`], runs what is missing;
//! * [`passes`] are the steps: LoRA, QLoRA, merge, the ONNX model builder;
//! * [`data`] makes token batches of the user's files, [`train`] fits an adapter on them;
//! * [`decoder`] describes an architecture once, for training, generation and export alike, on top of
//!   the kernels in [`ops`];
//! * [`quant`] and [`onnx`] write the quantised model, [`runtime`] runs it on ONNX Runtime;
//! * [`model`] reads and writes the ecosystem's files;
//! * [`report`] shows what the others say about themselves, and [`cli`] is the thin skin over all.
//!
//! Dependencies point one way: `cli → engine → passes → {train, onnx, quant, cache} → {decoder, data, model} →
//! {device, cancel, content, error}`.

pub mod cache;
pub mod cancel;
pub mod cli;
pub mod config;
pub mod content;
pub mod data;
pub mod decoder;
pub mod device;
pub mod engine;
pub mod error;
pub mod model;
pub mod onnx;
pub mod ops;
pub mod passes;
pub mod quant;
pub mod report;
pub mod runtime;
pub mod train;

pub use error::{Error, Result};
