//! Where a model comes from: a folder of this machine, a GGUF file, or the Hugging Face Hub by way of its cache.

use super::source_options::SourceOptions;
use super::{ModelError, gguf, hub};
use olive_core::Result;
use olive_core::event::EventSink;
use std::path::{Path, PathBuf};

/// A model of the hub, as the user named it: what other machines know it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubModel {
    pub id: String,
    /// Branch, tag or commit, if one was asked for.
    pub revision: Option<String>,
}

impl HubModel {
    /// `None` if [`resolve`] finds `model_path` on this machine, or if it is no hub id.
    pub fn named(model_path: &str, revision: Option<&str>) -> Option<HubModel> {
        let path = Path::new(model_path);
        let of_the_hub = !path.is_dir() && !gguf::is_gguf(path) && is_hub_id(model_path);
        of_the_hub.then(|| HubModel { id: model_path.to_owned(), revision: revision.map(str::to_owned) })
    }
}

/// The folder of `model_path`: itself if it is one, the converted form of a GGUF file, else the cached snapshot of the
/// hub model of that id, fetched if need be. Of the hub's files only configuration, tokenizer and safetensors are taken: no pickles, no code.
///
/// # Errors
/// Neither a folder nor a file nor an id; a GGUF file that cannot be used; no such model; not allowed; the hub cannot be reached and nothing is cached.
pub fn resolve(
    model_path: &str,
    revision: Option<&str>,
    options: &SourceOptions,
    events: &dyn EventSink,
) -> Result<PathBuf> {
    let path = Path::new(model_path);
    if path.is_dir() {
        return Ok(path.to_owned());
    }
    if gguf::is_gguf(path) && path.is_file() {
        return gguf::import(path, options, events);
    }
    if !is_hub_id(model_path) || gguf::is_gguf(path) {
        return Err(ModelError::NotFound {
            path: model_path.to_owned(),
            why: if path.exists() {
                "it is a file, but neither a folder nor a .gguf"
            } else {
                "there is no such folder or file"
            },
        }
        .into());
    }
    hub::snapshot(model_path, revision.unwrap_or("main"), options, events)
}

/// `organisation/name`, in the characters the hub allows.
pub(crate) fn is_hub_id(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && part.len() <= 96
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
            && !part.starts_with(['.', '-'])
            && !part.ends_with(['.', '-'])
    };
    text.split_once('/').is_some_and(|(owner, name)| part(owner) && part(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_ids_from_paths() {
        for id in ["microsoft/Phi-3.5-mini-instruct", "HuggingFaceTB/SmolLM2-135M_x"] {
            assert!(is_hub_id(id), "{id}");
        }
        for path in ["./models/x", "../x", "/models/x", "a/b/c", "phi3", "a/", "~/x", "models/.hidden"] {
            assert!(!is_hub_id(path), "{path}");
        }
    }

    #[test]
    fn a_folder_is_itself_and_anything_else_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let options = SourceOptions { offline: true, ..Default::default() };
        let path = dir.path().to_str().unwrap();
        assert_eq!(resolve(path, None, &options, &()).unwrap(), dir.path());
        let error = resolve("/no/such/folder", None, &options, &()).unwrap_err();
        assert!(error.to_string().contains("there is no such folder or file"), "{error}");
    }
}
