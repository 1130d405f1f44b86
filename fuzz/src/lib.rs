//! What a file may do to the program: one function per kind of file, which reads it as the program would. An error is an
//! answer; a panic, a crash, a hang and memory without bounds are findings.
//!
//! `scripts/fuzz` builds and runs these with libFuzzer, on the stable toolchain too.

use olive_config::LoadOptions;
use olive_config::canonical::{DataFiles, LoadDataset};
use olive_data::template::Template;
use olive_data::{ChatTemplate, GenerationPrompt, Location, Numbering, SpecialTokens, load_rows};
use olive_engine::cache::Store;
use olive_engine::{Plan, REGISTRY, RunConfig};
use olive_model::{Adapter, AdapterConfig, ModelFolder, SourceOptions};
use olive_onnx::{BuildOptions, ModelBuilderOptions, Precision, add_metadata};
use olive_runtime::GenaiConfig;
use std::cell::LazyCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

thread_local! {
    static FOLDER: LazyCell<TempDir> = LazyCell::new(|| {
        // Files in memory are faster.
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        tempfile::Builder::new().prefix("olive-fuzz-").tempdir_in(place).expect("a folder can be made")
    });
}

/// A tiny Llama and the quickstart's model with a tokenizer, next to which other files are tried.
const LLAMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/models/llama31");
const PHI3: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../model-cache/tiny-phi3");

/// Several files in one input.
const SEPARATOR: &[u8] = b"\n=====\n";

/// Undoes the hook that ends the process at any panic: those of readers that we guard are caught.
pub fn start() {
    drop(std::panic::take_hook());
}

fn folder() -> PathBuf {
    FOLDER.with(|folder| folder.path().to_owned())
}

/// The files of an input, written into the folder; those that the input lacks are empty.
fn files(names: &[&str], data: &[u8]) -> PathBuf {
    let dir = folder();
    let mut rest = data;
    for name in names {
        let end = rest.windows(SEPARATOR.len()).position(|window| window == SEPARATOR);
        let content = &rest[..end.unwrap_or(rest.len())];
        std::fs::write(dir.join(name), content).expect("the folder can be written");
        rest = end.map_or(&[], |end| &rest[end + SEPARATOR.len()..]);
    }
    dir
}

/// A file of one of our models in the folder.
fn with(model: &str, name: &str) {
    let to = folder().join(name);
    if !to.exists() {
        std::fs::copy(Path::new(model).join(name), to).expect("the model is there");
    }
}

/// `olive-config.json` or, after a first `#`, YAML.
pub fn configuration(data: &[u8]) {
    let name = if data.starts_with(b"#") { "olive-config.yaml" } else { "olive-config.json" };
    let path = files(&[name], data).join(name);
    if let Ok(config) = RunConfig::load(&path, &LoadOptions::default(), &REGISTRY)
        && let Ok(plan) = Plan::new(&config)
    {
        let _ = plan.check(olive_engine::Host::is_here);
    }
}

/// `config.json` of a model.
pub fn model_config(data: &[u8]) {
    with(LLAMA, "model.safetensors");
    let dir = files(&["config.json"], data);
    let _ = ModelFolder::open(&dir).and_then(|folder| folder.spec());
}

/// `model.safetensors`.
pub fn safetensors(data: &[u8]) {
    with(LLAMA, "config.json");
    let dir = files(&["model.safetensors"], data);
    let Ok(folder) = ModelFolder::open(&dir) else { return };
    let _ = folder.spec();
    if let Ok(checkpoint) = folder.checkpoint() {
        for tensor in checkpoint.tensors() {
            let _ = tensor.to_f32();
        }
    }
}

/// A GGUF file, as far as its conversion to a folder.
pub fn gguf(data: &[u8]) {
    let dir = files(&["model.gguf"], data);
    let cache = dir.join("converted");
    let options = SourceOptions { conversions: Some(Arc::new(Store::new(&cache))), ..Default::default() };
    let _ = olive_model::gguf::import(&dir.join("model.gguf"), &options, &());
    let _ = std::fs::remove_dir_all(cache);
}

/// `tokenizer.json`, `tokenizer_config.json` and a text.
pub fn tokenizer(data: &[u8]) {
    with(LLAMA, "config.json");
    let dir = files(&["tokenizer.json", "tokenizer_config.json", "text"], data);
    let Ok(folder) = ModelFolder::open(&dir) else { return };
    let _ = SpecialTokens::from_folder(&folder);
    let Ok(tokenizer) = folder.tokenizer() else { return };
    let text = std::fs::read(dir.join("text")).unwrap_or_default();
    if let Ok(encoding) = tokenizer.encode(&*String::from_utf8_lossy(&text), true) {
        let _ = tokenizer.decode(encoding.get_ids(), false);
    }
}

/// `adapter_config.json` and `adapter_model.safetensors`.
pub fn adapter(data: &[u8]) {
    let dir = files(&["adapter_config.json", "adapter_model.safetensors"], data);
    if let Ok(config) = AdapterConfig::open(&dir) {
        let _ = config.scale();
    }
    let _ = Adapter::open(&dir);
}

/// `genai_config.json`.
pub fn genai_config(data: &[u8]) {
    let dir = files(&[GenaiConfig::FILE], data);
    if let Ok(config) = GenaiConfig::load(&dir) {
        let _ = (config.rope_switch(&dir), config.onnx_file(&dir));
    }
}

/// `model.onnx` beside a `config.json`, to which ModelBuilder adds metadata.
pub fn onnx_graph(data: &[u8]) {
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
        with(PHI3, name);
    }
    let dir = files(&["model.onnx"], data);
    let out = dir.join("out");
    let _ = std::fs::create_dir(&out);
    let options = ModelBuilderOptions::new(Precision::Fp32, "cpu");
    if let Ok(options) = BuildOptions::new(&options) {
        let _ = add_metadata(&dir, &options, &out);
    }
    let _ = std::fs::remove_dir_all(out);
}

/// A chat template and messages.
pub fn chat_template(data: &[u8]) {
    with(LLAMA, "config.json");
    let dir = files(&["chat_template.jinja", "messages.json"], data);
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap_or_default();
    let Ok(messages) = serde_json::from_str::<serde_json::Value>(&read("messages.json")) else { return };
    let Ok(folder) = ModelFolder::open(&dir) else { return };
    let Ok(tokens) = SpecialTokens::from_folder(&folder) else { return };
    if let Ok(template) = ChatTemplate::new(&read("chat_template.jinja"), &tokens) {
        let _ = template.render_value(&olive_data::Value::from(&messages), GenerationPrompt::Add);
    }
}

/// A `text_template`, which is a Python format string, and the row that it is made of.
pub fn text_template(data: &[u8]) {
    let dir = files(&["template", "row.json"], data);
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap_or_default();
    let row = serde_json::from_str::<serde_json::Value>(&read("row.json")).unwrap_or_default();
    if let Ok(template) = Template::parse(&read("template")) {
        let row = olive_data::Value::from(&row);
        let place = || Location { path: dir.join("row.json"), number: 1, numbering: Numbering::Rows };
        let _ = template.format(&|_| Ok(&row), &place);
    }
}

/// Rows; the first byte says in which format.
pub fn rows(data: &[u8]) {
    const FORMATS: [(&str, &str); 8] = [
        ("json", "rows.jsonl"),
        ("json", "rows.json"),
        ("csv", "rows.csv"),
        ("text", "rows.txt"),
        ("parquet", "rows.parquet"),
        ("json", "rows.jsonl.gz"),
        ("json", "rows.jsonl.zst"),
        ("csv", "rows.csv.xz"),
    ];
    let Some((first, data)) = data.split_first() else { return };
    let (data_name, name) = FORMATS[usize::from(*first) % FORMATS.len()];
    let path = folder().join(name);
    std::fs::write(&path, data).expect("the folder can be written");
    let _ = load_rows(&LoadDataset {
        data_name: data_name.into(),
        subset: None,
        split: "train".into(),
        data_dir: None,
        data_files: DataFiles::Local(vec![path.to_string_lossy().into_owned()]),
        col_filters: BTreeMap::new(),
        field: None,
        reader: Default::default(),
    });
}
