//! Models and data that lie in Azure ML, for steps on this machine: in the cache they have paths, which take the place of their
//! addresses.

use crate::cache::Store;
use crate::error::{Absence, EngineError};
use crate::passes::RunConfig;
use crate::plan::Plan;
use crate::resource_reader::ResourceReader;
use crate::{Environment, input};
use olive_config::{
    AzureMlPlace, AzureMlResource, DataConfig, DataFiles, DataPlace, InputModel, LoadDataset, ResourcePath,
};
use olive_core::handle::ModelHandle;
use olive_core::{Error, Result};
use std::path::{Path, PathBuf};

/// The resources of a run.
#[derive(Clone, Copy)]
pub(crate) struct Resources<'a> {
    pub(crate) config: &'a RunConfig,
    pub(crate) store: &'a Store,
    pub(crate) environment: &'a Environment,
}

/// What becomes of what is not in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    IsLeft,
    IsBrought,
}

/// Something that a step here needs, and which option names another in its place.
struct Needed<'a> {
    what: String,
    option: String,
    resource: &'a AzureMlResource,
}

impl Resources<'_> {
    /// The input model as far as it is on this machine. Nothing is fetched.
    ///
    /// # Errors
    /// As [`Resources::bring_input`], or [`EngineError::InputNotHere`] if a run would bring it.
    pub(crate) fn find_input(&self) -> Result<ModelHandle> {
        let model = self.model(Missing::IsLeft)?;
        input::resolve(&model, &self.environment.looking(), &())
    }

    /// The input model, on this machine.
    ///
    /// # Errors
    /// [`EngineError::InAzureMl`], those of [`ResourceReader::bring`], or as [`input::resolve`].
    pub(crate) fn bring_input(&self) -> Result<ModelHandle> {
        let model = self.model(Missing::IsBrought)?;
        input::resolve(&model, &self.environment.fetching(), &*self.environment.events)
    }

    /// The plan, whose steps here read the data that is in the cache from there; and why other data will not come. Nothing is
    /// fetched.
    pub(crate) fn find_data(&self, plan: &Plan) -> (Plan, Vec<Error>) {
        let mut absences = Vec::new();
        let found = plan.with_data_here(&mut |data| {
            if let Err(absence) = self.move_data(data, Missing::IsLeft) {
                absences.push(absence);
            }
            Ok(())
        });
        (found.expect("what is missing stops nothing"), absences)
    }

    /// The plan, whose steps here read data of this machine only.
    ///
    /// # Errors
    /// [`EngineError::InAzureMl`], or those of [`ResourceReader::bring`].
    pub(crate) fn bring_data(&self, plan: &Plan) -> Result<Plan> {
        plan.with_data_here(&mut |data| self.move_data(data, Missing::IsBrought))
    }

    fn model(&self, missing: Missing) -> Result<InputModel> {
        let mut model = self.config.input_model.clone();
        let (model_path, adapter_path) = match &mut model {
            InputModel::HuggingFace { model_path, adapter_path, .. } => (model_path, adapter_path.as_mut()),
            InputModel::Onnx { model_path } => (model_path, None),
        };
        let base = ("the input model lies", "input_model.model_path=FOLDER", model_path);
        let adapter = adapter_path.map(|path| ("the adapter lies", "input_model.adapter_path=FOLDER", path));
        for (what, option, path) in std::iter::once(base).chain(adapter) {
            let Some(resource) = path.azureml() else { continue };
            let needed = Needed { what: what.to_owned(), option: option.to_owned(), resource };
            if let Some(here) = self.path(&needed, missing)? {
                *path = local(&here);
            }
        }
        Ok(model)
    }

    fn move_data(&self, data: &mut DataConfig, missing: Missing) -> Result<()> {
        let name = &data.name;
        let path = |resource: &AzureMlResource| {
            let what = format!("the data of `{name}` lie");
            let option = format!("data_configs.{name}.load_dataset_config.data_files=FILE");
            self.path(&Needed { what, option, resource }, missing)
        };
        if let Some(place) = place(&data.load, &path)? {
            data.load.move_to(place);
        }
        Ok(())
    }

    /// Where a resource is on this machine; `None` if it is not there yet, and is left where it lies.
    fn path(&self, needed: &Needed, missing: Missing) -> Result<Option<PathBuf>> {
        let Resources { config, store, environment } = self;
        let resource = needed.resource.within(config.azureml_client.as_ref());
        let reader = environment.resources.as_deref();
        let known = match (missing, reader) {
            (Missing::IsLeft, _) => store.downloaded(&resource.to_string()),
            (Missing::IsBrought, None) => store.use_downloaded(&resource.to_string()),
            // It is asked whether that is still the same.
            (Missing::IsBrought, Some(_)) => None,
        };
        if known.is_some() {
            return Ok(known);
        }
        let reader = reachable(&resource, reader).map_err(|(reason, advice)| EngineError::InAzureMl {
            what: needed.what.clone(),
            place: resource.place.describe(),
            address: resource.to_string(),
            reason,
            hint: format!("{advice}; or put something of this machine in its place: --set {}", needed.option),
        })?;
        match missing {
            Missing::IsLeft => Ok(None),
            Missing::IsBrought => {
                reader.bring(&resource, store, &environment.cancel, &*environment.events).map(Some)
            }
        }
    }
}

/// Who can read a resource that is not in the cache.
///
/// # Errors
/// Why nobody can, and what to do about it.
fn reachable<'a>(
    resource: &AzureMlResource,
    reader: Option<&'a dyn ResourceReader>,
) -> Result<&'a dyn ResourceReader, (Absence, String)> {
    resource.check_names().map_err(|fault| (Absence::Name(fault.message), fault.hint))?;
    if resource.client.is_none() && !matches!(resource.place, AzureMlPlace::RegistryModel { .. }) {
        let advice = "give `azureml_client` with `subscription_id`, `resource_group` and `workspace_name`";
        return Err((Absence::NoWorkspace, advice.to_owned()));
    }
    reader.ok_or_else(|| (Absence::Offline, "leave out --offline and --sandbox".to_owned()))
}

/// Where the rows that `load` uses are, if they lie in Azure ML and `path` knows a path for all of them.
fn place(
    load: &LoadDataset,
    path: &dyn Fn(&AzureMlResource) -> Result<Option<PathBuf>>,
) -> Result<Option<DataPlace>> {
    if let DataFiles::AzureMl(splits) = &load.data_files {
        let mut listed = Vec::with_capacity(splits.len());
        // What is wrong with the split, the pass that reads it tells.
        let Ok(used) = olive_data::used_of(load, splits) else { return Ok(None) };
        for (split, resources) in used {
            let files: Vec<Option<PathBuf>> = resources.iter().map(path).collect::<Result<_>>()?;
            let Some(files) = files.into_iter().collect() else { return Ok(None) };
            listed.push((split.to_owned(), files));
        }
        let (data_name, data_files) = (load.data_name.clone(), DataFiles::Listed(listed));
        return Ok(Some(DataPlace { data_name, data_dir: None, data_files }));
    }
    let Some(folder) = load.data_dir.as_ref().and_then(ResourcePath::azureml) else { return Ok(None) };
    let Some(folder) = path(folder)? else { return Ok(None) };
    let data_files = load.data_files.clone();
    Ok(Some(if load.is_named_by_its_folder() {
        DataPlace { data_name: folder.to_string_lossy().into_owned(), data_dir: None, data_files }
    } else {
        DataPlace { data_name: load.data_name.clone(), data_dir: Some(local(&folder)), data_files }
    }))
}

fn local(path: &Path) -> ResourcePath {
    ResourcePath::Local(path.to_string_lossy().into_owned())
}
