//! Every folder of the shared goldens is a case; each prints one line.

mod gguf;
mod models;
mod passes;
mod quantisers;
#[path = "../support/mod.rs"]
mod support;
mod train;
