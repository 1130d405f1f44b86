//! From a configuration to artefacts: plan, cache, runner, output folder.

pub mod cancel;
pub mod error;
pub mod key;

pub use cancel::CancelFlag;
pub use error::EngineError;
pub use key::KeyHasher;
