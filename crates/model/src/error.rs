//! What can be wrong with a model folder.

use olive_core::shown;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    #[error("`{}` is not a model folder: {missing} is missing", shown(path))]
    NotAModel { path: PathBuf, missing: String },
    #[error("`num_hidden_layers` is {asked}, and the model has {layers} layers")]
    Layers { asked: usize, layers: usize },
    #[error("`{}` is damaged: {reason}", shown(path))]
    Damaged { path: PathBuf, reason: String },
    #[error("`{}` is a Git LFS pointer, not the file itself", shown(path))]
    LfsPointer { path: PathBuf },
    #[error(
        "`{}` has its weights as a pickle only (`{file}`), which is not read: it could run any code",
        shown(path)
    )]
    Pickled { path: PathBuf, file: String },
    #[error("`{}` names {count} files of weights, of which {missing} are not there: `{first}`{}",
        shown(path), if *missing > 1 { ", …" } else { "" })]
    MissingShards { path: PathBuf, count: usize, missing: usize, first: String },
    #[error("the checkpoint in `{}` has no tensor `{name}`", shown(path))]
    MissingTensor { path: PathBuf, name: String },
    #[error("`{}` is damaged: `{key}` is {value}, and the weights {found}", shown(path))]
    Size { path: PathBuf, key: &'static str, value: usize, found: String },
    #[error("tensor `{name}` has the shape {found:?} where {expected:?} is needed")]
    Shape { name: String, found: Vec<usize>, expected: Vec<usize> },
    #[error("tensor `{name}` has the shape {shape:?}, which is not that of a matrix")]
    NotAMatrix { name: String, shape: Vec<usize> },
    #[error("tensor `{name}` is of type {found}, which is not a float type")]
    Dtype { name: String, found: String },
    #[error(
        "the weights in `{}` are quantised already, in a way that is not read: {statement}, and {reason}",
        shown(path)
    )]
    PreQuantised { path: PathBuf, statement: String, reason: String },
    #[error("the quantised weights in `{}` cannot be read: {reason}", shown(path))]
    Quantisation { path: PathBuf, reason: String },
    #[error("tensor `{name}` holds values that are not finite, near element {near}")]
    NotFinite { name: String, near: usize },
    #[error("the adapter in `{}` cannot be used: {reason}", shown(path))]
    Adapter { path: PathBuf, reason: String },
    /// `reason` goes on after the key.
    #[error("the adapter cannot be used: `{key}` in `{}` {reason}", shown(path))]
    AdapterKey { path: PathBuf, key: String, reason: String, hint: Option<&'static str> },
    #[error("the adapter does not fit the model: {reason}")]
    AdapterMismatch { reason: String },
    #[error("the tokenizer in `{}` cannot be used: {reason}", shown(path))]
    Tokenizer { path: PathBuf, reason: String },
    #[error("the model `{path}` cannot be found: {why}")]
    NotFound { path: String, why: &'static str },
    #[error("the GGUF file `{}` cannot be used: {reason}", shown(path))]
    Gguf { path: PathBuf, reason: String },
    #[error("`{repo}` is no folder here, and could not be fetched from the hub: {reason}")]
    Hub { repo: String, reason: String, hint: String },
    #[error("`{text}` is not the name of a model of the hub")]
    NoHubId { text: String },
    #[error("`{}` is there already, and is not that of `{id}`", shown(path))]
    OtherFiles { path: PathBuf, id: String },
    #[error("the token cannot be checked with `{endpoint}`: {reason}")]
    Account { endpoint: String, reason: String, hint: &'static str },
}

impl olive_core::Fault for ModelError {
    fn hint(&self) -> Option<String> {
        match self {
            ModelError::NotAModel { path, missing } if missing == "tokenizer.json" => Some(save_tokenizer(path)),
            ModelError::Tokenizer { path, .. } if !path.join("tokenizer.json").is_file() => {
                Some(save_tokenizer(path))
            }
            ModelError::NotAModel { .. } => Some(
                "a model folder holds config.json, tokenizer.json and *.safetensors; `olive download` and `save_pretrained` write \
                 such folders"
                    .into(),
            ),
            ModelError::NotFound { .. } => Some(
                "give the path of a folder, relative to where the command was started, or a hub id such as \
                 `organisation/name`"
                    .into(),
            ),
            ModelError::Gguf { .. } => {
                Some("a Hugging Face folder of the model, with safetensors, can be given instead".into())
            }
            ModelError::Size { .. } => Some("take the config.json that belongs to the weights".into()),
            ModelError::Damaged { .. } | ModelError::NotFinite { .. } => Some("download or copy the file again".into()),
            ModelError::LfsPointer { .. } => Some(
                "run `git lfs install` and `git lfs pull` in the repository that it comes from, or download the file"
                    .into(),
            ),
            ModelError::Pickled { path, .. } => Some(format!(
                "transformers writes safetensors: `python -c \"from transformers import AutoModelForCausalLM as A; \
                 A.from_pretrained('{0}').save_pretrained('{0}')\"`",
                shown(path)
            )),
            ModelError::MissingShards { .. } => Some("the download is not complete: download the rest".into()),
            ModelError::PreQuantised { .. } => Some(
                "take the model in float that it was made from; for an adapter on it, give that model as \
                 `input_model.model_path`, or with `--base` of `olive generate`"
                    .into(),
            ),
            ModelError::Quantisation { .. } => {
                Some("take the folder as the pass that quantised it wrote it, with its config.json".into())
            }
            ModelError::Dtype { .. } => Some("take the model in float (F32, F16 or BF16)".into()),
            ModelError::Hub { hint, .. } => Some(hint.clone()),
            ModelError::NoHubId { .. } => Some("it is `organisation/name`, as on the model's page".into()),
            ModelError::OtherFiles { .. } => {
                Some("choose another folder with --to, or replace the file with --overwrite".into())
            }
            ModelError::Account { hint, .. } => Some((*hint).to_owned()),
            ModelError::AdapterKey { hint, .. } => hint.map(str::to_owned),
            _ => None,
        }
    }

    /// 2 where the call or the configuration names what is not there, else 1.
    fn exit_code(&self) -> u8 {
        if matches!(self, ModelError::NotFound { .. } | ModelError::NoHubId { .. }) { 2 } else { 1 }
    }
}

/// How transformers writes the file that says all about a tokenizer.
fn save_tokenizer(dir: &Path) -> String {
    let dir = shown(dir);
    format!(
        "python -c \"from transformers import AutoTokenizer; \
         AutoTokenizer.from_pretrained('{dir}').save_pretrained('{dir}')\" writes a tokenizer.json"
    )
}
