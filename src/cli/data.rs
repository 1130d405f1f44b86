//! `olive data`.

use super::data_text::{self, Surveyed};
use super::{Globals, environment, output, problem, session};
use clap::Args;
use olive_config::{DataConfig, LoadOptions};
use olive_core::cancel::CancelFlag;
use olive_core::event::{Event, EventSink};
use olive_core::{Fault, Result};
use olive_data::survey;
use olive_engine::{REGISTRY, RunConfig, input};
use olive_model::{ModelFolder, resolve};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

#[derive(Args)]
pub(crate) struct DataArgs {
    /// A configuration, or a file of rows: JSON lines, JSON, CSV, Parquet, text.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The model whose tokenizer and chat template are used: a folder or a hub id. A configuration names its own.
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// Of a configuration: only the data config of this name.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Override a value of the configuration, or of a file give an option of `pre_process_data_config`. May be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Show so many rows.
    #[arg(long, value_name = "N", default_value_t = 3)]
    samples: usize,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &DataArgs, globals: &Globals) -> Result<()> {
    let surveyed = surveyed(args, globals);
    if args.json {
        return problem::print_document(surveyed.map(|all| document(&all)));
    }
    for (index, one) in surveyed?.iter().enumerate() {
        if index > 0 {
            output::result("")?;
        }
        data_text::print(one)?;
    }
    Ok(())
}

fn surveyed(args: &DataArgs, globals: &Globals) -> Result<Vec<Surveyed>> {
    let config = args.configuration()?;
    let used = used(&config);
    let wanted = |name: &str| args.name.as_deref().is_none_or(|wanted| wanted == name);
    if !used.iter().any(|(data, _)| wanted(&data.name)) {
        let known = used.into_iter().map(|(data, _)| data.name).collect();
        return Err(NoData { known }.into());
    }
    let events = session::sink(globals);
    let options = environment::source_options(globals);
    let folder = match &args.model {
        Some(model) => ModelFolder::open(&resolve(model, None, &options, &*events)?)?,
        None => ModelFolder::open(input::resolve(&config.input_model, &options, &*events)?.base())?,
    };
    let mut all = Vec::new();
    for (config, purpose) in used.into_iter().filter(|(data, _)| wanted(&data.name)) {
        let heard = Heard { inner: &*events, warnings: Mutex::default() };
        let survey = survey(&config, &folder, args.samples, &heard, &CancelFlag::default())?;
        let warnings = heard.warnings.into_inner().unwrap_or_default();
        all.push(Surveyed { config, purpose, survey, warnings });
    }
    Ok(all)
}

/// The data that passes read, each once.
fn used(config: &RunConfig) -> Vec<(DataConfig, &'static str)> {
    let mut used: Vec<(DataConfig, &'static str)> = Vec::new();
    for pass in &config.passes {
        for data in pass.pass.data() {
            if used.iter().all(|(known, _)| known != data.config) {
                used.push((data.config.clone(), data.purpose.name()));
            }
        }
    }
    used
}

/// Keeps warnings for the result, and passes everything else on.
struct Heard<'a> {
    inner: &'a dyn EventSink,
    warnings: Mutex<Vec<String>>,
}

impl EventSink for Heard<'_> {
    fn emit(&self, event: Event) {
        match (event, self.warnings.lock()) {
            (Event::Warning { message }, Ok(mut warnings)) => warnings.push(message),
            // What it says is part of the result.
            (Event::Info { .. }, _) => {}
            (event, _) => self.inner.emit(event),
        }
    }
}

impl DataArgs {
    /// The configuration, or one that trains on the file.
    fn configuration(&self) -> Result<RunConfig> {
        if is_configuration(&self.file) {
            let options = LoadOptions { set: self.set.clone(), ..LoadOptions::default() };
            return RunConfig::load(&self.file, &options, &REGISTRY);
        }
        let model = self.model.as_ref().ok_or(NoModel)?;
        let load = json!({"data_name": loader(&self.file), "data_files": self.file, "split": "train"});
        let data = json!({
            "name": "data",
            "type": "HuggingfaceContainer",
            "load_dataset_config": load,
            "pre_process_data_config": {"strategy": "line-by-line", "pad_to_max_len": false},
        });
        let value = json!({
            "input_model": {"type": "HfModel", "model_path": model},
            "data_configs": [data],
            "passes": {"lora": {"type": "LoRA", "train_data_config": "data"}},
        });
        let place = |set: &String| format!("data_configs.0.pre_process_data_config.{set}");
        let options = LoadOptions { set: self.set.iter().map(place).collect(), ..LoadOptions::default() };
        RunConfig::from_value(&value, &self.file, &options, &REGISTRY)
    }
}

/// Whether a file is a configuration: YAML, or a JSON object with a model or passes.
fn is_configuration(file: &Path) -> bool {
    match file.extension().and_then(|ending| ending.to_str()) {
        Some("yaml" | "yml") => true,
        Some("json") => {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            let value: Option<Value> = serde_json::from_str(&text).ok();
            // What is no JSON may be a configuration with comments; rows are one value after the other.
            value.map_or_else(
                || text.contains("\"input_model\""),
                |value| value.get("input_model").is_some() || value.get("passes").is_some(),
            )
        }
        _ => false,
    }
}

/// The loader of a file, by its name.
pub(super) fn loader(file: &Path) -> &'static str {
    let name = file.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let has = |suffixes: &[&str]| suffixes.iter().any(|suffix| name.contains(suffix));
    match () {
        () if has(&[".csv", ".tsv"]) => "csv",
        () if has(&[".parquet"]) => "parquet",
        () if has(&[".txt"]) => "text",
        () => "json",
    }
}

fn document(all: &[Surveyed]) -> Value {
    let one = |one: &Surveyed| {
        let Surveyed { config, purpose, survey, warnings } = one;
        let bad = survey.bad.iter().map(|(location, fault)| {
            json!({
                "file": location.path.display().to_string(),
                "number": location.number,
                "reason": fault.to_string(),
                "hint": fault.hint(),
            })
        });
        let pieces = |row: &Vec<olive_data::Piece>| {
            Value::from_iter(row.iter().map(|piece| json!({"text": piece.text, "weight": piece.weight})))
        };
        let bins = data_text::bins(&survey.lengths);
        let bins = bins.iter().map(|bin| json!({"from": bin.from, "below": bin.below, "rows": bin.rows}));
        let limit = config.pre_process.max_seq_len;
        json!({
            "name": config.name,
            "purpose": purpose,
            "format": survey.chat.as_ref().map(|chat| chat.found.format.name()),
            "loss_on": data_text::loss_on(one),
            "rows": survey.rows,
            "bad_rows": Value::from_iter(bad),
            "tokens": survey.lengths.iter().sum::<usize>(),
            "tokens_in_loss": survey.counted,
            "longest": survey.lengths.iter().max(),
            "median": data_text::quantile(&survey.lengths, 0.5),
            "max_seq_len": limit,
            "rows_longer": survey.lengths.iter().filter(|length| **length > limit).count(),
            "lengths": Value::from_iter(bins),
            "samples": survey.dataset.samples.len(),
            "sample_tokens": survey.dataset.tokens(),
            "warnings": warnings,
            "examples": Value::from_iter(survey.examples.iter().map(pieces)),
        })
    };
    json!({"data": Value::from_iter(all.iter().map(one))})
}

/// A file of rows, and no tokenizer for them.
#[derive(Debug, thiserror::Error)]
#[error("which model's tokens the rows become is not said")]
struct NoModel;

impl Fault for NoModel {
    fn hint(&self) -> Option<String> {
        Some("name it with --model, or give a configuration".into())
    }

    fn exit_code(&self) -> u8 {
        2
    }
}

/// The configuration has no data, or none of the name.
#[derive(Debug, thiserror::Error)]
#[error("no pass reads such data")]
struct NoData {
    known: Vec<String>,
}

impl Fault for NoData {
    fn hint(&self) -> Option<String> {
        Some(match &self.known[..] {
            [] => "give a configuration with a pass that reads data, or a file of rows".into(),
            known => format!("there is {}", known.join(", ")),
        })
    }

    fn exit_code(&self) -> u8 {
        2
    }
}
