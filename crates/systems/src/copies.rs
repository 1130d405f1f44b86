//! Copies of a folder that changes, of which there is a whole one at any moment, whenever the machine goes away.
//!
//! ```text
//! <n>/         a copy; the one after it has the next number
//! <n>.whole    written when all of it is there
//! ```
//!
//! Nothing is renamed: object storage that looks like a disk renames a folder file by file.

use crate::results::copy;
use olive_core::{Result, error::IoContext, file};
use std::path::{Path, PathBuf};

const WHOLE: &str = "whole";

/// The folder with the copies.
pub(crate) struct Copies {
    dir: PathBuf,
    /// All that is in it.
    entries: Vec<PathBuf>,
}

/// A whole copy.
pub(crate) struct Copy(PathBuf);

impl Copies {
    /// The copies in a folder, which may not be there.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn of(dir: PathBuf) -> Result<Copies> {
        let mut entries = Vec::new();
        if dir.is_dir() {
            for entry in file::entries(&dir).at("read", &dir)? {
                entries.push(entry.at("read", &dir)?.path());
            }
        }
        Ok(Copies { dir, entries })
    }

    /// The last copy that is whole.
    pub(crate) fn newest(&self) -> Option<Copy> {
        let is_whole = |path: &&PathBuf| path.is_dir() && path.with_extension(WHOLE).is_file();
        let newest = self.entries.iter().filter(is_whole).max_by_key(|path| number(path));
        newest.cloned().map(Copy)
    }

    /// Makes another copy. Those before it go once it is whole.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub(crate) fn add(self, from: &Path) -> Result<()> {
        let last = self.entries.iter().filter_map(|path| number(path)).max().unwrap_or(0);
        let next = self.dir.join((last + 1).to_string());
        copy_folder(from, &next)?;
        let mark = next.with_extension(WHOLE);
        std::fs::write(&mark, "").at("write", &mark)?;
        self.remove_entries()
    }

    /// Removes all copies.
    ///
    /// # Errors
    /// A file cannot be removed.
    pub(crate) fn remove(self) -> Result<()> {
        self.remove_entries()?;
        // Fails where it is not there.
        let _ = std::fs::remove_dir(&self.dir);
        Ok(())
    }

    /// The marks go first: half a copy is none.
    fn remove_entries(&self) -> Result<()> {
        let (folders, marks): (Vec<_>, Vec<_>) = self.entries.iter().partition(|path| path.is_dir());
        marks.into_iter().try_for_each(|path| std::fs::remove_file(path).at("remove", path))?;
        folders.into_iter().try_for_each(|path| std::fs::remove_dir_all(path).at("remove", path))
    }
}

impl Copy {
    /// Puts what was copied into a folder.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub(crate) fn bring_back(&self, to: &Path) -> Result<()> {
        copy_folder(&self.0, to)
    }
}

/// The number of a copy or of its mark.
fn number(path: &Path) -> Option<u64> {
    path.file_stem()?.to_str()?.parse().ok()
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to).at("create", to)?;
    for entry in file::entries(from).at("read", from)? {
        let path = entry.at("read", from)?.path();
        let target = to.join(path.file_name().expect("an entry has a name"));
        if path.is_dir() { copy_folder(&path, &target)? } else { copy(&path, &target)? }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, files: &[(&str, &str)]) {
        for (name, content) in files {
            let path = dir.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
    }

    /// What comes back of a folder with these files: `None` if there is no whole copy.
    fn kept(files: &[(&str, &str)]) -> Option<[String; 2]> {
        let dir = tempfile::tempdir().unwrap();
        let (copies, back) = (dir.path().join("copies"), dir.path().join("back"));
        write(&copies, files);
        Copies::of(copies.clone()).unwrap().newest()?.bring_back(&back).unwrap();
        // Whatever was left, another copy can be made, and is the only one then.
        let newer = dir.path().join("newer");
        write(&newer, &[("a", "3"), ("output/resume/b", "3")]);
        Copies::of(copies.clone()).unwrap().add(&newer).unwrap();
        assert_eq!(std::fs::read_dir(&copies).unwrap().count(), 2);
        let third = dir.path().join("third");
        Copies::of(copies).unwrap().newest().unwrap().bring_back(&third).unwrap();
        assert_eq!(std::fs::read_to_string(third.join("output/resume/b")).unwrap(), "3");
        Some(["a", "output/resume/b"].map(|name| std::fs::read_to_string(back.join(name)).unwrap()))
    }

    #[test]
    fn there_is_a_whole_copy_wherever_making_the_next_one_is_stopped() {
        let first = [("1/a", "1"), ("1/output/resume/b", "1"), ("1.whole", "")];
        let second = [("2/a", "2"), ("2/output/resume/b", "2"), ("2.whole", "")];
        // What is there after each step: the next copy is written, and the one before it removed, its mark first.
        let (one, two) = (["1", "1"].map(str::to_owned), ["2", "2"].map(str::to_owned));
        for steps in 0..=3 {
            let there = [&first[..], &second[..steps]].concat();
            assert_eq!(kept(&there).as_ref(), Some(if steps < 3 { &one } else { &two }), "{there:?}");
        }
        for left in 0..3 {
            let there = [&first[..left], &second].concat();
            assert_eq!(kept(&there).as_ref(), Some(&two), "{there:?}");
        }
        for steps in 0..3 {
            assert_eq!(kept(&first[..steps]), None, "the first copy is not whole yet");
        }
    }

    #[test]
    fn copies_are_made_and_removed_in_that_order() {
        let dir = tempfile::tempdir().unwrap();
        let (from, copies) = (dir.path().join("from"), dir.path().join("copies"));
        for content in ["1", "2"] {
            write(&from, &[("a", content)]);
            Copies::of(copies.clone()).unwrap().add(&from).unwrap();
        }
        let mut names: Vec<_> = Copies::of(copies.clone()).unwrap().entries;
        names.sort();
        assert_eq!(names, [copies.join("2"), copies.join("2.whole")]);
        Copies::of(copies.clone()).unwrap().remove().unwrap();
        assert!(!copies.exists());
        Copies::of(copies).unwrap().remove().unwrap();
    }
}
