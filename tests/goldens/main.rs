//! Every folder found under `OLIVE_GOLDENS` is a case; each prints one line.

mod models;
mod train;

use std::io::Write;
use std::path::PathBuf;

/// Prints a line past the test harness, which would hide it when the test passes.
fn say(line: &str) {
    // Without a terminal or file to write to there is nobody to tell.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Folders of `<goldens>/<kind>` in order, or nothing when the goldens are not there.
fn cases(kind: &str) -> Vec<PathBuf> {
    let root = std::env::var_os("OLIVE_GOLDENS")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/goldens"), PathBuf::from);
    let Ok(entries) = std::fs::read_dir(root.join(kind)) else {
        say(&format!("skipped: there are no goldens in {}", root.join(kind).display()));
        return Vec::new();
    };
    let mut folders: Vec<PathBuf> =
        entries.filter_map(|e| e.ok().map(|e| e.path())).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}
