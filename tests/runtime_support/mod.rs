//! What the tests of running models share.
#![allow(dead_code, reason = "every test file uses its own part of this")]
#![allow(clippy::print_stdout, reason = "what is skipped is said")]

use assert_cmd::Command;
use olive_runtime::{Library, LibrarySearch};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The binary under test.
pub(crate) fn olive() -> Command {
    Command::cargo_bin("olive").expect("the binary is built with the tests")
}

/// A folder of the reference material, or `None` with a message when it is not on this machine.
pub(crate) fn goldens(relative: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let base = std::env::var_os("OLIVE_GOLDENS")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("OLIVE_SHARED").map(|shared| PathBuf::from(shared).join("goldens")));
    let path = base.unwrap_or_else(|| root.join("../shared/goldens")).join(relative);
    if !path.exists() {
        println!("skipped: `{}` is not there", path.display());
        return None;
    }
    Some(path)
}

/// What the binary answers with this model; it must answer.
pub(crate) fn answer(model: &Path) -> String {
    library();
    let answer = olive()
        .args(["generate", "--quiet", "--prompt", "What is Olive?", "--max-new-tokens", "4"])
        .arg(model)
        .output()
        .expect("the binary starts");
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    let answer = String::from_utf8(answer.stdout).expect("text");
    assert!(!answer.trim().is_empty());
    answer
}

/// ONNX Runtime, found or fetched as the binary does it.
pub(crate) fn library() -> Library {
    static LIBRARY: OnceLock<Library> = OnceLock::new();
    LIBRARY
        .get_or_init(|| {
            let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
            let cache = cache.or_else(|| Some(std::env::home_dir()?.join(".cache")));
            let search = LibrarySearch {
                env: std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from),
                cache: cache.map(|dir| dir.join("olive")),
                ask_python: true,
                ..Default::default()
            };
            search.find_or_fetch(&()).expect("ONNX Runtime can be found or fetched")
        })
        .clone()
}
