//! The shared reference material: goldens, data and configurations that are not part of the project.

use super::binary::root;
use std::io::Write;
use std::path::PathBuf;

/// Prints a line past the test harness, which would hide it when the test passes.
pub fn say(line: &str) {
    // Without a terminal or file to write to there is nobody to tell.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// A file or folder of the shared material, which `OLIVE_SHARED` names or which lies beside the checkout. `None`, after
/// saying so, on a machine without it; with `CI` set that is a failure, so that nothing is left out there unnoticed.
pub fn shared(relative: &str) -> Option<PathBuf> {
    let base = std::env::var_os("OLIVE_SHARED").map_or_else(|| root().join("../shared"), PathBuf::from);
    let path = base.join(relative);
    if path.exists() {
        return Some(path);
    }
    let missing = format!("{} is not there (OLIVE_SHARED names another place)", path.display());
    assert!(std::env::var_os("CI").is_none(), "{missing}, and CI is set");
    say(&format!("skipped: {missing}"));
    None
}

/// The folders in one of the shared material, in order.
pub fn shared_cases(relative: &str) -> Option<Vec<PathBuf>> {
    Some(folders(&shared(relative)?))
}

/// The folders in a folder, in order.
pub fn folders(dir: &std::path::Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut all: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).filter(|path| path.is_dir()).collect();
    all.sort();
    all
}
