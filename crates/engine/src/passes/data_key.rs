//! What a data configuration feeds into the key of a pass.

use super::pass::{DataUse, Pass};
use crate::cache::{DataEntry, DataFile, KeyHasher};
use olive_config::{AzureMlResource, DataConfig, DataFiles, LoadDataset};
use olive_core::Result;
use olive_core::content::ContentHashes;

/// The content of the files that a data configuration leads to.
///
/// Where the data lies is not part of it: in `data`, which is to be fed with the other options, a folder given as
/// `data_name` is replaced by the key of the reader. The split of every file is part of it, as slices are taken of
/// splits.
///
/// # Errors
/// A file that cannot be found or read.
pub(crate) fn feed(name: &str, data: &mut DataConfig, hasher: &mut KeyHasher) -> Result<()> {
    hasher.field("data_version", &olive_data::VERSION);
    data.mix.iter_mut().try_for_each(|part| feed(name, &mut part.config, hasher))?;
    if data.load.azureml().next().is_some() {
        return feed_addresses(name, &data.load, hasher);
    }
    let (reader, splits) = olive_data::inputs(&data.load)?;
    data.load.data_name = reader.key.to_owned();
    for split in splits {
        hasher.field(name, &split.split);
        split.files.iter().try_for_each(|file| hasher.file(name, file))?;
    }
    Ok(())
}

/// Where rows lie that jobs read, in place of their content.
fn feed_addresses(name: &str, load: &LoadDataset, hasher: &mut KeyHasher) -> Result<()> {
    let addresses = |resources: &mut dyn Iterator<Item = &AzureMlResource>| {
        resources.map(ToString::to_string).collect::<Vec<String>>()
    };
    match &load.data_files {
        DataFiles::AzureMl(splits) if splits.keys().any(|split| split != "train") => {
            for (split, resources) in olive_data::used_of(load, splits)? {
                hasher.field(name, &split);
                hasher.field(name, &addresses(&mut resources.iter()));
            }
        }
        _ => hasher.field(name, &addresses(&mut load.azureml())),
    }
    Ok(())
}

/// The same for people: what a pass reads, as its manifest has it.
///
/// # Errors
/// As [`feed`].
pub(crate) fn entries(pass: &dyn Pass, contents: &ContentHashes) -> Result<Vec<DataEntry>> {
    pass.data().iter().map(|data| entry(data, contents)).collect()
}

fn entry(data: &DataUse, contents: &ContentHashes) -> Result<DataEntry> {
    let (_, splits) = olive_data::inputs(&data.config.load)?;
    let mut files = Vec::new();
    for split in splits {
        for path in split.files {
            let (split, hash) = (split.split.clone(), contents.file(&path)?);
            files.push(DataFile { split, path: path.display().to_string(), hash });
        }
    }
    let rows = olive_data::load_rows(&data.config.load)?.len();
    Ok(DataEntry { name: data.config.name.clone(), purpose: data.purpose.name().to_owned(), rows, files })
}
