//! Which of the forms of a model a folder holds.

use super::source::resolve;
use super::source_options::SourceOptions;
use super::stored_file::read_json;
use super::{Checkpoint, ModelError};
use olive_core::Result;
use olive_core::event::EventSink;
use olive_core::handle::ModelHandle;
use std::path::{Path, PathBuf};

/// The file in an `output_dir` that says what its result is.
pub const MODEL_CONFIG: &str = "model_config.json";

/// Recognises a Hugging Face folder, an adapter folder, an ONNX folder, or an `output_dir` of `olive run` (which
/// holds one of these, or its parts in `model/` and `adapter/`).
///
/// `base` is the model under an adapter when its own `adapter_config.json` does not lead to it.
///
/// # Errors
/// A folder that is none of these, by what it lacks; an adapter whose base is not there.
pub fn detect(
    dir: &Path,
    base: Option<&Path>,
    options: &SourceOptions,
    events: &dyn EventSink,
) -> Result<ModelHandle> {
    let has = |name: &str| dir.join(name).is_file();
    if has("genai_config.json") {
        return Ok(ModelHandle::Onnx { dir: dir.to_owned() });
    }
    if has("adapter_config.json") {
        let base = match base {
            Some(base) => base.to_owned(),
            None => base_of(dir, options, events)?,
        };
        return Ok(ModelHandle::HfWithAdapter { base, adapter: dir.to_owned() });
    }
    if has("config.json") {
        Checkpoint::files(dir)?;
        return Ok(ModelHandle::Hf { dir: dir.to_owned() });
    }
    let (model, adapter) = (dir.join("model"), dir.join("adapter"));
    // The adapter beside a result may be one that the result already has in it.
    let merged =
        read_json(&dir.join(MODEL_CONFIG))?.is_some_and(|result| result["config"]["adapter_path"].is_null());
    if !merged && adapter.join("adapter_config.json").is_file() {
        let beside = model.join("config.json").is_file().then_some(model);
        return detect(&adapter, base.or(beside.as_deref()), options, events);
    }
    if model.is_dir() {
        return detect(&model, base, options, events);
    }
    if has("model.onnx") {
        return Err(missing(dir, "genai_config.json"));
    }
    Err(missing(dir, "config.json, adapter_config.json or genai_config.json"))
}

fn missing(dir: &Path, what: &str) -> olive_core::Error {
    ModelError::NotAModel { path: dir.to_owned(), missing: what.into() }.into()
}

/// The base that an adapter names: relative to the working directory, as PEFT reads it, or beside the adapter.
fn base_of(adapter: &Path, options: &SourceOptions, events: &dyn EventSink) -> Result<PathBuf> {
    let config = read_json(&adapter.join("adapter_config.json"))?.unwrap_or_default();
    let refuse = |reason: String| ModelError::Adapter { path: adapter.to_owned(), reason };
    let name =
        config["base_model_name_or_path"].as_str().filter(|name| !name.is_empty()).ok_or_else(|| {
            refuse("adapter_config.json does not name its base model; give it with --base".into())
        })?;
    let beside = adapter.join(name);
    if !Path::new(name).is_dir() && beside.is_dir() {
        return Ok(beside);
    }
    resolve(name, config["revision"].as_str(), options, events).map_err(|error| match error.downcast_ref() {
        Some(ModelError::NotFound { .. }) => {
            refuse(format!("its base model `{name}` is not there; give it with --base")).into()
        }
        _ => error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = dir.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
    }

    fn found(dir: &Path) -> Result<ModelHandle> {
        detect(dir, None, &SourceOptions { offline: true, ..Default::default() }, &())
    }

    #[test]
    fn recognises_every_form() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path();
        write(dir, &[("onnx/genai_config.json", "{}"), ("onnx/config.json", "{}")]);
        assert!(matches!(found(&dir.join("onnx")).unwrap(), ModelHandle::Onnx { .. }));
        write(dir, &[("hf/config.json", "{}"), ("hf/model.safetensors", "")]);
        assert!(matches!(found(&dir.join("hf")).unwrap(), ModelHandle::Hf { .. }));
        let base = format!(r#"{{"base_model_name_or_path": "{}"}}"#, dir.join("hf").display());
        write(dir, &[("lora/adapter_config.json", &base), ("out/adapter/adapter_config.json", &base)]);
        for name in ["lora", "out"] {
            let ModelHandle::HfWithAdapter { base, .. } = found(&dir.join(name)).unwrap() else { panic!() };
            assert_eq!(base, dir.join("hf"));
        }
        let result = r#"{"type": "HfModel", "config": {"model_path": "model"}}"#;
        write(dir, &[("merged/adapter/adapter_config.json", &base), ("merged/model_config.json", result)]);
        write(dir, &[("merged/model/config.json", "{}"), ("merged/model/model.safetensors", "")]);
        let merged = ModelHandle::Hf { dir: dir.join("merged/model") };
        assert_eq!(found(&dir.join("merged")).unwrap(), merged, "the adapter is in it already");
        write(dir, &[("run/model/config.json", "{}"), ("run/model/model.safetensors", "")]);
        assert_eq!(found(&dir.join("run")).unwrap(), ModelHandle::Hf { dir: dir.join("run/model") });
    }

    #[test]
    fn says_what_is_missing() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path();
        write(dir, &[("a/config.json", "{}"), ("b/model.onnx", ""), ("c/x", "")]);
        write(dir, &[("d/adapter_config.json", r#"{"base_model_name_or_path": "./gone"}"#)]);
        for (name, what) in [
            ("a", "model.safetensors"),
            ("b", "genai_config.json is missing"),
            ("c", "config.json, adapter_config.json or genai_config.json"),
            ("d", "`./gone` is not there; give it with --base"),
        ] {
            let error = found(&dir.join(name)).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
    }
}
