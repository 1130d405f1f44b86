//! What a data configuration feeds into the key of a pass.

use crate::cache::KeyHasher;
use olive_config::DataConfig;
use olive_core::Result;

/// The content of the files that a data configuration leads to.
///
/// Where the data lies is not part of it: in `data`, which is to be fed with the other options, a folder given as
/// `data_name` is replaced by the key of the reader. The split of every file is part of it, as slices are taken of
/// splits.
///
/// # Errors
/// A file that cannot be found or read.
pub(super) fn feed(name: &str, data: &mut DataConfig, hasher: &mut KeyHasher) -> Result<()> {
    hasher.field("data_version", &olive_data::VERSION);
    let (reader, splits) = olive_data::inputs(&data.load)?;
    data.load.data_name = reader.key.to_owned();
    for split in splits {
        hasher.field(name, &split.split);
        split.files.iter().try_for_each(|file| hasher.file(name, file))?;
    }
    Ok(())
}
