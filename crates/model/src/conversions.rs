//! Where models that had to be converted are kept.

use olive_core::Result;
use olive_core::cancel::CancelFlag;
use olive_core::event::EventSink;
use std::path::{Path, PathBuf};

/// A file in another form, made once per content.
pub struct Conversion<'a> {
    pub source: &'a Path,
    /// Names the form that it comes from.
    pub kind: &'static str,
    /// Raised whenever the same content would be converted otherwise.
    pub version: u32,
}

/// A cache of conversions: what is in it is whole.
pub trait Conversions: Send + Sync {
    /// The folder of a conversion that is there.
    ///
    /// # Errors
    /// The source cannot be read.
    fn find(&self, wanted: &Conversion) -> Result<Option<PathBuf>>;

    /// The folder of a conversion, which `work` fills if it is not there, or not as it was written.
    ///
    /// # Errors
    /// The cache cannot be written, the source changed meanwhile, or what `work` says.
    fn get_or_make(
        &self,
        wanted: &Conversion,
        cancel: &CancelFlag,
        events: &dyn EventSink,
        work: &mut dyn FnMut(&Path) -> Result<()>,
    ) -> Result<PathBuf>;
}
