//! Models that come with code: it moves along with what is made of them, or is no longer named.

use crate::support::binary::{run_configuration, text};
use crate::support::models::read_json;
use crate::support::tiny_model::{self, HIDDEN};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A model and an adapter for it, and what is made of them.
struct Coded {
    temp: TempDir,
}

impl Coded {
    fn new(auto_map: &Value, tokenizer: &Value) -> Coded {
        let coded = Coded { temp: tempfile::tempdir().unwrap() };
        std::fs::create_dir(coded.model()).unwrap();
        let mut config = tiny_model::config();
        config["auto_map"] = auto_map.clone();
        config["rms_norm_eps"] = json!(1e-5);
        tiny_model::write(&coded.model(), &config);
        let mut config = read_json(&coded.model().join("tokenizer_config.json"));
        config["auto_map"] = json!({"AutoTokenizer": tokenizer});
        std::fs::write(coded.model().join("tokenizer_config.json"), config.to_string()).unwrap();
        let adapter = tiny_model::adapter(&[("model.layers.0.self_attn.q_proj", HIDDEN, HIDDEN)]);
        adapter.save(&coded.temp.path().join("adapter")).unwrap();
        coded
    }

    fn model(&self) -> PathBuf {
        self.temp.path().join("base")
    }

    fn code(self, files: &[(&str, &str)]) -> Coded {
        for (name, code) in files {
            std::fs::write(self.model().join(name), code).unwrap();
        }
        self
    }

    /// The folder that a pass makes of it.
    fn made(&self, pass: Value) -> PathBuf {
        let out = self.temp.path().join(pass["type"].as_str().unwrap());
        let config = json!({
            "input_model": {"type": "HfModel", "model_path": self.model(), "adapter_path": self.temp.path().join("adapter")},
            "passes": {"pass": pass}, "cache_dir": self.temp.path().join("cache"), "output_dir": out,
        });
        let run = run_configuration(self.temp.path(), &config);
        assert!(run.status.success(), "{}", text(&run.stderr));
        if out.join("model/config.json").is_file() { out.join("model") } else { out }
    }

    fn merged(&self) -> PathBuf {
        self.made(json!({"type": "MergeAdapterWeights"}))
    }
}

fn code_in(dir: &Path) -> Vec<String> {
    let names =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".py")).collect();
    names.sort();
    names
}

fn same(name: &str, a: &Path, b: &Path) -> bool {
    std::fs::read(a.join(name)).unwrap() == std::fs::read(b.join(name)).unwrap()
}

const CONFIGURATION: (&str, &str) = ("configuration_x.py", "class XConfig: ...\n");
const MODELING: (&str, &str) = (
    "modeling_x.py",
    "import torch\nfrom .configuration_x import XConfig\nfrom .modeling_parts import Part\n",
);
const PARTS: (&str, &str) = ("modeling_parts.py", "from .configuration_x import XConfig\n");
const TOKENIZATION: (&str, &str) = ("tokenization_x.py", "");

fn map() -> Value {
    json!({
        "AutoConfig": "configuration_x.XConfig", "AutoModelForCausalLM": "modeling_x.XForCausalLM",
        "AutoModel": "someone/elsewhere--modeling_y.Y",
    })
}

#[test]
fn code_that_is_there_moves_along() {
    let coded = Coded::new(&map(), &json!(["tokenization_x.X", null]));
    let coded =
        coded.code(&[CONFIGURATION, MODELING, PARTS, TOKENIZATION, ("train.py", "raise SystemExit\n")]);
    for dir in [coded.merged(), coded.made(json!({"type": "ModelBuilder", "precision": "fp32"}))] {
        assert_eq!(code_in(&dir), [CONFIGURATION.0, PARTS.0, MODELING.0, TOKENIZATION.0]);
        assert!(same(MODELING.0, &dir, &coded.model()) && same("config.json", &dir, &coded.model()));
        assert!(read_json(&dir.join("tokenizer_config.json"))["auto_map"].is_object());
    }
    // A change of the code is a change of the result.
    let coded = coded.code(&[(TOKENIZATION.0, "# new\n")]);
    assert!(same(TOKENIZATION.0, &coded.merged(), &coded.model()));
}

#[test]
fn code_that_is_not_there_is_not_named() {
    let stays = ("train.py", "");
    let imports_it = ("modeling_parts.py", "from .train import step\n");
    for (files, left) in [
        (&[TOKENIZATION][..], &[TOKENIZATION.0][..]),
        // One that is imported is missing, or has a name that anybody could use.
        (&[CONFIGURATION, MODELING, TOKENIZATION], &[TOKENIZATION.0]),
        (&[CONFIGURATION, MODELING, imports_it, stays, TOKENIZATION], &[TOKENIZATION.0]),
    ] {
        let coded = Coded::new(&map(), &json!(["tokenization_x.X", null])).code(files);
        for dir in [coded.merged(), coded.made(json!({"type": "ModelBuilder", "precision": "fp32"}))] {
            assert_eq!(code_in(&dir), left);
            let mut expected = read_json(&coded.model().join("config.json"));
            expected.as_object_mut().unwrap().remove("auto_map");
            assert_eq!(read_json(&dir.join("config.json")), expected);
            assert!(read_json(&dir.join("tokenizer_config.json"))["auto_map"].is_object());
        }
    }
    let coded = Coded::new(&json!({"AutoConfig": "../outside.X"}), &json!("tokenization_x.X"));
    let dir = coded.merged();
    for name in ["config.json", "tokenizer_config.json"] {
        assert!(read_json(&dir.join(name))["auto_map"].is_null(), "{name}");
    }
}
