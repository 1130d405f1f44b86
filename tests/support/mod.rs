//! What the tests of the binary share.
#![allow(dead_code, reason = "every test file uses its own part of this")]
#![allow(clippy::print_stderr, reason = "what is skipped is said")]

use assert_cmd::Command;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Root of the project; the binary runs here, as paths in configurations are relative to it.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// `olive`, started in the project's root.
pub fn olive() -> Command {
    let mut command = Command::cargo_bin("olive").expect("the binary is built with the tests");
    command.current_dir(root());
    command
}

/// A folder of the shared reference material, or `None` with a message when it is not on this machine.
#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
pub fn shared(relative: &str) -> Option<PathBuf> {
    let base = std::env::var_os("OLIVE_SHARED").map_or_else(|| root().join("../shared"), PathBuf::from);
    let path = base.join(relative);
    if !path.exists() {
        eprintln!("skipped: {} is not there", path.display());
        return None;
    }
    Some(path)
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The quickstart pipeline with cache and output in a folder of its own, and few steps.
pub struct Quickstart {
    pub dir: TempDir,
    pub steps: usize,
}

impl Quickstart {
    pub fn new(steps: usize) -> Quickstart {
        Quickstart { dir: tempfile::tempdir().expect("a temporary folder"), steps }
    }

    pub fn cache(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    pub fn output(&self) -> PathBuf {
        self.dir.path().join("output")
    }

    /// Folders of the finished artefacts of a pass in the cache.
    pub fn artefacts(&self, pass_type: &str) -> Vec<PathBuf> {
        let folders = std::fs::read_dir(self.cache().join("passes-v1").join(pass_type)).unwrap();
        folders.flatten().map(|e| e.path()).filter(|p| p.join("manifest.json").is_file()).collect()
    }

    /// The arguments of `olive run` (or, from the second on, of `validate`) for this pipeline, with more overrides.
    pub fn arguments(&self, more: &[String]) -> Vec<String> {
        let mut set = vec![
            format!("engine.cache_dir={}", self.cache().display()),
            format!("engine.output_dir={}", self.output().display()),
            format!("passes.lora.config.training_args.max_steps={}", self.steps),
        ];
        set.extend(more.iter().cloned());
        set.into_iter().flat_map(|s| ["--set".to_owned(), s]).collect()
    }

    pub fn run(&self, more: &[&str]) -> Command {
        let more: Vec<String> = more.iter().map(|s| (*s).to_owned()).collect();
        let mut command = olive();
        command.args(["run", "--config", "configs/quickstart/olive-config.json"]).args(self.arguments(&more));
        command
    }
}
