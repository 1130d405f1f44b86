//! The program that jobs run: a file for Linux on the processors of computes.

use crate::SystemError;
use olive_core::Result;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// `e_ident` and `e_machine` of an ELF file: the magic number, 64 bits, little-endian, and the processor at byte 18.
const ELF: [u8; 6] = [0x7f, b'E', b'L', b'F', 2, 1];
const X86_64: u16 = 62;

/// The program, if it is one that computes can run.
///
/// # Errors
/// [`SystemError::Program`]: there is none, or it is for another system.
pub(crate) fn fit(program: Option<&Path>) -> Result<PathBuf> {
    let path = program.ok_or_else(|| SystemError::Program {
        path: "olive".into(),
        reason: "it is not known where this program lies".into(),
    })?;
    let unfit = |reason: String| SystemError::Program { path: path.to_owned(), reason };
    let mut head = [0; 20];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut head));
    read.map_err(|error| unfit(error.to_string()))?;
    if head[..6] != ELF {
        return Err(unfit("it is no program for 64-bit Linux".into()).into());
    }
    let machine = u16::from_le_bytes([head[18], head[19]]);
    if machine != X86_64 {
        return Err(unfit(format!("it is for another processor than x86-64 (ELF machine {machine})")).into());
    }
    Ok(path.to_owned())
}
