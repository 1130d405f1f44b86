//! `input_model`.

use crate::fields::Fields;
use crate::findings::Findings;
use crate::names::{list_names, nearest};
use crate::node::{Node, NodeValue};
use crate::origin::Era;
use crate::place::At;
use crate::place::join;
use crate::run_config::InputModel;
use crate::tables::{HF_CONFIG, HF_MODEL, HfConfig, HfModelOptions, LOAD_KWARGS, LoadKwargs, ONNX_MODEL};
use olive_core::handle::ModelKind;

/// What the rest of the configuration needs to know of the model.
pub(super) struct ModelFacts {
    /// `None` if there was an error.
    pub(super) input: Option<InputModel>,
    pub(super) era: Era,
    /// `None` if there was an error.
    pub(super) kind: Option<ModelKind>,
    /// The task and its place, if the file gives one.
    pub(super) task: Option<(String, At, String)>,
}

const TYPES: [&str; 3] = ["HfModel", "PyTorchModel", "ONNXModel"];
const FOREIGN_TYPES: [&str; 11] = [
    "DistributedHfModel",
    "DistributedPyTorchModel",
    "CompositePyTorchModel",
    "DistributedOnnxModel",
    "CompositeModel",
    "DiffusersModel",
    "OpenVINOModel",
    "QNNModel",
    "QairtModel",
    "TensorFlowModel",
    "SNPEModel",
];

pub(super) fn read(root: &Fields<'_>, findings: &mut Findings) -> ModelFacts {
    let mut model = ModelFacts { input: None, era: Era::New, kind: None, task: None };
    let Some(found) = root.found("input_model") else { return model };
    if found.node.as_object().is_none() {
        let message = format!("expected an object, found {}", found.node.describe());
        findings.error(found.node.at, &found.path, message, None);
        return model;
    }
    let r#type = found.node.get("type");
    let Some(name) = r#type.and_then(Node::as_text) else {
        let hint = Some(format!("the types are {}", list_names(TYPES)));
        let (at, message) = match r#type {
            Some(node) => (node.at, format!("expected the type of the model, found {}", node.describe())),
            None => (found.node.at, "the input model needs `type`".to_owned()),
        };
        findings.error(at, &found.path, message, hint);
        return model;
    };
    match TYPES.iter().position(|known| known.eq_ignore_ascii_case(name)) {
        Some(0) => hugging_face(&mut model, Era::New, found.node, &found.path, findings),
        Some(1) => hugging_face(&mut model, Era::Old, found.node, &found.path, findings),
        Some(_) => onnx(&mut model, found.node, &found.path, findings),
        None => {
            let foreign = FOREIGN_TYPES.iter().any(|known| known.eq_ignore_ascii_case(name));
            let message = if foreign {
                format!("models of the type `{name}` are not supported")
            } else {
                format!("there is no model type `{name}`")
            };
            let hint = nearest(name, TYPES).filter(|_| !foreign).map_or_else(
                || format!("the types are {}", list_names(TYPES)),
                |near| format!("did you mean `{near}`?"),
            );
            findings.error(r#type.and_then(|node| node.at), join(&found.path, "type"), message, Some(hint));
        }
    }
    model
}

fn hugging_face(model: &mut ModelFacts, era: Era, node: &Node, path: &str, findings: &mut Findings) {
    model.era = era;
    let fields = Fields::open(node, path, &HF_MODEL, findings);
    let values = fields.resolve(era, findings);

    let old = fields.found("hf_config");
    let old_fields = old.map(|found| Fields::open(found.node, &found.path, &HF_CONFIG, findings));
    let old_values = old_fields.as_ref().map(|fields| fields.resolve(era, findings));

    // Keyword arguments of both grammars, in case a file mixes them.
    let mut kwargs = Fields::empty(&join(path, "load_kwargs"), node.at, &LOAD_KWARGS);
    let spellings =
        [fields.found("load_kwargs"), old_fields.as_ref().and_then(|f| f.found("from_pretrained_args"))];
    for found in spellings.into_iter().flatten() {
        if let Some(entries) = found.node.as_object() {
            kwargs.absorb(entries, &found.path, false, findings);
        }
    }
    let kwargs = LoadKwargs::read(&kwargs.resolve(era, findings));
    let options = HfModelOptions::read(&values);
    let old_options = old_values.as_ref().and_then(HfConfig::read);
    let (Some(kwargs), Some(options)) = (kwargs, options) else { return };

    let name = old_options.as_ref().and_then(|options| options.model_name.clone());
    let model_path = match fields.found("model_path").map(|found| (found, model_path(found.node))) {
        None => name.clone(),
        Some((_, Ok(path))) => Some(path),
        Some((found, Err(Unusable::Remote(place)))) => match &name {
            Some(name) => {
                let message =
                    format!("{place} cannot be read yet: `{name}` of the Hugging Face Hub is used instead");
                findings.warn(found.at, &found.path, message);
                Some(name.clone())
            }
            None => {
                let hint = format!("give a folder or a hub id: --set {}=FOLDER", found.path);
                findings.error(found.node.at, &found.path, format!("{place} cannot be read yet"), Some(hint));
                return;
            }
        },
        Some((found, Err(Unusable::Malformed(message)))) => {
            findings.error(found.node.at, &found.path, message, None);
            return;
        }
    };
    let Some(model_path) = model_path else {
        let slipped = old_fields.as_ref().is_some_and(|fields| !fields.lacks("model_name"));
        if slipped || !fields.lacks("model_path") || !fields.lacks("hf_config") && old.is_none() {
            return;
        }
        let hint = match era {
            Era::New => "give `model_path`, a folder or a hub id",
            Era::Old => "give `hf_config.model_name`, a folder or a hub id",
        };
        findings.error(node.at, path, "the input model has no name", Some(hint.into()));
        return;
    };
    let task = old_options.and_then(|options| options.task).or(options.task);
    if let Some(task) = &task {
        let found = old_fields.as_ref().and_then(|old| old.found("task")).or(fields.found("task"));
        model.task = found.map(|found| (task.clone(), found.at, found.path.clone()));
    }
    model.kind = Some(match &options.adapter_path {
        Some(_) => ModelKind::HfWithAdapter,
        None => ModelKind::Hf,
    });
    model.input = Some(InputModel::HuggingFace {
        model_path,
        adapter_path: options.adapter_path,
        revision: kwargs.revision,
        task: task.unwrap_or_else(|| "text-generation".into()),
        trust_remote_code: kwargs.trust_remote_code,
    });
}

fn onnx(model: &mut ModelFacts, node: &Node, path: &str, findings: &mut Findings) {
    let fields = Fields::open(node, path, &ONNX_MODEL, findings);
    fields.resolve(Era::New, findings);
    let Some(found) = fields.found("model_path") else { return };
    match model_path(found.node) {
        Ok(path) => {
            model.kind = Some(ModelKind::Onnx);
            model.input = Some(InputModel::Onnx { model_path: path.into() });
        }
        Err(Unusable::Remote(place)) => {
            findings.error(found.node.at, &found.path, format!("{place} cannot be read yet"), None);
        }
        Err(Unusable::Malformed(message)) => findings.error(found.node.at, &found.path, message, None),
    }
}

pub(super) enum Unusable {
    /// A place that this program cannot reach, in words.
    Remote(String),
    /// What is wrong with the value.
    Malformed(String),
}

/// A path from a text or from one of Olive's resource objects `{"type": …, "config": {…}}`.
pub(super) fn model_path(node: &Node) -> Result<String, Unusable> {
    match &node.value {
        NodeValue::Text(text) if text.is_empty() => Err(Unusable::Malformed("the path is empty".into())),
        NodeValue::Text(text) if text.starts_with("azureml://") => Err(Unusable::Remote(format!("`{text}`"))),
        NodeValue::Text(text) => Ok(text.clone()),
        NodeValue::Object(_) => {
            let kind = node.get("type").and_then(Node::as_text).unwrap_or_default().to_lowercase();
            let config = node.get("config").unwrap_or(node);
            let text = |key: &str| config.get(key).and_then(Node::as_text);
            if kind.starts_with("azureml_") {
                let name = ["name", "datastore_url", "datastore_name", "job_name"].into_iter().find_map(text);
                return Err(Unusable::Remote(format!("`{}` ({kind})", name.unwrap_or("a place in AzureML"))));
            }
            text("path")
                .or_else(|| text("name"))
                .or_else(|| text("model_path"))
                .map(str::to_owned)
                .ok_or_else(|| {
                    Unusable::Malformed("expected a path, or an object with `type` and `config.path`".into())
                })
        }
        _ => Err(Unusable::Malformed(format!("expected a path, found {}", node.describe()))),
    }
}
