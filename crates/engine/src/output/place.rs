//! Folders that no result belongs into.

use crate::EngineError;
use olive_core::Result;
use std::path::{Component, Path, PathBuf};

/// What belongs to the system, itself and with all that is in it.
const SYSTEM: [&str; 3] = ["/dev", "/proc", "/sys"];

/// Below [`SYSTEM`], and memory like any other.
const SHARED_MEMORY: &str = "/dev/shm";

/// Folders full of the folders of others.
const SHARED: [&str; 13] = [
    "/", "/bin", "/boot", "/etc", "/home", "/lib", "/lib64", "/opt", "/root", "/run", "/sbin", "/usr", "/var",
];

/// Refuses a folder of the system, one with the user's folder in it, and the cache.
///
/// # Errors
/// [`EngineError::OutputPlace`].
pub(super) fn check(output_dir: &Path, cache_dir: &Path, home: Option<&Path>) -> Result<()> {
    let dir = resolved(output_dir);
    let refuse = |what: &'static str| EngineError::OutputPlace { path: output_dir.to_owned(), what };
    let is_system = SYSTEM.iter().any(|system| dir.starts_with(system));
    if is_system && (!dir.starts_with(SHARED_MEMORY) || dir == Path::new(SHARED_MEMORY)) {
        return Err(refuse("a folder of the system").into());
    }
    if SHARED.iter().any(|shared| dir == resolved(Path::new(shared))) {
        return Err(refuse("a folder of the system").into());
    }
    if home.is_some_and(|home| resolved(home).starts_with(&dir)) {
        return Err(refuse("your home folder, or above it").into());
    }
    let cache = resolved(cache_dir);
    if dir == cache || dir.starts_with(cache.join("passes-v1")) {
        return Err(refuse("the cache").into());
    }
    Ok(())
}

/// The path without links and dots, as far as it is there.
fn resolved(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut resolved = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(resolved.pop()),
            part => resolved.push(part),
        }
        if let Ok(real) = resolved.canonicalize() {
            resolved = real;
        }
    }
    resolved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_others_are_no_places_for_results() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["home", "cache/passes-v1"] {
            std::fs::create_dir_all(at(name)).unwrap();
        }
        std::os::unix::fs::symlink("/", at("root")).unwrap();
        let (home, cache) = (at("home"), at("cache"));
        let refused = |path: &Path| check(path, &cache, Some(&home)).is_err();
        for path in [
            "/",
            "/dev",
            "/dev/x/y",
            "/proc/self",
            "/sys/new",
            "/usr/../etc",
            "/dev/shm",
            "/home",
            "/bin",
            "/usr/bin/..",
        ] {
            assert!(refused(Path::new(path)), "{path}");
        }
        for name in [
            "home",
            "",
            "home/x/..",
            "root",
            "root/dev",
            "cache",
            "cache/passes-v1",
            "cache/passes-v1/LoRA/x",
        ] {
            assert!(refused(&at(name)), "{name}");
        }
        for path in [at("home/out"), at("out"), at("cache/out"), "/dev/shm/out".into(), "/tmp/out".into()] {
            assert!(!refused(&path), "{}", path.display());
        }
    }
}
