//! What a job does, on the machine that it was sent to.

use crate::SystemError;
use crate::description::{FORMAT, JobData, JobDescription, JobFiles, Place};
use crate::mirror::Mirror;
use crate::results::{JobResult, lay_out};
use olive_config::{DataFiles, DataPlace, InputModel, LoadOptions, ResourcePath};
use olive_core::content::ContentHashes;
use olive_core::event::{Event, EventSink};
use olive_core::handle::ModelKind;
use olive_core::{Result, file};
use olive_engine::cache::Store;
use olive_engine::{Environment, Plan, REGISTRY, RunConfig, run_workflow};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The folders of a job.
#[derive(Debug, Clone)]
pub struct JobFolders {
    /// Its inputs, by name.
    pub inputs: BTreeMap<String, PathBuf>,
    /// On this machine's own disk.
    pub scratch: PathBuf,
    /// Where the result is laid out.
    pub outputs: PathBuf,
    /// Outlives the machine: a job that was stopped goes on from what is there.
    pub kept: Option<PathBuf>,
}

impl JobDescription {
    /// Reads `job.json`.
    ///
    /// # Errors
    /// [`SystemError::Description`] or [`SystemError::Format`].
    pub fn read(path: &Path) -> Result<JobDescription> {
        let wrong = |reason: String| SystemError::Description { path: path.to_owned(), reason };
        let bytes = file::read(path).map_err(|error| wrong(error.to_string()))?;
        let format = serde_json::from_slice::<serde_json::Value>(&bytes)
            .map_err(|error| wrong(error.to_string()))?["format"]
            .as_u64();
        if let Some(found) =
            format.and_then(|found| u32::try_from(found).ok()).filter(|found| *found != FORMAT)
        {
            return Err(SystemError::Format { found, known: FORMAT }.into());
        }
        Ok(serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?)
    }
}

/// Runs the passes of a job and lays out what they made, also when one of them fails.
///
/// # Errors
/// Whatever stops a pass, or an input that is not there.
pub fn work(
    description: &JobDescription,
    folders: &JobFolders,
    environment: &Environment,
) -> Result<JobResult> {
    let config = configuration(description, folders)?;
    let passes = passes(description, &config)?;
    check_contents(description, folders, &config.engine.cache_dir)?;
    let plan = Plan::of(&config, vec![passes])?;
    let mirror = match &folders.kept {
        Some(kept) => Some(Arc::new(Mirror::start(config.engine.cache_dir.clone(), kept.clone())?)),
        None => None,
    };
    let attached = mirror.clone().map(|mirror| environment.events.attach(mirror));
    let outcome = run_workflow(&config, &plan, environment);
    drop(attached);
    if let Some(problem) = mirror.and_then(|mirror| mirror.problem()) {
        let message = format!("not all of what was done was kept for another attempt: {problem}");
        environment.events.emit(Event::Warning { message });
    }
    let result = lay_out(&Store::new(&config.engine.cache_dir), &description.passes, &folders.outputs);
    // Why the job failed says more than what became of the rest.
    outcome.and(result)
}

/// Looks at the inputs that an earlier job left; what they are found to be is remembered in the cache.
///
/// # Errors
/// [`SystemError::Damaged`], which the result names as well: who sent the job must not send it with them again.
fn check_contents(description: &JobDescription, folders: &JobFolders, cache: &Path) -> Result<()> {
    let hashes = ContentHashes::open(cache);
    let damaged = description.damaged(folders, &hashes)?;
    let Some((input, path)) = damaged.first().cloned() else { return hashes.save() };
    let inputs = damaged.into_iter().map(|(input, _)| input).collect();
    JobResult::write(Vec::new(), inputs, &folders.outputs)?;
    Err(SystemError::Damaged { input, path }.into())
}

/// The configuration of the job, whose model and data lie where the system put them.
fn configuration(description: &JobDescription, folders: &JobFolders) -> Result<RunConfig> {
    let mut places = BTreeMap::new();
    for (name, data) in &description.data {
        places.insert(name.clone(), place_data(data, folders)?);
    }
    let options = LoadOptions { set: Vec::new(), local: true, places };
    let mut config = RunConfig::from_value(&description.config, Path::new("job.json"), &options, &REGISTRY)?;
    config.engine.cache_dir = folders.scratch.join("cache");
    config.engine.output_dir = folders.scratch.join("result");
    config.engine.no_artifacts = true;
    config.engine.clean_cache = false;
    place_model(description, folders, &mut config.input_model)?;
    Ok(config)
}

fn place_data(data: &JobData, folders: &JobFolders) -> Result<DataPlace> {
    let (data_dir, data_files) = match &data.files {
        JobFiles::Splits(described) => {
            let mut splits = Vec::with_capacity(described.len());
            for (split, places) in described {
                let files: Result<Vec<PathBuf>> =
                    places.iter().map(|place| place.path(&folders.inputs)).collect();
                splits.push((split.clone(), files?));
            }
            (None, DataFiles::Listed(splits))
        }
        JobFiles::Folder(place) => (Some(local(&place.path(&folders.inputs)?)), DataFiles::Unset),
    };
    Ok(match data_dir {
        Some(ResourcePath::Local(folder)) if data.reader.is_empty() => {
            DataPlace { data_name: folder, data_dir: None, data_files }
        }
        data_dir => DataPlace { data_name: data.reader.clone(), data_dir, data_files },
    })
}

fn place_model(description: &JobDescription, folders: &JobFolders, model: &mut InputModel) -> Result<()> {
    let place = |place: &Option<Place>| place.as_ref().map(|place| place.path(&folders.inputs)).transpose();
    let (base, adapter) = (place(&description.model.base)?, place(&description.model.adapter)?);
    match (&mut *model, description.model.kind, base) {
        (_, ModelKind::Onnx, Some(dir)) => *model = InputModel::Onnx { model_path: local(&dir) },
        (InputModel::HuggingFace { model_path, adapter_path, revision, .. }, _, base) => {
            if let Some(dir) = base {
                *model_path = local(&dir);
                *revision = None;
            }
            *adapter_path = adapter.map(|dir| local(&dir));
        }
        (InputModel::Onnx { .. }, ..) => {}
    }
    Ok(())
}

fn local(path: &Path) -> ResourcePath {
    ResourcePath::Local(path.to_string_lossy().into_owned())
}

/// The passes of the job, in its order.
fn passes(description: &JobDescription, config: &RunConfig) -> Result<Vec<olive_engine::passes::PassConfig>> {
    let pass = |name: &String| {
        let found = config.passes.iter().find(|pass| pass.name == *name);
        found.cloned().ok_or_else(|| SystemError::NoPass { pass: name.clone() }.into())
    };
    description.passes.iter().map(pass).collect()
}
