//! Who brings what lies in Azure ML to this machine.

use crate::cache::Store;
use olive_config::AzureMlResource;
use olive_core::Result;
use olive_core::cancel::CancelFlag;
use olive_core::event::EventSink;
use std::path::PathBuf;

/// Reads what lies in Azure ML.
pub trait ResourceReader {
    /// The file or folder as the service has it now: from the cache if it is there, else downloaded into it. Names are sound,
    /// and of everything but a model of a registry the workspace is known.
    ///
    /// # Errors
    /// It is not there, may not be read, or the cache cannot be written.
    fn bring(
        &self,
        resource: &AzureMlResource,
        store: &Store,
        cancel: &CancelFlag,
        events: &dyn EventSink,
    ) -> Result<PathBuf>;
}
