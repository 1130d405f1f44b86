//! From steps of a plan to a job.

use crate::description::{FORMAT, JobData, JobDescription, JobFiles, JobModel, Place};
use crate::{Contents, SystemError};
use olive_config::{AzureMlPlace, AzureMlResource, DataFiles, ResourcePath};
use olive_core::handle::{ModelHandle, ModelKind};
use olive_core::{Result, error::IoContext, file};
use olive_engine::passes::DataUse;
use olive_engine::{RunConfig, Step};
use olive_model::ModelFolder;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A job and what it needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Package {
    pub description: JobDescription,
    /// Folders that the job gets, by name.
    pub inputs: BTreeMap<String, Source>,
}

/// Where an input of a job comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// Files on this machine, by their paths in the input.
    Files(BTreeMap<String, PathBuf>),
    /// A file that the system knows, as it writes its address.
    File(String),
    /// The same of a folder.
    Folder(String),
    /// A folder that an earlier job left, and what it wrote there.
    Left { address: String, contents: Contents },
    /// The same of a registered model.
    Model(String),
}

/// Names of the inputs with the model that the first step works on.
pub const MODEL: &str = "model";
pub const ADAPTER: &str = "adapter";

/// What the first step works on.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelSource {
    pub kind: ModelKind,
    /// `None`: the job fetches what the configuration names.
    pub base: Option<Source>,
    pub adapter: Option<Source>,
}

impl ModelSource {
    /// A model on this machine: the files that belong to it. `left` knows the folders that are elsewhere.
    ///
    /// # Errors
    /// A folder cannot be read.
    pub fn of(model: &ModelHandle, left: &dyn Fn(&Path) -> Option<Source>) -> Result<ModelSource> {
        let part = |dir: &Path, belongs: fn(&str) -> bool| left(dir).map_or_else(|| files(dir, belongs), Ok);
        let (base, adapter) = match model {
            ModelHandle::Hf { dir } => (part(dir, ModelFolder::is_model_file)?, None),
            ModelHandle::Onnx { dir } => (part(dir, |_| true)?, None),
            ModelHandle::HfWithAdapter { base, adapter } => {
                let adapter = part(adapter, ModelFolder::is_adapter_file)?;
                (part(base, ModelFolder::is_model_file)?, Some(adapter))
            }
            // The note travels beside the weights, where the quantisers look for one as well.
            ModelHandle::HfWithNote { base, note } => {
                let mut files = part(base, ModelFolder::is_model_file)?;
                let Source::Files(beside) = &mut files else { return Err(SystemError::NoteElsewhere.into()) };
                beside.insert(ModelFolder::NOTE.to_owned(), note.join(ModelFolder::NOTE));
                return Ok(ModelSource { kind: ModelKind::Hf, base: Some(files), adapter: None });
            }
        };
        Ok(ModelSource { kind: model.kind(), base: Some(base), adapter })
    }
}

impl Source {
    /// A model that lies in Azure ML.
    pub fn of_model(resource: &AzureMlResource) -> Source {
        match resource.place {
            AzureMlPlace::Model { .. } | AzureMlPlace::RegistryModel { .. } => {
                Source::Model(resource.to_string())
            }
            AzureMlPlace::Datastore { .. } | AzureMlPlace::JobOutput { .. } => {
                Source::Folder(address(resource))
            }
        }
    }

    /// The files of an adapter on this machine.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn of_adapter(dir: &Path) -> Result<Source> {
        files(dir, ModelFolder::is_adapter_file)
    }
}

/// Describes the job that runs `steps`, which follow each other in a flow of `config`, and names what it needs.
///
/// # Errors
/// Files of a dataset are not there.
pub fn pack(config: &RunConfig, steps: &[Step], model: ModelSource) -> Result<Package> {
    let mut inputs = BTreeMap::new();
    let mut take = |name: &str, source: Option<Source>| {
        inputs.insert(name.to_owned(), source?);
        Some(Place::input(name))
    };
    let described =
        JobModel { kind: model.kind, base: take(MODEL, model.base), adapter: take(ADAPTER, model.adapter) };
    let mut data = BTreeMap::new();
    for used in steps.iter().flat_map(|step| step.pass.data()) {
        let name = &used.config.name;
        if !data.contains_key(name) {
            let input = format!("data{}", data.len());
            let described = match elsewhere(&used, &input, &mut inputs)? {
                Some(described) => described,
                None => dataset(&used, &input, &mut inputs)?,
            };
            data.insert(name.clone(), described);
        }
    }
    let left = inputs.iter().filter_map(|(name, source)| match source {
        Source::Left { contents, .. } => Some((name.clone(), contents.clone())),
        _ => None,
    });
    let description = JobDescription {
        format: FORMAT,
        contents: left.collect(),
        config: config.document.clone(),
        passes: steps.iter().map(|step| step.config.name.clone()).collect(),
        model: described,
        data,
    };
    Ok(Package { description, inputs })
}

/// The files of a dataset, numbered, as several may have the same name; extensions tell what is in them, so names stay.
fn dataset(used: &DataUse, input: &str, inputs: &mut BTreeMap<String, Source>) -> Result<JobData> {
    let (reader, splits) = olive_data::inputs(&used.config.load)?;
    let mut files = BTreeMap::new();
    let mut described = Vec::with_capacity(splits.len());
    for split in splits {
        let mut places = Vec::with_capacity(split.files.len());
        for path in split.files {
            let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| SystemError::Data {
                name: used.config.name.clone(),
                reason: format!("the name of `{}` is not UTF-8", path.display()),
            })?;
            let below = format!("{:05}/{name}", files.len());
            places.push(Place::below(input, &below));
            files.insert(below, path);
        }
        described.push((split.split, places));
    }
    inputs.insert(input.to_owned(), Source::Files(files));
    Ok(JobData { reader: reader.key.to_owned(), files: JobFiles::Splits(described) })
}

/// Rows that lie where the system can read them: every file, or the folder, is an input of its own.
fn elsewhere(used: &DataUse, input: &str, inputs: &mut BTreeMap<String, Source>) -> Result<Option<JobData>> {
    let load = &used.config.load;
    if let DataFiles::AzureMl(splits) = &load.data_files {
        let (mut number, mut described) = (0, Vec::with_capacity(splits.len()));
        for (split, resources) in olive_data::used_of(load, splits)? {
            let mut places = Vec::with_capacity(resources.len());
            for resource in resources {
                let name = format!("{input}_{number}");
                number += 1;
                places.push(Place::input(&name));
                inputs.insert(name, Source::File(address(resource)));
            }
            described.push((split.to_owned(), places));
        }
        return Ok(Some(JobData { reader: load.data_name.clone(), files: JobFiles::Splits(described) }));
    }
    let Some(folder) = load.data_dir.as_ref().and_then(ResourcePath::azureml) else { return Ok(None) };
    inputs.insert(input.to_owned(), Source::Folder(address(folder)));
    let reader = if load.is_named_by_its_folder() { String::new() } else { load.data_name.clone() };
    Ok(Some(JobData { reader, files: JobFiles::Folder(Place::input(input)) }))
}

/// As jobs of the same workspace name it; outputs of jobs have no longer form.
fn address(resource: &AzureMlResource) -> String {
    match resource.place {
        AzureMlPlace::JobOutput { .. } => format!("azureml://{}", resource.place),
        _ => resource.to_string(),
    }
}

/// The files directly in a folder that belong to a model.
fn files(dir: &Path, belongs: impl Fn(&str) -> bool) -> Result<Source> {
    let mut files = BTreeMap::new();
    for entry in file::entries(dir).at("read", dir)? {
        let path = entry.at("read", dir)?.path();
        if let Some(name) = path.file_name().and_then(|name| name.to_str())
            && belongs(name)
            && path.is_file()
        {
            files.insert(name.to_owned(), path);
        }
    }
    Ok(Source::Files(files))
}
