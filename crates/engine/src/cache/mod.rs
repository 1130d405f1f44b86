//! The cache of artefacts: what a result depends on, where it lies, how it comes there whole.

mod adopted;
pub mod artefacts;
mod conversions;
mod downloads;
mod elsewhere;
pub mod error;
pub(crate) mod folder;
mod incoming;
pub mod key;
mod lock;
pub mod manifest;
pub(crate) mod partial;
pub mod store;

pub use adopted::Adoption;
pub use artefacts::Artefacts;
pub use downloads::Download;
pub use elsewhere::Elsewhere;
pub use error::CacheError;
pub use incoming::{Incoming, OnItsWay};
pub use key::KeyHasher;
pub use manifest::{DataEntry, DataFile, Manifest};
pub use partial::OUTPUT;
pub use store::Store;
