//! The C library that this process runs on, as its file says: `GNU C Library (Debian GLIBC 2.36-9) stable release version 2.36.`
//! is the beginning of what glibc prints when it is run (`csu/version.c`).

use std::path::Path;

const BEGIN: &[u8] = b"GNU C Library (";
const MIDDLE: &str = ") stable release version ";

/// Version and packager of glibc: `2.36 (Debian GLIBC 2.36-9)`. `None` on other libraries and systems.
pub(super) fn loaded() -> Option<String> {
    let mapped = std::fs::read_to_string("/proc/self/maps").ok()?;
    let mut files = mapped.lines().filter_map(|line| Some(Path::new(&line[line.find('/')?..])));
    in_file(&std::fs::read(files.find(|path| is_library(path))?).ok()?)
}

/// `libc.so.6`, or before glibc 2.34 the file that it leads to: `libc-2.31.so`.
fn is_library(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name == "libc.so.6" || name.starts_with("libc-2.")
}

fn in_file(bytes: &[u8]) -> Option<String> {
    const LONGEST: usize = 256;
    let start = bytes.windows(BEGIN.len()).position(|window| window == BEGIN)? + BEGIN.len();
    let text = String::from_utf8_lossy(&bytes[start..bytes.len().min(start + LONGEST)]);
    let (packager, rest) = text.split_once(MIDDLE)?;
    let version: String = rest.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    Some(format!("{} ({packager})", version.trim_end_matches('.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_says_its_version_and_who_packed_it() {
        let file =
            b"\x7fELF\0GNU C Library (Ubuntu GLIBC 2.31-0ubuntu9.9) stable release version 2.31.\nCopyright";
        assert_eq!(in_file(file).as_deref(), Some("2.31 (Ubuntu GLIBC 2.31-0ubuntu9.9)"));
        assert_eq!(in_file(b"\x7fELF\0musl libc (x86_64)"), None);
        assert_eq!(in_file(b"GNU C Library ("), None);
    }
}
