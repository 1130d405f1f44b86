//! The reference conversations, and what the program makes of them.

use super::setup::{prepare_with, write};
use crate::support::events::Recorder;
use crate::support::models::read_json;
use crate::support::rows::{load, options};
use crate::support::shared::shared;
use olive_config::canonical::{ChatOptions, ChatSource, Era, LossOn, Strategy, TextGeneration, TextSource};
use olive_data::{Dataset, IGNORED, Sample};
use olive_model::ModelFolder;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The shared folder with the reference conversations.
pub(crate) struct Goldens {
    folder: PathBuf,
    work: tempfile::TempDir,
}

impl Goldens {
    pub(crate) fn open() -> Option<Goldens> {
        Some(Goldens { folder: shared("goldens/chat")?, work: tempfile::tempdir().unwrap() })
    }

    pub(crate) fn json(&self, name: &str) -> Value {
        read_json(&self.folder.join(name))
    }

    pub(crate) fn lines(&self, name: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.folder.join(name)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The row of `data/messages.jsonl` with this name.
    pub(crate) fn row(&self, id: &Value) -> Value {
        self.lines("data/messages.jsonl").into_iter().find(|row| row["id"] == *id).unwrap()
    }

    pub(crate) fn template(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.join(format!("templates/{name}.jinja"))).unwrap()
    }

    /// A folder with this tokenizer, and the special tokens of a template.
    pub(crate) fn model(&self, tokenizer: &Path, template: &str) -> ModelFolder {
        let dir = self.work.path().join(template);
        let file = std::fs::read(tokenizer.join("tokenizer.json")).unwrap();
        write(&dir, "tokenizer.json", file);
        write(&dir, "config.json", "{}");
        let facts = &self.json("templates.json")[template];
        let config = json!({"bos_token": facts["bos_token"], "eos_token": facts["eos_token"]});
        write(&dir, "tokenizer_config.json", config.to_string());
        ModelFolder::open(&dir).unwrap()
    }

    pub(crate) fn tokenizer(&self) -> PathBuf {
        self.folder.join("tokenizer")
    }

    /// What the template was given beside the conversation, and the day on which it ran.
    pub(crate) fn options(&self, template: &str, source: &str, loss_on: LossOn) -> TextGeneration {
        let facts = &self.json("templates.json")[template];
        let variables = facts["template_kwargs"].as_object().cloned().unwrap_or_default();
        TextGeneration {
            source: TextSource::Chat(ChatSource { template: Some(source.into()), ..ChatSource::default() }),
            loss_on: Some(loss_on),
            chat: ChatOptions {
                template_variables: variables.into_iter().collect(),
                template_date: Some("2026-03-07".into()),
                ..ChatOptions::default()
            },
            ..options(Era::New, Strategy::LineByLine, 100_000, "")
        }
    }

    pub(crate) fn prepare(
        &self,
        rows: &[Value],
        options: TextGeneration,
        model: &ModelFolder,
    ) -> (olive_core::Result<Dataset>, Vec<String>) {
        let lines: String = rows.iter().map(|row| row.to_string() + "\n").collect();
        let recorder = Recorder::default();
        let file = write(self.work.path(), "rows.jsonl", lines);
        let dataset = prepare_with(load("json", &[&file]), options, model, &recorder);
        (dataset, recorder.warnings())
    }
}

/// Runs of tokens of one weight, as the goldens have them.
pub(crate) fn weighted_ranges(sample: &Sample) -> Vec<(usize, usize, f64)> {
    let mut ranges: Vec<(usize, usize, f64)> = Vec::new();
    for (place, label) in sample.labels.iter().enumerate() {
        let weight = match (label, &sample.weights) {
            (&IGNORED, _) => continue,
            (_, Some(weights)) => f64::from(weights[place]),
            (_, None) => 1.0,
        };
        match ranges.last_mut() {
            Some((_, end, same)) if *end == place && *same == weight => *end += 1,
            _ => ranges.push((place, place + 1, weight)),
        }
    }
    ranges
}

/// Ranges of a golden, of which each may have a weight.
pub(crate) fn golden_ranges(value: &Value) -> Vec<(usize, usize, f64)> {
    let range = |range: &Value| {
        let at = |place: usize| range[place].as_u64().unwrap() as usize;
        (at(0), at(1), range[2].as_f64().unwrap_or(1.0))
    };
    value.as_array().unwrap().iter().map(range).filter(|(_, _, weight)| *weight > 0.0).collect()
}
