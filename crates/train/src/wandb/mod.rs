//! Offline runs of Weights & Biases, which `wandb sync` uploads: `wandb/offline-run-<time>-<id>/run-<id>.wandb`.

mod messages;
mod record_log;

pub use messages::{
    Exit, Header, Item, Items, Metric, MetricOptions, Record, Run, Step, Timestamp, VersionInfo,
};

use chrono::DateTime;
use olive_core::{Result, error::IoContext, file};
use prost::Message;
use record_log::{HEADER, framed};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where a run belongs, by the variables of W&B.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WandbSettings {
    pub project: String,
    pub entity: String,
    pub group: String,
    pub notes: String,
    pub tags: Vec<String>,
    /// Name of the run, where the training has none.
    pub name: String,
}

/// A run as W&B shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct WandbRun {
    pub settings: WandbSettings,
    /// `None`: that of the settings, or else one that W&B makes up.
    pub name: Option<String>,
    /// Options of the training.
    pub config: Vec<(String, Value)>,
}

impl WandbSettings {
    /// The settings that these variables give. The project is transformers' if there is none.
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> WandbSettings {
        let text = |name: &str| variable(name).unwrap_or_default();
        let tags = text("WANDB_TAGS");
        let tags = tags.split(',').map(str::trim).filter(|tag| !tag.is_empty());
        WandbSettings {
            project: variable("WANDB_PROJECT").unwrap_or_else(|| "huggingface".into()),
            entity: text("WANDB_ENTITY"),
            group: text("WANDB_RUN_GROUP"),
            notes: text("WANDB_NOTES"),
            tags: tags.map(str::to_owned).collect(),
            name: text("WANDB_NAME"),
        }
    }
}

impl Default for WandbSettings {
    /// Those of an environment that says nothing of W&B.
    fn default() -> WandbSettings {
        WandbSettings::of(|_| None)
    }
}

/// An open run. Every record is in the file once it is written.
pub(crate) struct OfflineRun {
    file: File,
    path: PathBuf,
    /// Bytes of the file.
    length: usize,
    records: i64,
    rows: i64,
    started: Instant,
    /// The last value of each name.
    summary: BTreeMap<String, f64>,
}

/// Folder of the runs.
pub const FOLDER: &str = "wandb";
const PREFIX: &str = "offline-run-";
/// The oldest program that reads such files, as W&B itself writes it.
const MIN_CONSUMER: &str = "0.70.0";
/// The value over which all others are drawn.
const STEP: &str = "train/global_step";

impl OfflineRun {
    /// Begins the file of a run in `dir`, or begins it anew under the id that an earlier part of the training gave it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn create(dir: &Path, run: &WandbRun) -> Result<OfflineRun> {
        let runs = dir.join(FOLDER);
        std::fs::create_dir_all(&runs).at("create", &runs)?;
        let now = now();
        let folder = match earlier(&runs)? {
            Some(name) => runs.join(name),
            None => runs.join(format!("{PREFIX}{}-{}", time(now), new_id(now))),
        };
        std::fs::create_dir_all(&folder).at("create", &folder)?;
        let id = id_of(&folder);
        let path = folder.join(format!("run-{id}.wandb"));
        let mut file = File::create(&path).at("create", &path)?;
        file.write_all(&HEADER).at("write", &path)?;
        let (length, started) = (HEADER.len(), Instant::now());
        let mut offline =
            OfflineRun { file, path, length, records: 0, rows: 0, started, summary: BTreeMap::new() };
        let (producer, min_consumer) =
            (concat!("olive ", env!("CARGO_PKG_VERSION")).into(), MIN_CONSUMER.into());
        let version_info = Some(VersionInfo { producer, min_consumer });
        offline.write(Record { header: Some(Header { version_info }), ..Record::default() })?;
        offline.write(Record { run: Some(described(run, id, now)), ..Record::default() })?;
        for metric in over_steps() {
            offline.write(Record { metric: Some(metric), ..Record::default() })?;
        }
        Ok(offline)
    }

    /// Values after an optimiser step.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn log(&mut self, step: usize, values: &[(&str, f64)]) -> Result<()> {
        let numbers = values.iter().map(|(name, value)| nested(name, number(*value)));
        let items = numbers.chain([
            nested(STEP, json!(step)),
            nested("_timestamp", json!(now().as_secs_f64())),
            nested("_runtime", json!(self.started.elapsed().as_secs_f64())),
            nested("_step", json!(self.rows)),
        ]);
        let history = Items { item: items.collect(), step: Some(Step { num: self.rows }) };
        self.write(Record { history: Some(history), ..Record::default() })?;
        self.rows += 1;
        self.summary.insert(STEP.into(), step as f64);
        self.summary.extend(values.iter().map(|(name, value)| ((*name).to_owned(), *value)));
        Ok(())
    }

    /// Closes the run of a training that came to its end. One that does not may go on, and has no end.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn finish(mut self) -> Result<()> {
        let runtime = self.started.elapsed().as_secs();
        let last = std::mem::take(&mut self.summary);
        let last = last.iter().map(|(name, value)| nested(name, number(*value)));
        let summary = Items { item: last.chain([nested("_runtime", json!(runtime))]).collect(), step: None };
        self.write(Record { summary: Some(summary), ..Record::default() })?;
        let exit = Exit { exit_code: 0, runtime: i32::try_from(runtime).unwrap_or(i32::MAX) };
        self.write(Record { exit: Some(exit), ..Record::default() })
    }

    fn write(&mut self, record: Record) -> Result<()> {
        self.records += 1;
        let bytes = framed(self.length, &Record { num: self.records, ..record }.encode_to_vec());
        self.file.write_all(&bytes).at("write", &self.path)?;
        self.length += bytes.len();
        Ok(())
    }
}

/// The folder of the run that a training goes on with.
fn earlier(runs: &Path) -> Result<Option<String>> {
    let mut names = Vec::new();
    for entry in file::entries(runs).at("read", runs)? {
        names.extend(entry.at("read", runs)?.file_name().into_string());
    }
    Ok(names.into_iter().filter(|name| name.starts_with(PREFIX)).max())
}

fn id_of(folder: &Path) -> String {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    name.rsplit('-').next().unwrap_or_default().to_owned()
}

/// Eight letters and digits, as W&B's ids have.
fn new_id(now: Duration) -> String {
    let seed = format!("{} {}", now.as_nanos(), std::process::id());
    let hash = blake3::hash(seed.as_bytes());
    let letter = |byte: &u8| char::from(b"abcdefghijklmnopqrstuvwxyz0123456789"[usize::from(*byte) % 36]);
    hash.as_bytes().iter().take(8).map(letter).collect()
}

fn described(run: &WandbRun, run_id: String, now: Duration) -> Run {
    let WandbRun { settings, name, config } = run;
    let item = |(key, value): &(String, Value)| Item {
        key: key.clone(),
        value_json: value.to_string(),
        ..Item::default()
    };
    let start_time = Timestamp {
        seconds: i64::try_from(now.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(now.subsec_nanos()).unwrap_or_default(),
    };
    Run {
        run_id,
        entity: settings.entity.clone(),
        project: settings.project.clone(),
        config: Some(Items { item: config.iter().map(item).collect(), step: None }),
        run_group: settings.group.clone(),
        display_name: name.clone().unwrap_or_else(|| settings.name.clone()),
        notes: settings.notes.clone(),
        tags: settings.tags.clone(),
        start_time: Some(start_time),
    }
}

/// What transformers defines: all values are drawn over the optimiser steps.
fn over_steps() -> [Metric; 2] {
    let options = |step_sync| Some(MetricOptions { step_sync, defined: true });
    [
        Metric { name: STEP.into(), options: options(false), ..Metric::default() },
        Metric {
            glob_name: "*".into(),
            step_metric: STEP.into(),
            options: options(true),
            ..Metric::default()
        },
    ]
}

fn nested(name: &str, value: Value) -> Item {
    Item { nested_key: vec![name.to_owned()], value_json: value.to_string(), ..Item::default() }
}

/// W&B writes what is no number as a text.
fn number(value: f64) -> Value {
    match value {
        value if value.is_nan() => json!("NaN"),
        f64::INFINITY => json!("Infinity"),
        f64::NEG_INFINITY => json!("-Infinity"),
        value => json!(value),
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn time(now: Duration) -> String {
    let time = DateTime::from_timestamp(i64::try_from(now.as_secs()).unwrap_or_default(), 0);
    time.unwrap_or_default().format("%Y%m%d_%H%M%S").to_string()
}
