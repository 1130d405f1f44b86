//! Checkpoints as Olive's quantisers write them (`quant_method` "olive"): codes, scales and zero points beside what stayed in
//! float, and in `config.json` how to read them.

mod grouped;
mod settings;
mod writer;

pub use grouped::Grouped;
pub use settings::{ModuleSettings, QuantisationSettings};
pub use writer::{NewCodes, PackedCodes, QuantisedFolder, pack};

pub(crate) use grouped::fold;
