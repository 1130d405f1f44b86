//! ONNX Runtime.

use olive_runtime::{Library, LibrarySearch, Programs, Wheel};
use std::path::PathBuf;
use std::sync::OnceLock;

/// ONNX Runtime, found or fetched as the binary does it.
pub fn library() -> Library {
    static LIBRARY: OnceLock<Library> = OnceLock::new();
    LIBRARY
        .get_or_init(|| {
            let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
            let cache = cache.or_else(|| Some(std::env::home_dir()?.join(".cache")));
            let search = LibrarySearch {
                env: std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from),
                cache: cache.map(|dir| dir.join("olive")),
                programs: Programs::of_path(&std::env::var_os("PATH").unwrap_or_default()),
                wheel: Wheel::of_this_machine(),
                ..Default::default()
            };
            search.find_or_fetch(&()).expect("ONNX Runtime can be found or fetched")
        })
        .clone()
}
