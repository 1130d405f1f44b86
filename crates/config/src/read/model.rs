//! `input_model`.

use super::resource::{self, Consumer};
use crate::azureml::ResourcePath;
use crate::fields::{Fields, GivenOption};
use crate::findings::Findings;
use crate::names::{list_names, nearest};
use crate::node::Node;
use crate::origin::Era;
use crate::place::At;
use crate::place::join;
use crate::run_config::InputModel;
use crate::tables::{HF_CONFIG, HF_MODEL, HfConfig, HfModelOptions, LOAD_KWARGS, LoadKwargs, ONNX_MODEL};
use olive_core::handle::ModelKind;

/// What the rest of the configuration needs to know of the model.
pub(super) struct ModelFacts<'n> {
    /// `None` if there was an error.
    pub(super) input: Option<InputModel>,
    pub(super) era: Era,
    /// `None` if there was an error.
    pub(super) kind: Option<ModelKind>,
    /// The task and its place, if the file gives one.
    pub(super) task: Option<(String, At, String)>,
    /// What of it lies in AzureML.
    azureml: Vec<GivenOption<'n>>,
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

pub(super) fn read<'n>(root: &Fields<'n>, findings: &mut Findings) -> ModelFacts<'n> {
    let mut model = ModelFacts { input: None, era: Era::New, kind: None, task: None, azureml: Vec::new() };
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

fn hugging_face<'n>(
    model: &mut ModelFacts<'n>,
    era: Era,
    node: &'n Node,
    path: &str,
    findings: &mut Findings,
) {
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
    let mut read = |option: &str| fields.found(option).map(|found| model.resource(found, findings));
    let (adapter_path, model_path) = (read("adapter_path"), read("model_path"));
    if matches!(adapter_path, Some(None)) || matches!(model_path, Some(None)) {
        return;
    }
    let adapter_path = adapter_path.flatten();
    let Some(model_path) = model_path.flatten().or(name.map(ResourcePath::Local)) else {
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
    model.kind = Some(match &adapter_path {
        Some(_) => ModelKind::HfWithAdapter,
        None => ModelKind::Hf,
    });
    model.input = Some(InputModel::HuggingFace {
        model_path,
        adapter_path,
        revision: kwargs.revision,
        task: task.unwrap_or_else(|| "text-generation".into()),
        trust_remote_code: kwargs.trust_remote_code,
    });
}

fn onnx<'n>(model: &mut ModelFacts<'n>, node: &'n Node, path: &str, findings: &mut Findings) {
    let fields = Fields::open(node, path, &ONNX_MODEL, findings);
    fields.resolve(Era::New, findings);
    let Some(found) = fields.found("model_path") else { return };
    let Some(model_path) = model.resource(found, findings) else { return };
    model.kind = Some(ModelKind::Onnx);
    model.input = Some(InputModel::Onnx { model_path });
}

impl<'n> ModelFacts<'n> {
    /// The place that an option names.
    fn resource(&mut self, found: &GivenOption<'n>, findings: &mut Findings) -> Option<ResourcePath> {
        let path = resource::read(found.node, &found.path, Consumer::Unknown, findings);
        if let Some(ResourcePath::AzureMl(_)) = path {
            self.azureml.push(found.clone());
        }
        path
    }

    /// Checks what lies in AzureML, once it is known who uses it: jobs are given only what is of their workspace.
    pub(super) fn check_users(&self, users: &[Consumer<'_>], findings: &mut Findings) {
        for found in &self.azureml {
            for user in users.iter().filter(|user| matches!(user, Consumer::Job(_))) {
                resource::read(found.node, &found.path, *user, findings);
            }
        }
    }
}
