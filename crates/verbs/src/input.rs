//! `-m`: what kind of model is meant. The only part that looks at files.

use crate::error::VerbError;
use olive_core::file;
use olive_model::{HubModel, MODEL_CONFIG, adapter_config};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Options of the input model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelOptions {
    /// `-m`.
    pub model: Option<String>,
    pub task: Option<String>,
    pub trust_remote_code: bool,
    /// Folder of a PEFT adapter, or its hub id.
    pub adapter: Option<String>,
}

/// A model that a verb works on.
#[derive(Debug, Clone, PartialEq)]
pub struct InputModel {
    /// As given.
    pub given: String,
    pub kind: InputKind,
    /// `input_model` of the configuration.
    pub json: Value,
    pub notices: Vec<String>,
}

/// A kind of model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputKind {
    HuggingFace,
    Onnx,
    /// By the type in its `model_config.json`.
    Other(String),
}

impl InputKind {
    /// For messages.
    fn described(&self) -> String {
        match self {
            InputKind::HuggingFace => "a Hugging Face model".into(),
            InputKind::Onnx => "an ONNX model".into(),
            InputKind::Other(name) => format!("a model of the type `{name}`"),
        }
    }
}

const HUB: &str = "https://huggingface.co/";
const REGISTRIES: &str = "azureml://registries/";

impl InputModel {
    /// Finds out what `-m` means, in Olive's order: what an earlier command wrote, a model of an Azure ML registry, an address
    /// or id of the Hugging Face Hub, an ONNX file or folder, a Hugging Face folder.
    ///
    /// # Errors
    /// There is no `-m`, or nothing where it leads.
    pub fn find(options: &ModelOptions) -> Result<InputModel, VerbError> {
        let given = options.model.clone().ok_or(VerbError::NoModel)?;
        let adapter = options.adapter.as_deref().map(|adapter| adapter_folder(adapter.as_ref()));
        let options = &ModelOptions {
            adapter: adapter.map(|folder| folder.to_string_lossy().into_owned()),
            ..options.clone()
        };
        let refuse = |reason: String, hint| VerbError::Model { given: given.clone(), reason, hint };
        let path = Path::new(&given);
        let of = |kind, json| InputModel { given: given.clone(), kind, json, notices: Vec::new() };
        if path.join(MODEL_CONFIG).is_file() {
            let (kind, json) = earlier(path, options.adapter.as_deref()).map_err(|reason| {
                refuse(reason, "it says what an earlier run wrote; give the model's own folder instead")
            })?;
            return Ok(of(kind, json));
        }
        if let Some(place) = registry_model(&given) {
            return Ok(hugging_face(&given, place, options));
        }
        let address = given.strip_prefix(HUB).map(|id| id.split('/').take(2).collect::<Vec<_>>().join("/"));
        if let Some(HubModel { id, .. }) = address.and_then(|id| HubModel::named(&id, None)) {
            return Ok(hugging_face(&given, json!(id), options));
        }
        if !path.exists() {
            let reason = "there is no such file or folder, and it is no hub id".to_owned();
            return match HubModel::named(&given, None) {
                Some(HubModel { id, .. }) => Ok(hugging_face(&given, json!(id), options)),
                None => Err(refuse(reason, "a hub id is `organisation/name`")),
            };
        }
        let graphs = graphs(path).map_err(|e| refuse(e.to_string(), "is it readable?"))?;
        if graphs.is_empty() {
            return Ok(hugging_face(&given, json!(given), options));
        }
        if options.adapter.is_some() {
            let reason = "it is an ONNX model, and `-a` puts an adapter on a Hugging Face model".to_owned();
            return Err(refuse(reason, "give the model that it was made from"));
        }
        let [graph] = &graphs[..] else {
            let names: Vec<String> = graphs.iter().map(|graph| format!("`{}`", name(graph))).collect();
            let reason = format!("the folder has {} ONNX models: {}", graphs.len(), names.join(", "));
            return Err(refuse(reason, "give one of the files"));
        };
        let json = onnx(path, graph).map_err(|e| refuse(e.to_string(), "is it readable?"))?;
        Ok(of(InputKind::Onnx, json))
    }

    /// Whether the model has an adapter that is not part of its weights.
    pub(crate) fn has_adapter(&self) -> bool {
        let at = |json: &Value| json.get("adapter_path").is_some_and(|path| !path.is_null());
        at(&self.json) || self.json.get("config").is_some_and(at)
    }

    /// Where the model lies, if it is a path or a hub id.
    pub fn model_path(&self) -> Option<&str> {
        let json = if self.json.get("config").is_some() { &self.json["config"] } else { &self.json };
        json.get("model_path").and_then(Value::as_str)
    }

    /// # Errors
    /// It is of another kind.
    pub fn require(
        &self,
        kind: &InputKind,
        verb: &'static str,
        wanted: &'static str,
    ) -> Result<(), VerbError> {
        if self.kind == *kind { Ok(()) } else { Err(self.is_not(verb, wanted)) }
    }

    /// That the verb takes models of other kinds.
    pub(crate) fn is_not(&self, verb: &'static str, wanted: &'static str) -> VerbError {
        let (given, found) = (self.given.clone(), self.kind.described());
        VerbError::ModelKind { verb, wanted, given, found }
    }
}

/// The folder of an adapter: itself, or the part of what a run wrote.
pub fn adapter_folder(given: &Path) -> PathBuf {
    let inside = given.join("adapter");
    let is_one = |folder: &Path| folder.join(adapter_config::CONFIG).is_file();
    if is_one(&inside) && !is_one(given) { inside } else { given.to_owned() }
}

fn hugging_face(given: &str, model_path: Value, options: &ModelOptions) -> InputModel {
    let mut json = json!({
        "type": "HfModel",
        "model_path": model_path,
        "load_kwargs": {"attn_implementation": "eager", "trust_remote_code": options.trust_remote_code},
    });
    let texts = [("task", &options.task), ("adapter_path", &options.adapter)];
    for (key, text) in texts.into_iter().filter_map(|(key, text)| Some((key, text.as_ref()?))) {
        json[key] = json!(text);
    }
    let ignored = "`--trust_remote_code` changes nothing: no code of a model is ever run";
    let notices = if options.trust_remote_code { vec![ignored.to_owned()] } else { Vec::new() };
    InputModel { given: given.to_owned(), kind: InputKind::HuggingFace, json, notices }
}

/// What an earlier command wrote. Paths in the folder are made to lead there from here.
///
/// # Errors
/// Why it cannot be used: completes "`-m FOLDER`: ".
fn earlier(folder: &Path, adapter: Option<&str>) -> Result<(InputKind, Value), String> {
    let bytes = file::read(&folder.join(MODEL_CONFIG)).map_err(|e| format!("{MODEL_CONFIG} {e}"))?;
    let mut json: Value =
        serde_json::from_slice(&bytes).map_err(|e| format!("{MODEL_CONFIG} is not JSON: {e}"))?;
    let r#type = json.get("type").and_then(Value::as_str).map(str::to_lowercase);
    let kind = match r#type.as_deref() {
        Some("hfmodel") => InputKind::HuggingFace,
        Some("onnxmodel") => InputKind::Onnx,
        Some(other) => InputKind::Other(other.to_owned()),
        None => return Err(format!("{MODEL_CONFIG} does not say the `type` of the model")),
    };
    let config = json.get_mut("config").and_then(Value::as_object_mut);
    let config = config.ok_or_else(|| format!("{MODEL_CONFIG} has no `config`"))?;
    for key in ["model_path", "adapter_path"] {
        let inside = config.get(key).and_then(Value::as_str).map(|path| folder.join(path));
        if let Some(inside) = inside.filter(|path| path.exists()) {
            config.insert(key.into(), json!(inside));
        }
    }
    match adapter {
        None => {}
        Some(adapter) if kind == InputKind::HuggingFace => {
            config.insert("adapter_path".into(), json!(adapter));
        }
        Some(_) => return Err(format!("it is {}, and `-a` needs a Hugging Face model", kind.described())),
    }
    Ok((kind, json))
}

/// `azureml://registries/REGISTRY/models/NAME/versions/VERSION` as a resource.
fn registry_model(given: &str) -> Option<Value> {
    let parts: Vec<&str> = given.strip_prefix(REGISTRIES)?.split('/').collect();
    let [registry, "models", name, "versions", version] = parts[..] else { return None };
    Some(json!({
        "type": "azureml_registry_model",
        "registry_name": registry,
        "name": name,
        "version": version,
    }))
}

/// The ONNX graphs at a path: itself, or those in the folder.
fn graphs(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    let is_graph = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "onnx");
    if !path.is_dir() {
        return Ok(Some(path.to_owned()).filter(is_graph).into_iter().collect());
    }
    let mut graphs = entries(path)?;
    graphs.retain(is_graph);
    Ok(graphs)
}

/// What is in a folder, in the order of the names.
fn entries(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    entries.sort();
    Ok(entries)
}

/// Files beside the graph belong to the model, but for its weights, which the graph names.
fn onnx(path: &Path, graph: &Path) -> std::io::Result<Value> {
    let mut json = json!({"type": "OnnxModel", "model_path": path});
    if path.is_dir() {
        json["onnx_file_name"] = json!(name(graph));
        let weights = format!("{}.data", name(graph));
        let beside = entries(path)?;
        let is_beside = |file: &&PathBuf| *file != graph && name(file) != weights;
        // Configurations are UTF-8.
        let beside: Vec<&str> = beside.iter().filter(is_beside).filter_map(|file| file.to_str()).collect();
        if !beside.is_empty() {
            json["model_attributes"] = json!({"additional_files": beside});
        }
    }
    Ok(json)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(unix)]
    use std::os::unix::ffi::OsStrExt;

    fn find(model: &str) -> Result<InputModel, VerbError> {
        InputModel::find(&ModelOptions { model: Some(model.to_owned()), ..ModelOptions::default() })
    }

    #[test]
    fn addresses_and_ids_are_models_of_the_hub() {
        for given in
            ["org/name", "https://huggingface.co/org/name", "https://huggingface.co/org/name/tree/main"]
        {
            let model = find(given).unwrap();
            assert_eq!((model.kind, &model.json["model_path"]), (InputKind::HuggingFace, &json!("org/name")));
        }
        let model = find("azureml://registries/r/models/m/versions/3").unwrap();
        assert_eq!(model.json["model_path"]["type"], "azureml_registry_model");
        assert_eq!(model.json["model_path"]["version"], "3");
        assert!(find("./no/such").unwrap_err().to_string().contains("no such file or folder"));
        assert!(matches!(InputModel::find(&ModelOptions::default()), Err(VerbError::NoModel)));
    }

    #[test]
    fn folders_are_told_apart_by_their_files() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let at = |name: &str| dir.path().join(name).display().to_string();
        write("hf/config.json", "{}");
        write("onnx/model.onnx", "");
        write("onnx/model.onnx.data", "");
        write("onnx/genai_config.json", "{}");
        #[cfg(unix)]
        std::fs::write(dir.path().join("onnx").join(std::ffi::OsStr::from_bytes(b"\xff")), "").unwrap();
        write("two/a.onnx", "");
        write("two/b.onnx", "");
        write("run/model/config.json", "{}");
        write("run/model_config.json", r#"{"type": "hfmodel", "config": {"model_path": "model"}}"#);
        assert_eq!(find(&at("hf")).unwrap().kind, InputKind::HuggingFace);
        let onnx = find(&at("onnx")).unwrap();
        assert_eq!((onnx.kind, &onnx.json["onnx_file_name"]), (InputKind::Onnx, &json!("model.onnx")));
        let beside = json!([dir.path().join("onnx/genai_config.json")]);
        assert_eq!(onnx.json["model_attributes"]["additional_files"], beside);
        let one = find(&at("onnx/model.onnx")).unwrap().json;
        assert_eq!(one, json!({"type": "OnnxModel", "model_path": at("onnx/model.onnx")}));
        let error = find(&at("two")).unwrap_err().to_string();
        assert!(error.contains("`a.onnx`, `b.onnx`"), "{error}");
        let run = find(&at("run")).unwrap();
        assert_eq!(run.json["config"]["model_path"], json!(dir.path().join("run/model")));
        assert!(!run.has_adapter());
    }

    #[test]
    fn an_adapter_goes_on_what_an_earlier_run_wrote() {
        let dir = tempfile::tempdir().unwrap();
        let write = |text: &str| std::fs::write(dir.path().join(MODEL_CONFIG), text).unwrap();
        let find = || {
            InputModel::find(&ModelOptions {
                model: Some(dir.path().display().to_string()),
                adapter: Some("lora".into()),
                ..ModelOptions::default()
            })
        };
        write(r#"{"type": "HfModel", "config": {"model_path": "org/name"}}"#);
        let model = find().unwrap();
        assert_eq!(model.json["config"], json!({"model_path": "org/name", "adapter_path": "lora"}));
        assert!(model.has_adapter());
        std::fs::create_dir_all(dir.path().join("run/adapter")).unwrap();
        std::fs::write(dir.path().join("run/adapter/adapter_config.json"), "{}").unwrap();
        assert_eq!(adapter_folder(&dir.path().join("run")), dir.path().join("run/adapter"));
        assert_eq!(adapter_folder(&dir.path().join("run/adapter")), dir.path().join("run/adapter"));
        write(r#"{"type": "ONNXModel", "config": {}}"#);
        assert!(find().unwrap_err().to_string().contains("an ONNX model"));
        write("{");
        assert!(find().unwrap_err().to_string().contains("not JSON"));
    }
}
