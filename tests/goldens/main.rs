//! Every folder found under `OLIVE_GOLDENS` is a case: `cargo test --release --test goldens -- --nocapture`.

mod models;

use std::path::PathBuf;

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

/// Prints a line that the test harness does not hold back when the test passes.
fn say(line: &str) {
    use std::io::Write;
    let mut out = std::io::stdout();
    writeln!(out, "{line}").unwrap();
}
