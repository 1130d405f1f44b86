//! What LoRA and QLoRA feed into their keys.

use crate::Result;
use crate::config::canonical::LoraOptions;
use crate::data;
use crate::engine::KeyHasher;

/// The options, and the content of the files that they lead to.
///
/// Where the data lies is not part of it: a folder given as `data_name` stands for the loader that reads it. The split of
/// every file is, as slices are taken of splits.
///
/// # Errors
/// A file that cannot be found or read.
pub(super) fn key(options: &LoraOptions, hasher: &mut KeyHasher) -> Result<()> {
    let mut options = options.clone();
    let train = ("train", Some(&mut options.train_data));
    let eval = ("eval", options.eval_data.as_mut());
    for (name, data) in [train, eval] {
        let Some(data) = data else { continue };
        let (loader, splits) = data::inputs(&data.load)?;
        data.load.data_name = format!("{loader:?}");
        for split in splits {
            hasher.field(name, &split.split);
            split.files.iter().try_for_each(|file| hasher.file(name, file))?;
        }
    }
    hasher.field("lora", &options);
    Ok(())
}
