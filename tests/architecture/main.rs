//! Whether the building is as `docs/ARCHITECTURE.md` draws it: crates use what is below them, and inside a crate no two
//! modules use each other in a circle; and whether the program is linked as it should be.

mod families;
mod modules;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod program;

use modules::Crate;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// From the bottom up. A crate may use those in front of it; the command, in `src/`, may use all.
const CRATES: [&str; 24] = [
    "commit",
    "core",
    "kernels",
    "arch",
    "model",
    "publish",
    "config",
    "decoder",
    "data",
    "export",
    "quantise",
    "train",
    "tracking",
    "onnx",
    "runtime",
    "evaluate",
    "azureml",
    "azureml-fake",
    "engine",
    "project",
    "report",
    "systems",
    "verbs",
    "serve",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn crates_use_what_is_below_them() {
    let mut folders: Vec<String> = std::fs::read_dir(root().join("crates"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    folders.sort();
    let mut known = CRATES.map(str::to_owned).to_vec();
    known.sort();
    assert_eq!(folders, known, "every crate has its place in the order");
    for (level, name) in CRATES.iter().enumerate() {
        let manifest = std::fs::read_to_string(root().join("crates").join(name).join("Cargo.toml")).unwrap();
        let used = manifest.lines().filter_map(|line| line.strip_prefix("olive-")?.split('.').next());
        for used in used {
            assert!(CRATES[..level].contains(&used), "olive-{name} uses olive-{used}, which is not below it");
        }
    }
}

#[test]
fn no_modules_use_each_other_in_a_circle() {
    let mut sources: BTreeMap<String, PathBuf> = CRATES
        .iter()
        .map(|name| ((*name).to_owned(), root().join("crates").join(name).join("src")))
        .collect();
    sources.insert("olive".into(), root().join("src"));
    let mut circles = Vec::new();
    for (name, folder) in &sources {
        let read = Crate::read(folder);
        assert!(read.len() > 1, "{name} has modules");
        circles.extend(read.circles().into_iter().map(|circle| format!("olive-{name}: {circle}")));
    }
    assert!(circles.is_empty(), "{} circles:\n{}", circles.len(), circles.join("\n"));
}

#[test]
fn a_circle_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("lib.rs", "mod a; mod b; pub use a::A; pub use b::inner::B;");
    write("a.rs", "use super::B; pub struct A(B);");
    write("b/mod.rs", "pub mod inner;");
    write("b/inner.rs", "pub struct B; #[cfg(test)] mod tests { use crate::A; }");
    assert_eq!(Crate::read(dir.path()).circles(), Vec::<String>::new(), "tests may look up");
    write("b/inner.rs", "pub struct B; fn f(_: Option<crate::A>) {}");
    let circles = Crate::read(dir.path()).circles();
    assert_eq!(circles, ["a -> b -> a (a uses b::inner, b::inner uses a)"]);
}
