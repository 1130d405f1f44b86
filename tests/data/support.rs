//! Configurations, a toy model, and the shared material.

use olive_config::canonical::{
    DataConfig, DataFiles, Era, LoadDataset, Strategy, TextGeneration, TextSource,
};
use olive_core::cancel::CancelFlag;
use olive_core::event::{Event, EventSink};
use olive_data as data;
use olive_data::Dataset;
use olive_model::ModelFolder;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// A folder of the shared material, or `None` with a message where it is not at hand.
pub(crate) fn shared(path: &str) -> Option<PathBuf> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = std::env::var_os("OLIVE_SHARED").map_or_else(|| manifest.join("../shared"), PathBuf::from);
    let found = match (path.strip_prefix("goldens/"), std::env::var_os("OLIVE_GOLDENS")) {
        (Some(rest), Some(goldens)) => Path::new(&goldens).join(rest),
        _ => root.join(path),
    };
    if !found.exists() {
        #[expect(clippy::print_stdout, reason = "a skipped test must be seen")]
        {
            println!("skipped: {} is not there", found.display());
        }
        return None;
    }
    Some(found)
}

/// A file of `tests/fixtures/data`.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/data").join(name)
}

pub(crate) fn fixture_json(name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(fixture(name)).unwrap()).unwrap()
}

pub(crate) fn write(dir: &Path, name: &str, content: impl AsRef<[u8]>) -> String {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

pub(crate) fn load(data_name: &str, files: &[&str]) -> LoadDataset {
    LoadDataset {
        data_name: data_name.into(),
        subset: None,
        split: "train".into(),
        data_dir: None,
        data_files: DataFiles::Local(files.iter().map(|f| (*f).to_owned()).collect()),
        col_filters: BTreeMap::new(),
        field: None,
    }
}

pub(crate) fn options(era: Era, strategy: Strategy, length: usize, template: &str) -> TextGeneration {
    TextGeneration {
        era,
        source: TextSource::Template(template.into()),
        strategy,
        max_seq_len: length,
        joiner: None,
        stride: None,
        pad_to_max_len: false,
        padding_side: if era == Era::New { Some(olive_config::canonical::PaddingSide::Right) } else { None },
        drop_short_sequences: false,
        add_special_tokens: false,
        use_attention_mask: true,
        max_samples: None,
        processing_batch_size: 1024,
        random_seed: None,
        random_retries: 10,
        loss_on: Default::default(),
        response_template: None,
    }
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

/// Keeps what was said.
#[derive(Default)]
pub(crate) struct Recorder(pub(crate) Mutex<Vec<Event>>);

impl EventSink for Recorder {
    fn emit(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

impl Recorder {
    pub(crate) fn warnings(&self) -> Vec<String> {
        let events = self.0.lock().unwrap();
        let warning = |e: &Event| match e {
            Event::Warning { message } => Some(message.clone()),
            _ => None,
        };
        events.iter().filter_map(warning).collect()
    }
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
    let config = DataConfig { name: "my_data".into(), load, pre_process: options };
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
