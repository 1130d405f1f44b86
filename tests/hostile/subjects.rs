//! What is changed: files of every kind, small and sound, with the command that reads them.

use super::numbers::{below, one_of};
use super::support::binary::olive;
use super::support::models::fixture;
use super::support::quickstart::base_model;
use olive_engine::cache::Store;
use olive_model::{SourceOptions, resolve};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Contents by path.
pub type Files = BTreeMap<String, Vec<u8>>;

/// A folder, the file in it that is changed, and the command that is run there.
pub struct Subject {
    pub files: Files,
    pub changed: String,
    pub arguments: Vec<String>,
}

/// All that can be chosen from.
pub struct Subjects {
    /// Hugging Face folders with a tokenizer, of different families, too small to be exported.
    models: Vec<Files>,
    /// One that can be trained and exported.
    whole: Files,
    gguf: Vec<Vec<u8>>,
    adapter: Files,
    /// Empty without ONNX Runtime.
    onnx: Files,
    data: Files,
}

pub fn write(files: &Files, dir: &Path) {
    for (name, content) in files {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, content).expect("a file");
    }
}

/// The files of a folder, `prefix` before their names.
fn read(dir: &Path, prefix: &str) -> Files {
    let entries = std::fs::read_dir(dir).expect("a folder").map(|entry| entry.expect("an entry"));
    let files = entries.filter(|entry| entry.path().is_file());
    files
        .map(|entry| {
            let name = format!("{prefix}{}", entry.file_name().display());
            (name, std::fs::read(entry.path()).expect("a file"))
        })
        .collect()
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

const GENERATE: &str = "generate --raw --prompt he --max-new-tokens 2 --quiet";
const EXPORT: &str = "export --to out.gguf";
const INIT: &str = "init project --yes --model model --max-steps 2";
const RUN: &str = "run --config olive.json";

/// A pipeline of one step of training, a merge and an export.
fn pipeline(passes: &[&str], data_file: &str) -> Value {
    let format = Path::new(data_file).extension().and_then(|e| e.to_str()).unwrap_or_default();
    let mut config = json!({
        "input_model": {"type": "HfModel", "model_path": "model"},
        "data_configs": [{"name": "data", "type": "HuggingfaceContainer",
            "load_dataset_config": {"data_name": if format == "jsonl" { "json" } else { format },
                "data_files": data_file, "split": "train"},
            "pre_process_data_config": {"text_template": "{text}", "max_seq_len": 16, "strategy": "line-by-line",
                "pad_to_max_len": false}}],
        "passes": {
            "lora": {"type": "LoRA", "r": 2, "train_data_config": "data", "training_args": {"max_steps": 1,
                "per_device_train_batch_size": 1, "logging_steps": 1, "evaluation_strategy": "no"}},
            "merge": {"type": "MergeAdapterWeights"},
            "builder": {"type": "ModelBuilder", "precision": "int4"},
        },
        "cache_dir": "cache", "output_dir": "result",
    });
    config["passes"].as_object_mut().expect("an object").retain(|name, _| passes.contains(&name.as_str()));
    config
}

impl Subjects {
    pub fn make() -> Subjects {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let families = fixture("gguf").join("families");
        let names = ["llama", "mistral", "phi3", "gemma3", "granite", "olmo3", "smollm3", "glm4"];
        let files: Vec<_> = names.iter().map(|name| families.join(name).with_extension("gguf")).collect();
        let options = SourceOptions {
            offline: true,
            conversions: Some(Arc::new(Store::new(&dir.path().join("conversions")))),
            ..SourceOptions::default()
        };
        let models = files.iter().map(|file| {
            let folder = resolve(file.to_str().expect("a name"), None, &options, &()).expect("converted");
            read(&folder, "model/")
        });
        let quantised = ["gptq", "gptq-mixed", "gptq-order", "awq", "nf4", "fp4", "fp8"].map(|format| {
            let mut files = read(&fixture("quantised").join(format), "model/");
            let tokenizer = std::fs::read(fixture("quantised/tokenizer.json")).expect("a file");
            files.insert("model/tokenizer.json".into(), tokenizer);
            files
        });
        let mut subjects = Subjects {
            models: models.chain(quantised).collect(),
            whole: read(&base_model(), "model/"),
            gguf: files.iter().map(|file| std::fs::read(file).expect("a file")).collect(),
            adapter: Files::new(),
            onnx: Files::new(),
            data: data(),
        };
        subjects.train_and_export(dir.path());
        subjects
    }

    /// Makes the adapter and the ONNX model.
    fn train_and_export(&mut self, dir: &Path) {
        write(&self.whole, dir);
        write(&self.data, dir);
        for (passes, output) in [(&["lora"][..], "trained"), (&["builder"][..], "exported")] {
            let mut config = pipeline(passes, "rows.jsonl");
            config["output_dir"] = output.into();
            std::fs::write(dir.join("olive.json"), config.to_string()).expect("a file");
            let run = olive().current_dir(dir).args(words(RUN)).output().expect("the binary starts");
            assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        }
        self.adapter = read(&dir.join("trained/adapter"), "adapter/");
        self.adapter.retain(|name, _| name.contains("adapter_"));
        self.onnx = read(&dir.join("exported"), "onnx/");
    }

    /// A subject with the file that is to be changed.
    pub fn choose(&self, rng: &mut ChaCha8Rng) -> Subject {
        let kind = below(rng, 12);
        let mut files = self.whole.clone();
        let configure = |files: &mut Files, passes: &[&str], data_file: &str| {
            let mut config = pipeline(passes, data_file);
            if passes[0] == "merge" {
                config["input_model"]["adapter_path"] = "adapter".into();
            }
            files.insert("olive.json".into(), config.to_string().into_bytes());
        };
        let (part, command) = match kind {
            0 => {
                files = one_of(rng, &self.models);
                ("model/", format!("{GENERATE} model"))
            }
            1 => {
                configure(&mut files, &["builder"], "rows.jsonl");
                ("model/", RUN.to_owned())
            }
            2 => {
                files = Files::from([("model.gguf".into(), one_of(rng, &self.gguf))]);
                ("model.gguf", format!("{GENERATE} model.gguf"))
            }
            3 => {
                files.extend(self.adapter.clone());
                configure(&mut files, &["merge", "builder"], "rows.jsonl");
                ("adapter/", RUN.to_owned())
            }
            4 => {
                files.extend(self.data.clone());
                let file = one_of(rng, &["rows.jsonl", "rows.csv", "rows.parquet"]);
                configure(&mut files, &["lora"], file);
                (file, RUN.to_owned())
            }
            5 => {
                files.extend(self.data.clone());
                configure(&mut files, &["lora", "merge", "builder"], "rows.jsonl");
                ("olive.json", one_of(rng, &["validate --config olive.json", RUN]).to_owned())
            }
            6 => {
                files.extend(self.data.clone());
                configure(&mut files, &["lora"], "rows.jsonl");
                ("model/", RUN.to_owned())
            }
            7 => {
                files.clone_from(&self.onnx);
                ("onnx/genai_config.json", format!("{GENERATE} onnx"))
            }
            8 => {
                let precision = one_of(rng, &["f32", "f16", "q8_0", "q4_0"]);
                ("model/", format!("{EXPORT} model --modelfile --precision {precision}"))
            }
            9 => {
                files.extend(self.adapter.clone());
                ("adapter/", format!("{EXPORT} adapter --adapter-only --base model"))
            }
            10 => {
                files.extend(self.data.clone());
                let file = one_of(rng, &["rows.jsonl", "rows.csv", "rows.parquet"]);
                (file, format!("{INIT} --data {file}"))
            }
            _ => ("model/", format!("{GENERATE} model")),
        };
        let changed: Vec<&String> = files.keys().filter(|name| name.starts_with(part)).collect();
        let changed = changed[below(rng, changed.len())].clone();
        Subject { files, changed, arguments: words(&command) }
    }
}

/// Rows of one column `text`, in all formats.
fn data() -> Files {
    let texts = ["he he he", "hehe he", "he", "he hehehe he"];
    let lines = texts.map(|text| json!({ "text": text }).to_string());
    let parquet = fixture("data/rows-snappy.parquet");
    Files::from([
        ("rows.jsonl".into(), lines.join("\n").into_bytes()),
        ("rows.csv".into(), format!("text\n{}\n", texts.join("\n")).into_bytes()),
        ("rows.parquet".into(), std::fs::read(parquet).expect("a file")),
    ])
}
