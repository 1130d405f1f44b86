//! `input_model`.

use crate::option::{Block, Kind, Opt, Special};
use crate::origin::Era;
use serde_json::json;

const TYPE: &[Opt] = &[Opt::new(
    "type",
    Kind::Text,
    "`HfModel`, `PyTorchModel` (with `hf_config`) or `ONNXModel`, in any case.",
)
.required()];

const PYTHON: &str = "the architecture is read from config.json, no Python is run";
const GRAPH: &str = "the graph is built from the architecture, not traced";

/// `HfModel` and `PyTorchModel`.
pub(crate) static HF_MODEL: Block = Block {
    name: "the input model",
    doc: "A Hugging Face model: `HfModel` today, `PyTorchModel` with `hf_config` up to Olive 0.6.",
    wrapper: Some("config"),
    outer: TYPE,
    parts: &[&[
        Opt::new(
            "model_path",
            Kind::Special(&MODEL_PATH),
            "Folder of the model, or its id on the Hugging Face Hub. Wins over `hf_config.model_name`.",
        ),
        Opt::new("task", Kind::Text, "Task of the model; passes that train need text generation."),
        Opt::new("adapter_path", Kind::Text, "Folder of a PEFT adapter on this model."),
        Opt::new("load_kwargs", Kind::Block(&LOAD_KWARGS), "How the model is loaded.").only(Era::New),
        Opt::new("hf_config", Kind::Block(&HF_CONFIG), "The model, up to Olive 0.6.").only(Era::Old),
        Opt::new("io_config", Kind::Any, "Inputs and outputs for tracing.").quiet(),
        Opt::new("model_file_format", Kind::Text, "How PyTorch stored the model.")
            .ignored_unless("\"PyTorch.EntireModel\"", "Hugging Face folders with safetensors are read"),
        Opt::new("model_loader", Kind::Any, "Python function that loads the model.").ignored(PYTHON),
        Opt::new("model_script", Kind::Text, "Python file of the model.").ignored(PYTHON),
        Opt::new("script_dir", Kind::Text, "Folder of Python files.").ignored(PYTHON),
        Opt::new("dummy_inputs_func", Kind::Any, "Python function for tracing.").ignored(GRAPH),
        Opt::new("model_attributes", Kind::Any, "Attributes that Olive's passes leave on a model.").quiet(),
        Opt::new("mlflow_transformer_model_cache_dir", Kind::Text, "Cache of MLflow.")
            .ignored("MLflow models are not read"),
        Opt::new("test_model_path", Kind::Text, "Small stand-in for the model.")
            .ignored("the real model is used"),
        Opt::new("test_model_config", Kind::Any, "Options of the stand-in.")
            .ignored("the real model is used"),
        Opt::new("generative", Kind::Bool, "Whether the model generates text.").quiet(),
    ]],
    open: None,
};

pub(crate) static HF_CONFIG: Block = Block {
    name: "hf_config",
    doc: "The Hugging Face model of a `PyTorchModel`, up to Olive 0.6.",
    wrapper: None,
    outer: &[],
    parts: &[&[
        Opt::new("model_name", Kind::Text, "Folder of the model, or its id on the Hugging Face Hub."),
        Opt::new("task", Kind::Text, "Task of the model."),
        Opt::new("from_pretrained_args", Kind::Block(&LOAD_KWARGS), "How the model is loaded.")
            .also(&["model_loading_args", "load_kwargs"]),
        Opt::new("feature", Kind::Text, "Feature for tracing.").quiet(),
        Opt::new("model_class", Kind::Text, "Python class of the model.").ignored(PYTHON),
        Opt::new("components", Kind::Any, "Parts of the model that are traced one by one.").ignored(GRAPH),
        Opt::new("dataset", Kind::Any, "Dataset for evaluation (up to Olive 0.4).")
            .ignored("give it in `data_configs`"),
    ]],
    open: None,
};

pub(crate) static LOAD_KWARGS: Block = Block {
    name: "load_kwargs",
    doc: "How Python's transformers loads a model. Only the revision matters here: weights are read as they are stored.",
    wrapper: Some("extra_args"),
    outer: &[],
    parts: &[&[
        Opt::new("revision", Kind::Text, "Branch, tag or commit on the Hugging Face Hub."),
        Opt::new("trust_remote_code", Kind::Bool, "Accepted; no code of a model is ever run.")
            .default("false"),
        Opt::new(
            "torch_dtype",
            Kind::Text,
            "Type in which the model is loaded; here weights stay as stored.",
        )
        .also(&["dtype"])
        .quiet(),
        Opt::new("device_map", Kind::Any, "Placement on devices; see `--device`.").quiet(),
        Opt::new("attn_implementation", Kind::Text, "Kernel of the attention.")
            .also(&["_attn_implementation"])
            .quiet(),
        Opt::new("use_cache", Kind::Bool, "Keep keys and values.").quiet(),
        Opt::new("low_cpu_mem_usage", Kind::Bool, "Load tensor by tensor, as is always done here.").quiet(),
        Opt::new("use_safetensors", Kind::Bool, "Read safetensors, as is always done here.").quiet(),
        Opt::new("token", Kind::Any, "Token for the Hub.")
            .ignored("the token comes from the Hub's login or `HF_TOKEN`"),
        Opt::new("cache_dir", Kind::Text, "Cache of the Hub.")
            .ignored("set `HF_HOME` for another cache of the Hub"),
        Opt::new("max_memory", Kind::Any, "Memory limit per device.")
            .ignored("weights are mapped, not loaded"),
        Opt::new("quantization_method", Kind::Text, "Quantise the model while loading.")
            .refused_unless("null", "use the pass QLoRA to train on a quantised model"),
        Opt::new("quantization_config", Kind::Any, "Quantise the model while loading.")
            .refused_unless("null", "use the pass QLoRA to train on a quantised model"),
    ]],
    open: Some("it is an argument of Python's `from_pretrained`"),
};

pub(crate) static ONNX_MODEL: Block = Block {
    name: "the input model",
    doc: "An ONNX model.",
    wrapper: Some("config"),
    outer: TYPE,
    parts: &[&[
        Opt::new("model_path", Kind::Special(&MODEL_PATH), "Folder or file of the model.").required(),
        Opt::new("onnx_file_name", Kind::Text, "File in the folder.").quiet(),
        Opt::new("inference_settings", Kind::Any, "Options of the session.").quiet(),
        Opt::new("use_ort_extensions", Kind::Bool, "Load onnxruntime-extensions.").quiet(),
        Opt::new("external_initializers_file_name", Kind::Text, "File of external initializers.").quiet(),
        Opt::new("constant_inputs_file_name", Kind::Text, "File of constant inputs.").quiet(),
        Opt::new("generative", Kind::Bool, "Whether the model generates text.").quiet(),
        Opt::new("model_attributes", Kind::Any, "Attributes that Olive's passes leave on a model.").quiet(),
    ]],
    open: None,
};

/// The model to start from.
pub(crate) static INPUT_MODEL: Special =
    Special::unchecked("an object, see below", || json!({"$ref": "#/$defs/input_model"}));

/// A folder or hub id, or an object that says where a model lies.
pub(crate) static MODEL_PATH: Special =
    Special::unchecked("a text, or an object with a path", || json!({"type": ["string", "object", "null"]}));
