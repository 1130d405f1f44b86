//! A local file or folder that is to be uploaded, as it was when it was looked at.
//!
//! Links are followed, as the SDK does; names are those of the links.

use crate::error::{Error, Result};
use crate::ignore::IgnoreRules;
use std::fs::Metadata;
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

/// A file or a folder with everything in it.
#[derive(Debug)]
pub struct LocalTree {
    /// The last part of its path, under which it is uploaded.
    pub name: String,
    pub(crate) root: Node,
}

#[derive(Debug)]
pub(crate) enum Node {
    File(LocalFile),
    /// In the order in which the SDK hashes them.
    Folder(Vec<Entry>),
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    /// An excluded folder may hold files that are not. An excluded file is not here.
    pub(crate) excluded: bool,
    pub(crate) node: Node,
}

/// A file that is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalFile {
    /// Where its content is, links resolved.
    pub path: PathBuf,
    /// From the root of the tree, parted by `/`; of a single file its name.
    pub name: String,
    /// Bytes
    pub size: u64,
    modified: SystemTime,
}

impl LocalFile {
    fn new(path: PathBuf, name: String, meta: &Metadata) -> Result<LocalFile> {
        let modified = meta.modified().map_err(failed("read", &path))?;
        Ok(LocalFile { path, name, size: meta.len(), modified })
    }

    /// # Errors
    /// The file is not the one that was looked at any more.
    pub(crate) fn check_unchanged(&self) -> Result<()> {
        let meta = self.path.metadata().map_err(failed("read", &self.path))?;
        if meta.len() == self.size && meta.modified().ok() == Some(self.modified) {
            return Ok(());
        }
        Err(refused(&self.path, "it changed while it was read; run again when nothing writes to it"))
    }
}

impl LocalTree {
    /// Looks at a file, or at a folder and everything in it that its ignore file leaves.
    ///
    /// # Errors
    /// The path does not exist or cannot be read; a folder with nothing to upload; a name that is not UTF-8; what is
    /// neither file nor folder, as a link to nowhere; a link to a folder that it is in.
    pub fn read(path: &Path) -> Result<LocalTree> {
        let resolved = path.canonicalize().map_err(failed("read", path))?;
        let meta = resolved.metadata().map_err(failed("read", path))?;
        if meta.is_file() {
            let name = text(path.file_name().map(Path::new).unwrap_or(path))?.to_owned();
            let file = LocalFile::new(resolved, name.clone(), &meta)?;
            return Ok(LocalTree { name, root: Node::File(file) });
        }
        // A folder is uploaded under its own name even if a link led to it, as its files are.
        let name = text(resolved.file_name().map(Path::new).unwrap_or(&resolved))?.to_owned();
        let rules = IgnoreRules::of_folder(&resolved)?;
        let mut walk = Walk { root: &resolved, rules: &rules, above: Vec::new() };
        let tree = LocalTree { name, root: Node::Folder(walk.folder(&resolved, "")?) };
        if tree.files().is_empty() {
            return Err(refused(path, "the folder has no files to upload"));
        }
        Ok(tree)
    }

    pub fn is_file(&self) -> bool {
        matches!(self.root, Node::File(_))
    }

    /// All files that are taken.
    pub fn files(&self) -> Vec<&LocalFile> {
        let mut files = Vec::new();
        self.root.collect(&mut files);
        files
    }

    /// Bytes of all files.
    pub fn size(&self) -> u64 {
        self.files().iter().map(|file| file.size).sum()
    }
}

impl Node {
    fn collect<'a>(&'a self, files: &mut Vec<&'a LocalFile>) {
        match self {
            Node::File(file) => files.push(file),
            Node::Folder(entries) => entries.iter().for_each(|entry| entry.node.collect(files)),
        }
    }
}

struct Walk<'a> {
    root: &'a Path,
    rules: &'a IgnoreRules,
    /// The folders on the way here, links resolved.
    above: Vec<PathBuf>,
}

impl Walk<'_> {
    /// `folder` is resolved, `name` how it is called from the root.
    fn folder(&mut self, folder: &Path, name: &str) -> Result<Vec<Entry>> {
        if self.above.iter().any(|above| above == folder) {
            return Err(refused(folder, "a link in it leads back to it; remove the link"));
        }
        self.above.push(folder.to_owned());
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(failed("list", folder))? {
            let entry = entry.map_err(failed("list", folder))?;
            names.push(text(Path::new(&entry.file_name()))?.to_owned());
        }
        names.sort_by_cached_key(|name| (name.to_lowercase(), name.clone()));
        let mut entries = Vec::new();
        for entry in names {
            let path = folder.join(&entry);
            let name = if name.is_empty() { entry.clone() } else { format!("{name}/{entry}") };
            entries.extend(self.entry(&path, entry, name)?);
        }
        self.above.pop();
        Ok(entries)
    }

    /// `None`, if it and all that is in it is excluded.
    fn entry(&mut self, path: &Path, entry: String, name: String) -> Result<Option<Entry>> {
        let excluded = self.rules.excludes(&relative(self.root, path));
        if excluded && !self.rules.brings_back() {
            return Ok(None);
        }
        let meta = match path.metadata() {
            Err(_) if excluded => return Ok(None),
            meta => meta.map_err(failed("read", path))?,
        };
        let resolved = if path.is_symlink() {
            path.canonicalize().map_err(failed("read", path))?
        } else {
            path.to_owned()
        };
        let node = if meta.is_dir() {
            Node::Folder(self.folder(&resolved, &name)?)
        } else if excluded {
            return Ok(None);
        } else if meta.is_file() {
            Node::File(LocalFile::new(resolved, name, &meta)?)
        } else {
            return Err(refused(path, "it is neither a file nor a folder; name it in .amlignore"));
        };
        Ok(Some(Entry { name: entry, excluded, node }))
    }
}

/// The way from a folder to a path, parted by `/`. Both are absolute and without links.
fn relative(folder: &Path, path: &Path) -> String {
    let common = folder.components().zip(path.components()).take_while(|(a, b)| a == b).count();
    let up = folder.components().skip(common).map(|_| "..".to_owned());
    let down = path.components().skip(common).filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
        _ => None,
    });
    up.chain(down).collect::<Vec<_>>().join("/")
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| refused(path, "the name is not UTF-8, which blobs need; rename it"))
}

fn refused(path: &Path, reason: &'static str) -> Error {
    Error::Invalid { what: "path", value: path.display().to_string(), expected: reason }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { action, path, source }
}
