//! The program that jobs run: a file for Linux on the processors of computes, and for the glibc of their images.

use crate::SystemError;
use object::elf::{EM_X86_64, FileHeader64};
use object::read::elf::{FileHeader, SectionHeader as _};
use object::{LittleEndian, ReadCache, ReadRef};
use olive_core::Result;
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};

/// What Azure ML's images for Ubuntu 22.04 have. Those for Ubuntu 20.04 have 2.31.
const NEWEST: Glibc = Glibc { major: 2, minor: 35 };

/// The program of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    /// What it needs to start; `None` if it needs none.
    pub(crate) glibc: Option<Glibc>,
}

/// A version of the C library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Glibc {
    major: u32,
    minor: u32,
}

impl fmt::Display for Glibc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "glibc {}.{}", self.major, self.minor)
    }
}

impl Glibc {
    /// Of the version that a symbol has: `GLIBC_2.34`, or `GLIBC_2.2.5` of old ones.
    fn of_symbol(version: &[u8]) -> Option<Glibc> {
        let text = std::str::from_utf8(version).ok()?.strip_prefix("GLIBC_")?;
        let mut numbers = text.split('.').map(str::parse);
        Some(Glibc { major: numbers.next()?.ok()?, minor: numbers.next()?.ok()? })
    }
}

/// The program, if it is one that computes can run.
///
/// # Errors
/// [`SystemError::Program`]: there is none, or it is for another system or a newer one.
pub(crate) fn fit(program: Option<&Path>) -> Result<Program> {
    let path = program.ok_or_else(|| SystemError::Program {
        path: "olive".into(),
        reason: "it is not known where this program lies".into(),
    })?;
    let unfit = |reason: String| SystemError::Program { path: path.to_owned(), reason };
    let file = File::open(path).map_err(|error| unfit(error.to_string()))?;
    let glibc = needed(&ReadCache::new(file)).map_err(unfit)?;
    if let Some(newer) = glibc.filter(|glibc| *glibc > NEWEST) {
        return Err(unfit(format!("it needs {newer}, and images of jobs have {NEWEST} or older")).into());
    }
    Ok(Program { path: path.to_owned(), glibc })
}

/// The newest version of glibc among those that the symbols of a program need, as its section `.gnu.version_r` lists them.
///
/// # Errors
/// Why it is no program for 64-bit Linux on x86-64.
fn needed<'d>(file: impl ReadRef<'d>) -> Result<Option<Glibc>, String> {
    let no_program = |_| "it is no program for 64-bit Linux".to_owned();
    let header = FileHeader64::<LittleEndian>::parse(file).map_err(no_program)?;
    let endian = header.endian().map_err(no_program)?;
    let machine = header.e_machine(endian);
    if machine != EM_X86_64 {
        return Err(format!("it is for another processor than x86-64 (ELF machine {machine})"));
    }
    let damaged = |error: object::Error| format!("the file is damaged: {error}");
    let sections = header.sections(endian, file).map_err(damaged)?;
    let mut newest = None;
    for section in sections.iter() {
        let Some((mut libraries, strings)) = section.gnu_verneed(endian, file).map_err(damaged)? else {
            continue;
        };
        let strings = sections.strings(endian, file, strings).map_err(damaged)?;
        while let Some((_, mut versions)) = libraries.next().map_err(damaged)? {
            while let Some(version) = versions.next().map_err(damaged)? {
                let name = version.name(endian, strings).map_err(damaged)?;
                newest = newest.max(Glibc::of_symbol(name));
            }
        }
    }
    Ok(newest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: usize = 64;
    const SECTION: usize = 64;

    /// A head of 64 bits, little-endian, for this processor, with `sections` sections behind the header. The last holds names.
    fn head(machine: u16, sections: u16) -> Vec<u8> {
        let mut head = vec![0x7f, b'E', b'L', b'F', 2, 1, 1];
        head.resize(16, 0);
        head.extend([3, 0]);
        head.extend(machine.to_le_bytes());
        head.extend(1_u32.to_le_bytes());
        head.extend([0; 16]);
        head.extend((if sections > 0 { HEADER as u64 } else { 0 }).to_le_bytes());
        head.extend([0; 4]);
        for field in [HEADER as u16, 0, 0, SECTION as u16, sections, sections.saturating_sub(1)] {
            head.extend(field.to_le_bytes());
        }
        head
    }

    fn section(kind: u32, offset: usize, size: usize, link: u32, info: u32) -> Vec<u8> {
        let mut section = Vec::new();
        section.extend(0_u32.to_le_bytes());
        section.extend(kind.to_le_bytes());
        section.extend([0; 16]);
        section.extend((offset as u64).to_le_bytes());
        section.extend((size as u64).to_le_bytes());
        section.extend(link.to_le_bytes());
        section.extend(info.to_le_bytes());
        section.extend([0; 16]);
        section
    }

    /// A program whose only library has to have these versions of symbols.
    fn program(versions: &[&str]) -> Vec<u8> {
        let mut names = b"\0libc.so.6\0".to_vec();
        let mut needs = Vec::new();
        needs.extend(1_u16.to_le_bytes());
        needs.extend((versions.len() as u16).to_le_bytes());
        needs.extend([1_u32, 16, 0].map(u32::to_le_bytes).concat());
        for (number, version) in versions.iter().enumerate() {
            let next = if number + 1 < versions.len() { 16 } else { 0 };
            needs.extend([0; 8]);
            needs.extend([names.len() as u32, next].map(u32::to_le_bytes).concat());
            names.extend(version.as_bytes());
            names.push(0);
        }
        let needs_at = HEADER + 3 * SECTION;
        let names_at = needs_at + needs.len();
        let mut program = head(EM_X86_64.0, 3);
        program.extend(section(0, 0, 0, 0, 0));
        program.extend(section(0x6fff_fffe, needs_at, needs.len(), 2, 1));
        program.extend(section(3, names_at, names.len(), 0, 0));
        program.extend(needs);
        program.extend(names);
        program
    }

    fn fit_bytes(bytes: &[u8]) -> Result<Program> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("olive");
        std::fs::write(&path, bytes).unwrap();
        fit(Some(&path))
    }

    #[test]
    fn the_newest_version_counts() {
        let glibc = |versions: &[&str]| fit_bytes(&program(versions)).unwrap().glibc.map(|it| it.to_string());
        let of_many = ["GLIBC_2.4", "GLIBC_2.28", "GLIBC_2.2.5", "GLIBC_PRIVATE", "GCC_3.0"];
        assert_eq!(glibc(&of_many).unwrap(), "glibc 2.28");
        assert_eq!(glibc(&["GLIBC_2.35"]).unwrap(), "glibc 2.35");
        assert_eq!(glibc(&["GCC_3.0"]), None);
        // Linked statically.
        assert_eq!(fit_bytes(&head(EM_X86_64.0, 0)).unwrap().glibc, None);
    }

    #[test]
    fn what_images_cannot_run_is_refused() {
        let refusal = |bytes: &[u8]| {
            let error = fit_bytes(bytes).unwrap_err();
            assert!(error.hint().unwrap().contains("scripts/build-portable"));
            error.to_string().split_once("the program of a job: ").unwrap().1.to_owned()
        };
        let newer = refusal(&program(&["GLIBC_2.2.5", "GLIBC_2.36"]));
        assert_eq!(newer, "it needs glibc 2.36, and images of jobs have glibc 2.35 or older");
        assert!(refusal(&program(&["GLIBC_2.100"])).starts_with("it needs glibc 2.100,"));
        assert_eq!(refusal(&head(183, 0)), "it is for another processor than x86-64 (ELF machine 183)");
        assert_eq!(refusal(b"#!/bin/sh\n"), "it is no program for 64-bit Linux");
        assert_eq!(refusal(&program(&[])[..20]), "it is no program for 64-bit Linux");
        let mut cut = program(&["GLIBC_2.28"]);
        cut.truncate(HEADER + 3 * SECTION + 8);
        assert!(refusal(&cut).starts_with("the file is damaged: "));
    }
}
