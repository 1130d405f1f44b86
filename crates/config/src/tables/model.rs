//! `input_model`.

use crate::azureml::ResourcePath;
use crate::option::{BOOL, Block, Kind, Opt, Special, TEXT};
use crate::options;
use crate::origin::Era;
use crate::statement::OptionValue;
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
    parts: &[HF_MODEL_OPTIONS],
    open: None,
};

options! {
    /// What is said of a Hugging Face model besides where it lies.
    pub struct HfModelOptions {
        HF_MODEL_OPTIONS {
            /// Folder of the model, its id on the Hugging Face Hub, or a resource path. Wins over `hf_config.model_name`.
            - "model_path" = ResourcePath::KIND;
            /// Task of the model; passes that train need text generation.
            pub task: Option<String>;
            /// Folder of a PEFT adapter on this model, or a resource path.
            - "adapter_path" = ResourcePath::KIND;
            /// How the model is loaded.
            - "load_kwargs" = Kind::Block(&LOAD_KWARGS), only(Era::New);
            /// The model, up to Olive 0.6.
            - "hf_config" = Kind::Block(&HF_CONFIG), only(Era::Old);
            /// Inputs and outputs for tracing.
            - "io_config" = Kind::Any, quiet();
            /// How PyTorch stored the model.
            - "model_file_format" = TEXT,
                ignored_unless("\"PyTorch.EntireModel\"", "Hugging Face folders with safetensors are read");
            /// Python function that loads the model.
            - "model_loader" = Kind::Any, ignored(PYTHON);
            /// Python file of the model.
            - "model_script" = TEXT, ignored(PYTHON);
            /// Folder of Python files.
            - "script_dir" = TEXT, ignored(PYTHON);
            /// Python function for tracing.
            - "dummy_inputs_func" = Kind::Any, ignored(GRAPH);
            /// Attributes that Olive's passes leave on a model.
            - "model_attributes" = Kind::Any, quiet();
            /// Cache of MLflow.
            - "mlflow_transformer_model_cache_dir" = TEXT, ignored("MLflow models are not read");
            /// Small stand-in for the model.
            - "test_model_path" = TEXT, ignored("the real model is used");
            /// Options of the stand-in.
            - "test_model_config" = Kind::Any, ignored("the real model is used");
            /// Whether the model generates text.
            - "generative" = BOOL, quiet();
        }
    }
}

pub(crate) static HF_CONFIG: Block = Block {
    name: "hf_config",
    doc: "The Hugging Face model of a `PyTorchModel`, up to Olive 0.6.",
    wrapper: None,
    outer: &[],
    parts: &[HF_CONFIG_OPTIONS],
    open: None,
};

options! {
    /// The model of a `PyTorchModel`.
    pub struct HfConfig {
        HF_CONFIG_OPTIONS {
            /// Folder of the model, or its id on the Hugging Face Hub.
            pub model_name: Option<String>;
            /// Task of the model.
            pub task: Option<String>;
            /// How the model is loaded.
            - "from_pretrained_args" = Kind::Block(&LOAD_KWARGS),
                also(&["model_loading_args", "load_kwargs"]);
            /// Feature for tracing.
            - "feature" = TEXT, quiet();
            /// Python class of the model.
            - "model_class" = TEXT, ignored(PYTHON);
            /// Parts of the model that are traced one by one.
            - "components" = Kind::Any, ignored(GRAPH);
            /// Dataset for evaluation (up to Olive 0.4).
            - "dataset" = Kind::Any, ignored("give it in `data_configs`");
        }
    }
}

pub(crate) static LOAD_KWARGS: Block = Block {
    name: "load_kwargs",
    doc: "How Python's transformers loads a model. Only the revision matters here: weights are read as they are stored.",
    wrapper: Some("extra_args"),
    outer: &[],
    parts: &[LOAD_KWARGS_OPTIONS],
    open: Some("it is an argument of Python's `from_pretrained`"),
};

options! {
    /// How a model is loaded.
    pub struct LoadKwargs {
        LOAD_KWARGS_OPTIONS {
            /// Branch, tag or commit on the Hugging Face Hub.
            pub revision: Option<String>;
            /// Accepted; no code of a model is ever run.
            pub trust_remote_code: bool, default("false");
            /// Type in which the model is loaded; here weights stay as stored.
            - "torch_dtype" = TEXT, also(&["dtype"]), quiet();
            /// Placement on devices; see `--device`.
            - "device_map" = Kind::Any, quiet();
            /// Kernel of the attention.
            - "attn_implementation" = TEXT, also(&["_attn_implementation"]), quiet();
            /// Keep keys and values.
            - "use_cache" = BOOL, quiet();
            /// Load tensor by tensor, as is always done here.
            - "low_cpu_mem_usage" = BOOL, quiet();
            /// Read safetensors, as is always done here.
            - "use_safetensors" = BOOL, quiet();
            /// Token for the Hub.
            - "token" = Kind::Any, ignored("the token comes from the Hub's login or `HF_TOKEN`");
            /// Cache of the Hub.
            - "cache_dir" = TEXT, ignored("set `HF_HOME` for another cache of the Hub");
            /// Memory limit per device.
            - "max_memory" = Kind::Any, ignored("weights are mapped, not loaded");
            /// Quantise the model while loading.
            - "quantization_method" = TEXT,
                refused_unless("null", "use the pass QLoRA to train on a quantised model");
            /// Quantise the model while loading.
            - "quantization_config" = Kind::Any,
                refused_unless("null", "use the pass QLoRA to train on a quantised model");
        }
    }
}

pub(crate) static ONNX_MODEL: Block = Block {
    name: "the input model",
    doc: "An ONNX model.",
    wrapper: Some("config"),
    outer: TYPE,
    parts: &[&[
        Opt::new("model_path", ResourcePath::KIND, "Folder or file of the model.").required(),
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
