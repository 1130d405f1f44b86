//! `systems`: where passes run, and for what hardware.

use crate::azureml::AZURE_ML_OPTIONS;
use crate::option::{Block, Kind, Opt, Special};
use crate::options;
use serde_json::json;

const TYPE: &[Opt] = &[Opt::new(
    "type",
    Kind::Text,
    "`LocalSystem`, `AzureML`, `Docker`, `PythonEnvironment` or `IsolatedORT`, in any case; or Olive's name for an \
     AzureML machine with GPUs, such as `AzureND12SSystem`.",
)
.required()];

const HARDWARE: &[Opt] = &[Opt::new(
    "accelerators",
    Kind::Special(&ACCELERATORS),
    "The hardware: `[{\"device\": \"gpu\", \"execution_providers\": [\"CUDAExecutionProvider\"]}]`.",
)];

const HF_TOKEN: &[Opt] =
    &[Opt::new("hf_token", Kind::Bool, "Whether jobs log in to the Hugging Face Hub.").quiet()];

const MANAGED: &[Opt] = &[
    Opt::new("olive_managed_env", Kind::Bool, "Let Olive make the Python environment.").quiet(),
    Opt::new("requirements_file", Kind::Text, "Packages of the Python environment.").quiet(),
    Opt::new("is_dev", Kind::Bool, "Use Olive's sources.").quiet(),
];

pub(crate) static LOCAL_SYSTEM: Block = Block {
    name: "LocalSystem",
    doc: "This machine.",
    wrapper: Some("config"),
    outer: TYPE,
    parts: &[HARDWARE, HF_TOKEN],
    open: None,
};

pub(crate) static AZURE_ML: Block = Block {
    name: "AzureML",
    doc: "An AzureML compute, whose jobs run passes: [azure.md](azure.md). `--local` runs them on this machine.",
    wrapper: Some("config"),
    outer: TYPE,
    parts: &[HARDWARE, AZURE_ML_OPTIONS],
    open: None,
};

/// Olive's names for machines of AzureML, all of which have GPUs.
pub(crate) const AZURE_MACHINES: [&str; 7] = [
    "AzureND12SSystem",
    "AzureND24RSSystem",
    "AzureND24SSystem",
    "AzureNDV2System",
    "AzureND6SSystem",
    "AzureND96A100System",
    "AzureND96ASystem",
];

pub(crate) static DOCKER: Block = Block {
    name: "Docker",
    doc: "A container. Passes do not run there: `--local` runs them on this machine.",
    wrapper: Some("config"),
    outer: TYPE,
    parts: &[
        HARDWARE,
        HF_TOKEN,
        MANAGED,
        &[
            Opt::new("local_docker_config", Kind::Any, "Image, up to Olive 0.9.").quiet(),
            Opt::new("image_name", Kind::Text, "Image.").quiet(),
            Opt::new("dockerfile", Kind::Text, "File that builds the image.").quiet(),
            Opt::new("build_context_path", Kind::Text, "Folder that the build sees.").quiet(),
            Opt::new("build_args", Kind::Any, "Arguments of the build.").quiet(),
            Opt::new("run_params", Kind::Any, "Arguments of the run.").quiet(),
            Opt::new("work_dir", Kind::Text, "Folder in the container.").quiet(),
            Opt::new("clean_image", Kind::Bool, "Remove the image afterwards.").quiet(),
        ],
    ],
    open: None,
};

pub(crate) static PYTHON_ENVIRONMENT: Block = Block {
    name: "PythonEnvironment",
    doc: "Another Python. Nothing here needs one: `--local` runs the passes in this program.",
    wrapper: Some("config"),
    outer: TYPE,
    parts: &[HARDWARE, HF_TOKEN, MANAGED, ENVIRONMENT],
    open: None,
};

pub(crate) static ISOLATED_ORT: Block = Block {
    name: "IsolatedORT",
    doc: "ONNX Runtime in another Python, for evaluation.",
    wrapper: Some("config"),
    outer: TYPE,
    parts: &[HARDWARE, HF_TOKEN, ENVIRONMENT],
    open: None,
};

const ENVIRONMENT: &[Opt] = &[
    Opt::new("python_environment_path", Kind::Text, "Folder of the Python.").quiet(),
    Opt::new("environment_variables", Kind::Any, "Variables of the process.").quiet(),
    Opt::new("prepend_to_path", Kind::Texts, "Folders in front of PATH.").quiet(),
];

pub(crate) static ACCELERATOR: Block = Block {
    name: "the accelerator",
    doc: "One piece of hardware. Up to Olive 0.5 it was written as a text: `\"gpu\"`.",
    wrapper: None,
    outer: &[],
    parts: &[ACCELERATOR_OPTIONS],
    open: None,
};

options! {
    /// One piece of hardware, as written.
    pub struct AcceleratorOptions {
        ACCELERATOR_OPTIONS {
            /// The device.
            pub device: Option<String> = Kind::Choice(&["cpu", "gpu", "npu", "vpu", "cpu_spr", "intel_myriad"]);
            /// ONNX Runtime's execution providers; the first one counts.
            pub execution_providers: Vec<String>;
            /// Memory of the device.
            - "memory" = Kind::Any, quiet();
        }
    }
}

/// ONNX Runtime's execution providers, and what ModelBuilder calls them.
pub(crate) const PROVIDERS: &[(&str, &str)] = &[
    ("CPUExecutionProvider", "cpu"),
    ("CUDAExecutionProvider", "cuda"),
    ("DmlExecutionProvider", "dml"),
    ("WebGpuExecutionProvider", "webgpu"),
    ("JsExecutionProvider", "webgpu"),
    ("TensorrtExecutionProvider", "cuda"),
    ("NvTensorRTRTXExecutionProvider", "NvTensorRtRtx"),
    ("ROCMExecutionProvider", "cpu"),
    ("MIGraphXExecutionProvider", "cpu"),
    ("OpenVINOExecutionProvider", "cpu"),
    ("QNNExecutionProvider", "cpu"),
    ("VitisAIExecutionProvider", "cpu"),
    ("CoreMLExecutionProvider", "cpu"),
    ("XnnpackExecutionProvider", "cpu"),
    ("DnnlExecutionProvider", "cpu"),
    ("SNPEExecutionProvider", "cpu"),
    ("AzureExecutionProvider", "cpu"),
];

/// Systems by name.
pub(crate) static SYSTEMS: Special = Special::unchecked(
    "an object by name",
    || json!({"type": ["object", "null"], "additionalProperties": {"$ref": "#/$defs/system"}}),
);

/// A name in `systems`, or a system.
pub(crate) static SYSTEM: Special = Special::unchecked(
    "a name or a system",
    || json!({"anyOf": [{"type": ["string", "null"]}, {"$ref": "#/$defs/system"}]}),
);

/// The hardware of a system.
pub(crate) static ACCELERATORS: Special = Special::unchecked("a list", || {
    json!({"type": ["array", "null"], "items": {
        "anyOf": [{"$ref": "#/$defs/accelerator"}, {"type": "string"}],
    }})
});
