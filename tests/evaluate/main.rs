//! What the evaluation of a model measures, against what other programs make of the same logits and files.

mod answers;
mod figures;
mod losses;
mod setup;
#[path = "../support/mod.rs"]
mod support;
