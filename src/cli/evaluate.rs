//! `olive evaluate`.

use super::answering::Notes;
use super::{Globals, data, environment, evaluation_table, output};
use clap::{Args, ValueHint};
use olive_config::{Evaluator, LoadOptions};
use olive_core::event_hub::EventListener;
use olive_core::handle::ModelHandle;
use olive_core::{Fault, Result};
use olive_engine::passes::MemoryPolicy;
use olive_engine::{Environment, EvaluationOutcome, REGISTRY, RunConfig, evaluate_models};
use olive_model::{detect, resolve};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Args)]
pub(crate) struct EvaluateArgs {
    /// Models of any form: Hugging Face folders, GGUF files, adapter folders, ONNX folders, what `olive run` wrote, hub ids.
    #[arg(required = true, value_hint = ValueHint::AnyPath)]
    models: Vec<String>,
    /// Measure with an evaluator of this configuration.
    #[arg(long, value_name = "FILE", required_unless_present = "data")]
    config: Option<PathBuf>,
    /// Which of `evaluators`; that of the engine, or the only one, if it is not given.
    #[arg(long, value_name = "NAME", requires = "config")]
    evaluator: Option<String>,
    /// Measure loss and perplexity on the texts of this file (JSON lines, CSV, Parquet, text), and the size of the model.
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    data: Option<PathBuf>,
    /// Columns whose texts are measured, with a line break between them.
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',', conflicts_with_all = ["config", "text_template"])]
    text_cols: Vec<String>,
    /// Python format string that makes the text of the columns: `Q: {Question} A: {Answer}`.
    #[arg(long, value_name = "TEXT", conflicts_with = "config")]
    text_template: Option<String>,
    /// Longest sample in tokens; longer rows are cut.
    #[arg(long, value_name = "N", default_value_t = 1024, conflicts_with = "config")]
    max_seq_len: usize,
    /// At most so many rows.
    #[arg(long, value_name = "N", conflicts_with = "config")]
    max_samples: Option<usize>,
    /// The rows are questions with choices: measure how often the most likely choice is the right one.
    #[arg(long, conflicts_with_all = ["config", "text_cols", "text_template"])]
    multiple_choice: bool,
    /// Measure speed and memory, too.
    #[arg(long, conflicts_with = "config")]
    speed: bool,
    /// The model under adapter folders, if it is not where they say.
    #[arg(long, value_name = "DIR")]
    base: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &EvaluateArgs, globals: &Globals) -> Result<()> {
    let notes = Notes::new(globals);
    let events = notes.hub();
    let config = match &args.config {
        Some(file) => with_evaluator(file, args.evaluator.as_deref())?,
        None => {
            let options = LoadOptions::default();
            RunConfig::from_value(&args.configuration(), Path::new("--data"), &options, &REGISTRY)?
        }
    };
    let evaluator = config.engine.evaluator.clone().ok_or_else(|| NoEvaluator { known: names(&config) })?;
    let options = environment::source_options(globals);
    let mut models = Vec::with_capacity(args.models.len());
    for name in &args.models {
        let dir = resolve(name, None, &options, &*events)?;
        models.push((name.clone(), detect(&dir, args.base.as_deref(), &options, &*events)?));
    }
    let environment = Environment {
        events: Arc::clone(&events),
        ..environment::of_the_engine(globals, MemoryPolicy::Refuse)?
    };
    let cache_dir = match &args.config {
        Some(_) => config.engine.cache_dir.clone(),
        None => environment::own_cache().unwrap_or_else(|| config.engine.cache_dir.clone()),
    };
    let outcomes = measured(&models, &evaluator, &cache_dir, &environment);
    events.finish();
    print(&outcomes?, args.json)
}

/// A configuration whose engine has the evaluator of this name, or else its own, or else the only one that there is.
fn with_evaluator(file: &Path, name: Option<&str>) -> Result<RunConfig> {
    let load = |name: Option<&str>| {
        let set = name.map(|name| format!("evaluator={name}")).into_iter().collect();
        RunConfig::load(file, &LoadOptions { set, ..LoadOptions::default() }, &REGISTRY)
    };
    let config = load(name)?;
    match &names(&config)[..] {
        [only] if config.engine.evaluator.is_none() => load(Some(only)),
        _ => Ok(config),
    }
}

/// The names of `evaluators`.
fn names(config: &RunConfig) -> Vec<String> {
    let evaluators = config.document["evaluators"].as_object();
    evaluators.into_iter().flat_map(|evaluators| evaluators.keys().cloned()).collect()
}

fn measured(
    models: &[(String, ModelHandle)],
    evaluator: &Evaluator,
    cache_dir: &Path,
    environment: &Environment,
) -> Result<Vec<EvaluationOutcome>> {
    let mut outcomes = Vec::with_capacity(models.len());
    evaluate_models(models, evaluator, cache_dir, environment, |outcome| outcomes.push(outcome))?;
    Ok(outcomes)
}

fn print(outcomes: &[EvaluationOutcome], as_json: bool) -> Result<()> {
    if as_json {
        let models: Vec<Value> =
            outcomes.iter().map(|outcome| serde_json::to_value(outcome).expect("plain data")).collect();
        return output::result(&json!({"models": models}).to_string());
    }
    evaluation_table::render(outcomes).map_or(Ok(()), |table| output::result(&table))
}

impl EvaluateArgs {
    /// What the flags come to, as a configuration.
    fn configuration(&self) -> Value {
        let file = self.data.as_deref().unwrap_or(Path::new(""));
        let name =
            |path: &Path| path.file_stem().map_or("data".into(), |stem| stem.to_string_lossy().into_owned());
        let mut texts =
            json!({"strategy": "line-by-line", "max_seq_len": self.max_seq_len, "pad_to_max_len": false});
        if let Some(template) = &self.text_template {
            texts["text_template"] = template.as_str().into();
        } else if !self.text_cols.is_empty() {
            texts["text_cols"] = self.text_cols.as_slice().into();
        }
        if let Some(most) = self.max_samples {
            texts["max_samples"] = most.into();
        }
        let rows = json!({
            "name": "data",
            "type": "HuggingfaceContainer",
            "load_dataset_config": {"data_name": data::loader(file), "data_files": file, "split": "train"},
            "pre_process_data_config": texts,
        });
        let values =
            |names: &[&str]| Value::from_iter(names.iter().map(|name| json!({"name": name, "priority": -1})));
        let metric = |name: &str, kind: &str, names: &[&str]| json!({"name": name, "type": kind, "data_config": "data", "sub_types": values(names)});
        let mut metrics = vec![match self.multiple_choice {
            true => metric(&name(file), "multiple_choice", &["acc", "acc_norm"]),
            false => metric(&name(file), "accuracy", &["perplexity", "loss"]),
        }];
        // Nothing is ranked, but some value must be.
        metrics[0]["sub_types"][0]["priority"] = 1.into();
        metrics.push(json!({"name": "size", "type": "size_on_disk", "sub_types": values(&["bytes"])}));
        if self.speed {
            let sub_types = values(&["prefill_tokens_per_second", "decode_tokens_per_second"]);
            metrics.push(json!({"name": "speed", "type": "throughput", "sub_types": sub_types}));
            metrics.push(json!({"name": "memory", "type": "memory", "sub_types": values(&["peak_bytes"])}));
        }
        json!({
            "input_model": {"type": "HfModel", "model_path": self.models[0]},
            "data_configs": [rows],
            "evaluators": {"data": {"metrics": metrics, "answers": 0}},
            "evaluator": "data",
            "passes": {},
        })
    }
}

/// The configuration does not say with what to measure.
#[derive(Debug, thiserror::Error)]
#[error("the configuration does not say which evaluator measures")]
struct NoEvaluator {
    known: Vec<String>,
}

impl Fault for NoEvaluator {
    fn hint(&self) -> Option<String> {
        Some(match &self.known[..] {
            [] => "describe one under `evaluators`, or measure a file with --data".into(),
            known => format!("choose with --evaluator: {}", known.join(", ")),
        })
    }

    fn exit_code(&self) -> u8 {
        2
    }
}
