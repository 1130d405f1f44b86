//! Looks for data files in folders.
//!
//! Links to folders are followed, but not back into a folder that holds them. Names need not be UTF-8: to a pattern, what is
//! not UTF-8 is an unknown character.

use crate::error::DataError;
use glob::Pattern;
use olive_core::{RECORDS, Result, error::IoContext, file, shown};
use std::collections::{BTreeSet, HashSet};
use std::fs::DirEntry;
use std::io;
use std::path::{Component, Path, PathBuf};

/// Folders behind links that a search enters at most: links can lead through the same few again and again.
const MAX_BEHIND_LINKS: usize = 10_000;

/// All files below `dir`, sorted, without hidden ones.
///
/// # Errors
/// A folder cannot be read, or there are too many behind links.
pub(crate) fn files_below(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut search = Search::of(shown(dir).to_string());
    search.add_below(&Folder::new(dir.to_owned()))?;
    Ok(search.found.into_iter().collect())
}

/// The files that match `pattern`, sorted. It is below `base`, whose name is no pattern. Wildcards match no hidden names, `**`
/// stands for folders of any depth. Folders that cannot be read hold nothing.
///
/// # Errors
/// The pattern is not valid, or leads through too many folders behind links.
pub(crate) fn files_matching(pattern: &str, base: Option<&Path>) -> Result<Vec<PathBuf>> {
    let mut start = PathBuf::new();
    let pattern_start = Path::new(pattern).components().take_while(|part| *part == Component::RootDir);
    let base = base.into_iter().flat_map(Path::components);
    for part in base.filter(|part| *part != Component::CurDir).chain(pattern_start) {
        start.push(part);
    }
    let bad = |reason: &str| DataError::BadPattern { pattern: pattern.to_owned(), reason: reason.to_owned() };
    let (mut parts, mut has_wildcards) = (Vec::new(), false);
    for part in pattern.split('/').filter(|part| !["", "."].contains(part)) {
        let part = Part::parse(part).map_err(|e| bad(e.msg))?;
        match (&part, parts.last()) {
            (Part::Folders, Some(Part::Folders)) => continue,
            // Those of a run with this data would change while it goes on.
            (Part::Name(name), _) if name == RECORDS => {
                return Err(bad("`.olive` holds records of runs, which are no data").into());
            }
            // It would find the same files again from every folder.
            (Part::Name(name), _) if name == ".." && has_wildcards => {
                return Err(bad("`..` cannot follow a wildcard").into());
            }
            _ => {
                has_wildcards |= !matches!(part, Part::Name(_));
                parts.push(part);
            }
        }
    }
    let mut search = Search::of(pattern.to_owned());
    // A path that ends like a folder is none of a file.
    if !pattern.ends_with('/') {
        search.add_matching(&Folder::new(start), &parts)?;
    }
    Ok(search.found.into_iter().collect())
}

/// What stands between the slashes of a pattern.
enum Part {
    /// A name as it is, `..` among them.
    Name(String),
    /// Names with wildcards.
    Names(Pattern),
    /// `**`: any number of folders.
    Folders,
}

impl Part {
    fn parse(part: &str) -> std::result::Result<Part, glob::PatternError> {
        Ok(match part {
            "**" => Part::Folders,
            _ if part.contains(['*', '?', '[']) => Part::Names(Pattern::new(part)?),
            _ => Part::Name(part.to_owned()),
        })
    }
}

/// A folder, and the real folders in which links were followed on the way to it.
struct Folder {
    path: PathBuf,
    left: Vec<PathBuf>,
}

impl Folder {
    fn new(path: PathBuf) -> Folder {
        Folder { path, left: Vec::new() }
    }

    /// What the empty path stands for has a name to the system.
    fn place(&self) -> &Path {
        if self.path.as_os_str().is_empty() { Path::new(".") } else { &self.path }
    }

    /// Its entries, without hidden ones.
    fn entries(&self) -> io::Result<Vec<Entry>> {
        let entries = file::entries(self.place())?.map(|entry| self.entry(&entry?));
        let visible = |entry: &io::Result<Entry>| !matches!(entry, Ok(entry) if entry.name.starts_with('.'));
        entries.filter(visible).collect()
    }

    fn entry(&self, entry: &DirEntry) -> io::Result<Entry> {
        let (path, name) =
            (self.path.join(entry.file_name()), entry.file_name().to_string_lossy().into_owned());
        let is_link = entry.file_type()?.is_symlink();
        let kind = match path.metadata() {
            Ok(meta) if meta.is_dir() && !is_link => Kind::Folder(Folder { path, left: self.left.clone() }),
            Ok(meta) if meta.is_dir() => self.behind_link(path).map_or(Kind::Other, Kind::Folder),
            // What a link that leads nowhere stands for is said by whoever reads it.
            Ok(meta) if !meta.is_file() => Kind::Other,
            _ => Kind::File(path),
        };
        Ok(Entry { name, kind })
    }

    /// The folder that a link in this one leads to, unless that holds one from which it was reached.
    fn behind_link(&self, path: PathBuf) -> Option<Folder> {
        let mut left = self.left.clone();
        left.push(self.place().canonicalize().ok()?);
        let target = path.canonicalize().ok()?;
        let is_back = left.iter().any(|folder| folder.starts_with(&target));
        (!is_back).then_some(Folder { path, left })
    }
}

struct Entry {
    /// For patterns.
    name: String,
    kind: Kind,
}

enum Kind {
    File(PathBuf),
    Folder(Folder),
    /// Neither: pipes, devices, links that lead back.
    Other,
}

struct Search {
    /// What is looked for, for people.
    wanted: String,
    behind_links: usize,
    /// Folders in which the rest of a pattern, of this many parts, was looked for.
    seen: HashSet<(PathBuf, usize)>,
    found: BTreeSet<PathBuf>,
}

impl Search {
    fn of(wanted: String) -> Search {
        Search { wanted, behind_links: 0, seen: HashSet::new(), found: BTreeSet::new() }
    }

    fn enter(&mut self, folder: &Folder) -> Result<()> {
        self.behind_links += usize::from(!folder.left.is_empty());
        if self.behind_links > MAX_BEHIND_LINKS {
            let wanted = self.wanted.clone();
            return Err(DataError::TooManyFolders { wanted, most: MAX_BEHIND_LINKS }.into());
        }
        Ok(())
    }

    fn add_below(&mut self, folder: &Folder) -> Result<()> {
        self.enter(folder)?;
        for entry in folder.entries().at("read", folder.place())? {
            match entry.kind {
                Kind::File(path) => drop(self.found.insert(path)),
                Kind::Folder(inner) => self.add_below(&inner)?,
                Kind::Other => {}
            }
        }
        Ok(())
    }

    fn add_matching(&mut self, folder: &Folder, parts: &[Part]) -> Result<()> {
        let mut folder = Folder { path: folder.path.clone(), left: folder.left.clone() };
        let mut parts = parts;
        while let [Part::Name(name), rest @ ..] = parts {
            folder.path.push(name);
            parts = rest;
        }
        let [part, rest @ ..] = parts else {
            if folder.path.is_file() {
                self.found.insert(folder.path);
            }
            return Ok(());
        };
        if !self.seen.insert((folder.path.clone(), parts.len())) {
            return Ok(());
        }
        if matches!(part, Part::Folders) {
            self.add_matching(&folder, rest)?;
        }
        self.enter(&folder)?;
        for entry in folder.entries().unwrap_or_default() {
            match part {
                Part::Folders => self.add_entry(entry, parts)?,
                Part::Names(pattern) if pattern.matches(&entry.name) => {
                    self.add_entry(entry, rest)?;
                }
                Part::Names(_) | Part::Name(_) => {}
            }
        }
        Ok(())
    }

    /// A file that the whole pattern matches, or what its rest finds in a folder.
    fn add_entry(&mut self, entry: Entry, rest: &[Part]) -> Result<()> {
        match entry.kind {
            Kind::Folder(inner) if !rest.is_empty() => self.add_matching(&inner, rest),
            Kind::File(path) if rest.is_empty() && path.is_file() => {
                self.found.insert(path);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
