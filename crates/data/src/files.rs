//! Which files hold the rows, and which reader reads them.

use crate::error::{DataError, listed};
use crate::readers::{READERS, RowReader};
use crate::search;
use crate::split;
use olive_config::canonical::{DataFiles, LoadDataset, ResourcePath};
use olive_core::Result;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The files of a split, in the order in which they are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitFiles {
    pub split: String,
    pub files: Vec<PathBuf>,
}

/// Loaders of `datasets` that have no counterpart here.
const OTHER_LOADERS: [&str; 8] =
    ["arrow", "pandas", "xml", "sql", "webdataset", "imagefolder", "audiofolder", "generator"];

/// Every split that `load` describes, in a fixed order.
///
/// # Errors
/// The data has no reader, or options of another one; a file does not exist, or a pattern matches nothing.
pub(crate) fn resolve(load: &LoadDataset) -> Result<(&'static RowReader, Vec<SplitFiles>)> {
    let (reader, splits) = find(load)?;
    reader.check(load)?;
    Ok((reader, splits))
}

fn find(load: &LoadDataset) -> Result<(&'static RowReader, Vec<SplitFiles>)> {
    let named = RowReader::named(&load.data_name);
    let folder = Path::new(&load.data_name);
    if let DataFiles::Remote { kind, description } = &load.data_files {
        return Err(
            DataError::Remote { name: None, kind: kind.clone(), description: description.clone() }.into()
        );
    }
    if let DataFiles::AzureMl(splits) = &load.data_files {
        used_of(load, splits)?;
    }
    if let Some(resource) = load.azureml().next() {
        let (place, address) = (resource.place.describe(), resource.to_string());
        return Err(DataError::InAzureMl { name: None, place, address }.into());
    }
    let file_reader = RowReader::of_file(folder).filter(|_| named.is_none() && folder.is_file());
    if named.is_none() && file_reader.is_none() && !folder.is_dir() {
        let data_name = load.data_name.clone();
        return Err(if OTHER_LOADERS.contains(&load.data_name.to_lowercase().as_str()) {
            DataError::UnknownLoader { data_name }.into()
        } else {
            DataError::NotLocal { data_name }.into()
        });
    }
    if let (None, Some(subset)) = (named, &load.subset) {
        return Err(DataError::Subset { path: folder.to_owned(), subset: subset.clone() }.into());
    }
    if let (Some(reader), DataFiles::Unset) = (file_reader, &load.data_files) {
        let files = vec![folder.to_owned()];
        return Ok((reader, vec![SplitFiles { split: "train".into(), files }]));
    }
    let base = match (load.data_dir.as_ref().and_then(ResourcePath::local), named) {
        (Some(dir), None) => Some(folder.join(dir)),
        (None, None) => Some(folder.to_owned()),
        (dir, Some(_)) => dir.map(PathBuf::from),
    };
    let splits = match &load.data_files {
        DataFiles::Local(patterns) => {
            vec![SplitFiles { split: "train".into(), files: expand_all(patterns, base.as_deref())? }]
        }
        DataFiles::PerSplit(map) => map
            .iter()
            .map(|(split, patterns)| {
                Ok(SplitFiles { split: split.clone(), files: expand_all(patterns, base.as_deref())? })
            })
            .collect::<Result<_>>()?,
        DataFiles::Listed(splits) => splits
            .iter()
            .map(|(split, files)| SplitFiles { split: split.clone(), files: files.clone() })
            .collect(),
        DataFiles::Unset | DataFiles::AzureMl(_) | DataFiles::Remote { .. } => match (base, named) {
            (Some(dir), _) => return folder_splits(&dir, named),
            (None, named) => {
                return Err(DataError::NoFiles { loader: named.unwrap_or(&READERS[0]).name }.into());
            }
        },
    };
    let reader = match named {
        Some(reader) => reader,
        None => infer_reader(splits.iter().flat_map(|s| &s.files), folder)?,
    };
    Ok((reader, splits))
}

/// The reader, and the files that `load.split` reads in the order in which they are read: with their content, this
/// decides the rows.
///
/// # Errors
/// The data has no reader, a file does not exist, a pattern matches nothing, or the split is not valid or does not exist.
pub fn inputs(load: &LoadDataset) -> Result<(&'static RowReader, Vec<SplitFiles>)> {
    let (reader, splits) = resolve(load)?;
    let used = used(load, &splits)?.into_iter().cloned().collect();
    Ok((reader, used))
}

/// Those of `splits` that `load.split` uses.
pub(super) fn used<'a>(load: &LoadDataset, splits: &'a [SplitFiles]) -> Result<Vec<&'a SplitFiles>> {
    let used = used_names(load, splits.iter().map(|split| split.split.as_str()))?;
    Ok(splits.iter().filter(|split| used.contains(split.split.as_str())).collect())
}

/// Those of some files by split that `load.split` uses, wherever they lie.
///
/// # Errors
/// The split is not valid, or there is none of its name.
pub fn used_of<'a, T>(load: &LoadDataset, splits: &'a BTreeMap<String, T>) -> Result<Vec<(&'a str, &'a T)>> {
    let used = used_names(load, splits.keys().map(String::as_str))?;
    let named = splits.iter().map(|(split, files)| (split.as_str(), files));
    Ok(named.filter(|(split, _)| used.contains(split)).collect())
}

fn used_names<'a>(
    load: &LoadDataset,
    known: impl Iterator<Item = &'a str> + Clone,
) -> Result<BTreeSet<&'a str>> {
    let parts = split::parse(&load.split)?;
    for part in &parts {
        if part.split != "all" && !known.clone().any(|split| split == part.split) {
            let known = known.map(str::to_owned).collect();
            return Err(DataError::UnknownSplit { split: part.split.clone(), known }.into());
        }
    }
    Ok(known.filter(|split| parts.iter().any(|part| part.split == "all" || part.split == *split)).collect())
}

fn expand_all(patterns: &[String], base: Option<&Path>) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for pattern in patterns {
        files.extend(expand(pattern, base)?);
    }
    Ok(files)
}

/// A path as it is, a pattern as the sorted files that match it.
fn expand(pattern: &str, base: Option<&Path>) -> Result<Vec<PathBuf>> {
    if let Some((scheme, _)) = pattern.split_once("://").filter(|(s, _)| *s != "file") {
        return Err(DataError::Remote {
            name: None,
            kind: format!("a place behind `{scheme}://`"),
            description: pattern.to_owned(),
        }
        .into());
    }
    let plain = pattern.strip_prefix("file://").unwrap_or(pattern);
    let path = base.map_or_else(|| PathBuf::from(plain), |b| b.join(plain));
    // A file whose name holds a bracket is taken literally.
    if path.is_file() {
        return Ok(vec![path]);
    }
    if path.is_dir() {
        return Err(DataError::Unreadable {
            path,
            reason: "this is a folder; `data_files` takes files, `data_dir` takes a folder".into(),
        }
        .into());
    }
    if !plain.contains(['*', '?', '[']) {
        return Err(DataError::MissingFile { path }.into());
    }
    let files = search::files_matching(plain, base)?;
    if files.is_empty() {
        return Err(DataError::NoMatch { pattern: path.to_string_lossy().into_owned() }.into());
    }
    Ok(files)
}

/// Everything below `dir` that the reader reads, sorted into splits by the names of files and folders.
fn folder_splits(
    dir: &Path,
    named: Option<&'static RowReader>,
) -> Result<(&'static RowReader, Vec<SplitFiles>)> {
    let mut all = search::files_below(dir)?;
    let reader = match named {
        Some(reader) => reader,
        None => infer_reader(all.iter(), dir)?,
    };
    all.retain(|path| reader.reads(path));
    if all.is_empty() {
        let what = format!("file that ends in .{}", reader.extensions.join(" or ."));
        return Err(DataError::EmptyFolder { path: dir.to_owned(), what }.into());
    }
    let mut splits: Vec<SplitFiles> = Vec::new();
    for (name, keywords) in SPLIT_KEYWORDS {
        let inside = |path: &PathBuf| has_keyword(path.strip_prefix(dir).unwrap_or(path), keywords);
        let files: Vec<PathBuf> = all.iter().filter(|p| inside(p)).cloned().collect();
        if !files.is_empty() {
            splits.push(SplitFiles { split: name.into(), files });
        }
    }
    if splits.is_empty() {
        splits.push(SplitFiles { split: "train".into(), files: all });
    }
    Ok((reader, splits))
}

/// The words by which `datasets` recognises splits in the names of files and folders.
const SPLIT_KEYWORDS: [(&str, &[&str]); 3] = [
    ("train", &["train", "training"]),
    ("validation", &["validation", "valid", "dev", "val"]),
    ("test", &["test", "testing", "eval", "evaluation"]),
];

fn has_keyword(path: &Path, keywords: &[&str]) -> bool {
    let text = path.to_string_lossy();
    text.split(|c: char| !c.is_ascii_alphabetic()).any(|word| keywords.contains(&word))
}

/// The reader that reads most of the files.
fn infer_reader<'a>(
    files: impl Iterator<Item = &'a PathBuf> + Clone,
    dir: &Path,
) -> Result<&'static RowReader> {
    let mut most = (0, None);
    for reader in &READERS {
        let count = files.clone().filter(|path| reader.reads(path)).count();
        if count > most.0 {
            most = (count, Some(reader));
        }
    }
    most.1.ok_or_else(|| {
        let mut extensions: Vec<_> =
            READERS.iter().map(|reader| (reader.name, reader.extensions[0])).collect();
        extensions.dedup_by_key(|(name, _)| *name);
        let extensions: Vec<_> = extensions.into_iter().map(|(_, extension)| extension).collect();
        let what = format!("{} file", listed(&extensions, "or"));
        DataError::EmptyFolder { path: dir.to_owned(), what }.into()
    })
}
