//! What the ONNX Runtime library is called, and where olive keeps it.

use std::path::{Path, PathBuf};

/// The release that is fetched when none is found.
pub const PINNED: &str = "1.32.0";

/// `<cache>/onnxruntime-<version>`.
pub(crate) fn cache_folder(cache: &Path) -> PathBuf {
    cache.join(format!("onnxruntime-{PINNED}"))
}

/// The library in a folder; of several versions, the last by name.
pub(crate) fn library_in(dir: &Path) -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(dir)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().is_some_and(|name| is_library(&name.to_string_lossy())))
        .collect();
    found.sort();
    found.pop()
}

/// `libonnxruntime.so[.version]`, `libonnxruntime[.version].dylib`, `onnxruntime.dll`.
pub(crate) fn is_library(name: &str) -> bool {
    if cfg!(windows) {
        name == "onnxruntime.dll"
    } else if cfg!(target_os = "macos") {
        name.starts_with("libonnxruntime.") && name.ends_with(".dylib")
    } else {
        name == "libonnxruntime.so" || name.starts_with("libonnxruntime.so.")
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    #[test]
    fn knows_the_library_by_name() {
        assert!(is_library("libonnxruntime.so.1.32.0"));
        assert!(is_library("libonnxruntime.so"));
        assert!(!is_library("libonnxruntime_providers_shared.so"));
        assert!(!is_library("libonnxruntime-genai.so"));
    }
}
