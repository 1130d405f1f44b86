//! The quickstart's pipeline, in a folder of its own.

use super::binary::{olive, root};
use assert_cmd::Command;
use serde_json::Value;
use std::path::PathBuf;
use tempfile::TempDir;

const CONFIG: &str = "configs/quickstart/olive-config.json";

/// The small model that the quickstart trains: Phi-3 with a byte-level tokenizer and a chat template.
pub fn base_model() -> PathBuf {
    root().join("model-cache/tiny-phi3")
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

    /// The output of the only artefact of a pass.
    pub fn artefact(&self, pass_type: &str) -> PathBuf {
        let found = self.artefacts(pass_type);
        assert_eq!(found.len(), 1, "one artefact of {pass_type}");
        found[0].join("output")
    }

    /// The quickstart's configuration with these of its passes only.
    pub fn configuration(passes: &[&str]) -> Value {
        let file = std::fs::read_to_string(root().join(CONFIG)).unwrap();
        let mut config: Value = serde_json::from_str(&file).unwrap();
        config["passes"].as_object_mut().unwrap().retain(|name, _| passes.contains(&name.as_str()));
        config
    }

    /// The arguments of `olive run` (or, from the second on, of `validate`) for this pipeline, with more overrides.
    pub fn arguments(&self, more: &[&str]) -> Vec<String> {
        let mut set = vec![
            format!("engine.cache_dir={}", self.cache().display()),
            format!("engine.output_dir={}", self.output().display()),
            format!("passes.lora.config.training_args.max_steps={}", self.steps),
        ];
        set.extend(more.iter().map(|s| (*s).to_owned()));
        set.into_iter().flat_map(|s| ["--set".to_owned(), s]).collect()
    }

    pub fn run(&self, more: &[&str]) -> Command {
        let mut command = olive();
        command.args(["run", "--config", CONFIG]).args(self.arguments(more));
        command
    }

    /// A run that goes on by itself and tells its events as JSON on stderr.
    pub fn start(&self, more: &[&str]) -> std::process::Child {
        super::binary::olive_process()
            .args(["run", "--log-format", "json", "--config", CONFIG])
            .args(self.arguments(more))
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap()
    }
}
