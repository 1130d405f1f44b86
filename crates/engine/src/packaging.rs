//! Archives of results, as Olive's `Zipfile` packs them, of models of any form:
//!
//! ```text
//! models_rank.json
//! CandidateModels/<device>-<execution provider>/BestCandidateModel_<rank>/
//!     the files of the model, inference_config.json, configurations.json, metrics.json, model_info.json
//! ```

use crate::cache::Artefacts;
use crate::cache::artefacts::Derived;
use crate::cache::manifest::{FileEntry, list_files};
use crate::evaluated::{EvaluatedModel, EvaluationOutcome};
use crate::flow_runner::{FlowResult, FlowRunner, KeyedFlow};
use crate::model_document::{model_config, model_id};
use crate::output::{Content, Document};
use crate::passes::RunConfig;
use olive_config::Packaging;
use olive_core::{RECORDS, Result, error::IoContext, file};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::io::Write;
use std::path::Path;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// Raised whenever the same models give another archive than before.
const VERSION: u32 = 1;

/// Files at least this large are stored as they are: weights in few bits hardly shrink.
const STORED_FROM: u64 = 1 << 20;

/// A result that goes into archives, the best first.
#[derive(Clone, Copy)]
pub(crate) struct Packed<'a> {
    pub keyed: KeyedFlow<'a>,
    pub result: FlowResult<'a>,
    pub evaluation: Option<&'a EvaluationOutcome>,
}

/// What an archive depends on, besides the models.
#[derive(Serialize)]
struct Contents {
    name: String,
    /// The documents by their paths in the archive.
    documents: Vec<(String, Value)>,
    /// Keys of the models.
    keys: Vec<String>,
}

/// The archives that the configuration asks for, which stay in the cache as well.
///
/// # Errors
/// A file cannot be read or written, or the run is to stop.
pub(crate) fn archives(
    config: &RunConfig,
    runner: &FlowRunner,
    models: &[Packed],
    measured: &[EvaluationOutcome],
) -> Result<Vec<Document>> {
    let input = measured.iter().find(|evaluation| evaluation.model == EvaluatedModel::Input);
    let archive = |packaging: &Packaging| archive(packaging, config, runner, models, input);
    config.packaging.iter().map(archive).collect()
}

fn archive(
    packaging: &Packaging,
    config: &RunConfig,
    runner: &FlowRunner,
    models: &[Packed],
    input: Option<&EvaluationOutcome>,
) -> Result<Document> {
    let name = format!("{}.zip", packaging.name);
    let last_key = |packed: &Packed| packed.keyed.keys.last().map_or_else(String::new, |key| key.key.clone());
    let contents = Contents {
        name: name.clone(),
        documents: documents(config, runner, models, input)?,
        keys: models.iter().map(last_key).collect(),
    };
    let input_key = runner.input_key()?;
    let environment = runner.environment;
    let artefacts = Artefacts { store: runner.store, input_key: &input_key, unchanged: &|| Ok(()) };
    let wanted =
        Derived { kind: "Archive", version: VERSION, input: runner.input.handle().dir(), options: &contents };
    let made = artefacts.get_or_make(&wanted, &environment.cancel, &*environment.events, |dir| {
        write(&dir.join(&name), config, models, &contents.documents, runner)
    })?;
    let path = made.join(&name);
    let bytes = path.metadata().at("read", &path)?.len();
    Ok(Document { name, content: Content::File { path, bytes } })
}

/// The folder of a model in the archive.
fn folder(config: &RunConfig, rank: usize) -> String {
    let target = config.engine.target.as_ref().and_then(|name| config.systems.get(name));
    let accelerator = target.and_then(|system| system.accelerators.first());
    let device = accelerator.map_or("cpu", |accelerator| accelerator.device.as_str());
    let provider = accelerator.and_then(|accelerator| accelerator.execution_providers.first());
    let provider = provider.map_or("CPUExecutionProvider", String::as_str);
    let provider = provider.strip_suffix("ExecutionProvider").unwrap_or(provider).to_lowercase();
    format!("CandidateModels/{device}-{provider}/BestCandidateModel_{rank}")
}

fn documents(
    config: &RunConfig,
    runner: &FlowRunner,
    models: &[Packed],
    input: Option<&EvaluationOutcome>,
) -> Result<Vec<(String, Value)>> {
    let input_id = model_id(&runner.input_key()?);
    let (mut documents, mut ranks) = (Vec::new(), Vec::new());
    for (rank, packed) in (1..).zip(models) {
        let folder = folder(config, rank);
        let steps = packed.keyed.flow.steps.iter().zip(packed.keyed.keys);
        let steps = steps.map(|(step, key)| (model_id(&key.key), step.options()));
        let configurations: Map<String, Value> =
            std::iter::once((input_id.clone(), Value::Null)).chain(steps).collect();
        let mut model = model_config(packed.result.model);
        model["config"]["model_path"] = folder.clone().into();
        let metrics = packed.evaluation.map(|evaluation| &evaluation.metrics);
        let info = json!({"rank": rank, "model_config": model, "metrics": metrics});
        let mut add = |name: &str, value: Value| documents.push((format!("{folder}/{name}"), value));
        add("inference_config.json", json!({}));
        add("configurations.json", configurations.into());
        if let Some(candidate) = metrics {
            let input = input.map(|evaluation| &evaluation.metrics);
            let both = json!({"input_model_metrics": input, "candidate_model_metrics": candidate});
            add("metrics.json", both);
        }
        add("model_info.json", info.clone());
        ranks.push(info);
    }
    documents.push(("models_rank.json".into(), ranks.into()));
    Ok(documents)
}

fn write(
    path: &Path,
    config: &RunConfig,
    models: &[Packed],
    documents: &[(String, Value)],
    runner: &FlowRunner,
) -> Result<()> {
    let mut archive = ZipWriter::new(std::fs::File::create(path).at("create", path)?);
    // The time is that of all archives, so that the same models give the same bytes.
    let options = SimpleFileOptions::default().unix_permissions(0o644);
    for (name, value) in documents {
        let text = format!("{value:#}");
        archive.start_file(name.as_str(), options).map_err(std::io::Error::from).at("write", path)?;
        archive.write_all(text.as_bytes()).at("write", path)?;
    }
    let taken = |name: &str| documents.iter().any(|(known, _)| known == name);
    for (rank, packed) in (1..).zip(models) {
        let folder = folder(config, rank);
        let dir = packed.result.model.dir();
        for FileEntry { path: below, bytes, .. } in list_files(dir)? {
            let name = format!("{folder}/{}", below.display());
            if below.starts_with(RECORDS) || taken(&name) {
                continue;
            }
            runner.environment.cancel.check()?;
            let method = match bytes >= STORED_FROM {
                true => CompressionMethod::Stored,
                false => CompressionMethod::Deflated,
            };
            let options = options.compression_method(method).large_file(bytes > u64::from(u32::MAX));
            archive.start_file(name, options).map_err(std::io::Error::from).at("write", path)?;
            let from = dir.join(&below);
            let mut content = file::open(&from).at("read", &from)?;
            std::io::copy(&mut content, &mut archive).at("write", path)?;
        }
    }
    archive.finish().map_err(std::io::Error::from).at("write", path)?;
    Ok(())
}
