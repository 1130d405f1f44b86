//! Which local inputs of a configuration do not exist (yet): for warnings, never for errors.

use crate::passes::RunConfig;
use olive_config::{DataConfig, DataFiles, Diagnostic, InputModel};
use olive_model::gguf::is_gguf;
use std::path::Path;

/// What `config` refers to and is not there, relative to the working directory.
pub fn missing_inputs(config: &RunConfig) -> Vec<Diagnostic> {
    let mut missing = Vec::new();
    let mut say = |json_path: &str, message: String| {
        let finding = Diagnostic { position: None, json_path: json_path.to_owned(), message, hint: None };
        if !missing.contains(&finding) {
            missing.push(finding);
        }
    };
    match &config.input_model {
        InputModel::HuggingFace { model_path, adapter_path, .. } => {
            if (is_folder_name(model_path) || is_gguf(Path::new(model_path)))
                && !Path::new(model_path).exists()
            {
                say("input_model", format!("the model `{model_path}` does not exist"));
            }
            if let Some(path) = adapter_path.as_ref().filter(|path| !path.exists()) {
                say("input_model", format!("the adapter `{}` does not exist", path.display()));
            }
        }
        InputModel::Onnx { model_path } if !model_path.exists() => {
            say("input_model", format!("the model `{}` does not exist", model_path.display()));
        }
        InputModel::Onnx { .. } => {}
    }
    for data in config.passes.iter().flat_map(|pass| pass.pass.data()) {
        for file in missing_files(data.config) {
            say(&format!("data_configs.{}", data.config.name), format!("no file matches `{file}`"));
        }
    }
    missing
}

/// Hub ids are `name` or `organisation/name`; everything else can only be a folder.
fn is_folder_name(model_path: &str) -> bool {
    Path::new(model_path).is_absolute()
        || model_path.starts_with('.')
        || model_path.starts_with('~')
        || model_path.contains('\\')
        || model_path.matches('/').count() > 1
}

fn missing_files(data: &DataConfig) -> Vec<String> {
    let files: Vec<&String> = match &data.load.data_files {
        DataFiles::Local(files) => files.iter().collect(),
        DataFiles::PerSplit(splits) => splits.values().flatten().collect(),
        DataFiles::Unset | DataFiles::Remote { .. } => return Vec::new(),
    };
    let root = data.load.data_dir.as_deref().unwrap_or(Path::new(""));
    let exists = |file: &str| {
        [root.join(file), file.into()].iter().any(|path| {
            path.exists() || glob::glob(&path.to_string_lossy()).is_ok_and(|mut paths| paths.next().is_some())
        })
    };
    files.into_iter().filter(|file| !exists(file)).cloned().collect()
}
