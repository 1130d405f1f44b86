//! A toy model, and what the program makes of data for it.

use crate::support::models;
use olive_config::canonical::{DataConfig, LoadDataset, TextGeneration};
use olive_core::cancel::CancelFlag;
use olive_core::event::EventSink;
use olive_data as data;
use olive_data::Dataset;
use olive_model::ModelFolder;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// A file of `tests/fixtures/data`.
pub(crate) fn fixture(name: &str) -> PathBuf {
    models::fixture("data").join(name)
}

pub(crate) fn fixture_json(name: &str) -> Value {
    models::read_json(&fixture(name))
}

pub(crate) fn write(dir: &Path, name: &str, content: impl AsRef<[u8]>) -> String {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A model whose tokenizer maps the words "3" to "99" to these numbers, with bos 1 and eos = pad = 2.
pub(crate) fn toy_model(dir: &Path) -> ModelFolder {
    let mut vocab = serde_json::Map::new();
    for (id, word) in ["<unk>", "<s>", "</s>"].iter().enumerate() {
        vocab.insert((*word).into(), id.into());
    }
    for id in 3..100 {
        vocab.insert(id.to_string(), id.into());
    }
    let added = |id: u32, content: &str| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
               "normalized": false, "special": true})
    };
    let tokenizer = json!({
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0},
        "padding": null,
        "added_tokens": [added(0, "<unk>"), added(1, "<s>"), added(2, "</s>")],
        "normalizer": null,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": null,
        "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "<unk>"},
    });
    write(dir, "tokenizer.json", tokenizer.to_string());
    write(dir, "config.json", "{}");
    let config = json!({"bos_token": "<s>", "eos_token": {"content": "</s>"}, "pad_token": "</s>",
                        "unk_token": "<unk>", "padding_side": "left"});
    write(dir, "tokenizer_config.json", config.to_string());
    ModelFolder::open(dir).unwrap()
}

pub(crate) fn prepare(
    load: LoadDataset,
    options: TextGeneration,
    model: &ModelFolder,
) -> olive_core::Result<Dataset> {
    prepare_with(load, options, model, &())
}

pub(crate) fn prepare_with(
    load: LoadDataset,
    options: TextGeneration,
    model: &ModelFolder,
    events: &dyn EventSink,
) -> olive_core::Result<Dataset> {
    let config = DataConfig { name: "my_data".into(), load, pre_process: options, mix: Vec::new() };
    data::prepare(&config, model, events, &CancelFlag::default())
}

pub(crate) fn ids(dataset: &Dataset) -> Vec<Vec<u32>> {
    dataset.samples.iter().map(|s| s.input_ids.clone()).collect()
}

/// Message and hint, as a person would see them.
pub(crate) fn complaint<T: std::fmt::Debug>(result: olive_core::Result<T>) -> String {
    let error = result.expect_err("this must fail");
    format!("{error} | {}", error.hint().unwrap_or_default())
}
