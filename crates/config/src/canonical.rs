//! The canonical form: what a configuration means, whatever grammar it was written in.
//!
//! Everything here serialises, because cache keys and manifests are made of it; what must not enter a key (paths
//! that only say where a file lies, log levels, origins) is marked `skip`.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::Diagnostic;
pub use super::training_options::*;

/// The grammar a block is written in, which decides its defaults (`Old`: up to Olive 0.6; `New`: since 0.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Era {
    Old,
    New,
}

/// Where the value of an option comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The file, at this line.
    File { line: usize },
    /// `--set`.
    CommandLine,
    /// Olive's default in that era.
    Default(Era),
}

/// An option as it will be used, for the plan that `validate` prints.
#[derive(Debug, Clone, PartialEq)]
pub struct ResolvedOption {
    /// Name in today's spelling of ours, with dots for nesting: `training_args.learning_rate`.
    pub name: String,
    pub value: serde_json::Value,
    pub origin: Origin,
}

/// A whole configuration, checked: every reference resolves, every option has a value.
#[derive(Debug, Clone)]
pub struct RunConfig {
    /// The file it was read from.
    pub path: PathBuf,
    pub workflow_id: String,
    pub input_model: InputModel,
    pub systems: BTreeMap<String, System>,
    /// In the order of the file. `pass_flows` and list-valued passes give several flows; `flows` indexes `passes`.
    pub passes: Vec<PassConfig>,
    pub flows: Vec<Vec<usize>>,
    pub engine: EngineConfig,
    pub warnings: Vec<Diagnostic>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum InputModel {
    HuggingFace {
        /// A folder or a hub id, as written.
        model_path: String,
        adapter_path: Option<PathBuf>,
        /// Revision on the hub.
        revision: Option<String>,
        task: String,
        /// Accepted, never needed: no remote code is run.
        trust_remote_code: bool,
    },
    Onnx {
        model_path: PathBuf,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub struct System {
    pub kind: SystemKind,
    pub accelerators: Vec<Accelerator>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SystemKind {
    Local,
    AzureMl,
    Docker,
    PythonEnvironment,
    IsolatedOrt,
}

/// For example `gpu` with `CUDAExecutionProvider`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Accelerator {
    /// `cpu`, `gpu`, `npu`, …
    pub device: String,
    pub execution_providers: Vec<String>,
}

#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Name in `systems`; `None` is this machine.
    pub host: Option<String>,
    pub target: Option<String>,
    pub cache_dir: PathBuf,
    pub clean_cache: bool,
    pub output_dir: PathBuf,
    /// 0 debug, 1 info, 2 warning, 3 error, 4 critical.
    pub log_severity_level: u8,
    /// No footprints and history files.
    pub no_artifacts: bool,
}

/// One entry of `passes`.
#[derive(Debug, Clone)]
pub struct PassConfig {
    /// Key in `passes`.
    pub name: String,
    pub pass: PassOptions,
    /// Name in `systems`, if the pass overrides the engine's host.
    pub host: Option<String>,
    /// Run again even if cached.
    pub clean_run_cache: bool,
    pub era: Era,
    /// For printing: every option, its value, and where it comes from.
    pub resolved: Vec<ResolvedOption>,
    /// Line and column of the entry.
    pub position: Option<(usize, usize)>,
}

/// The options of a pass, by its type.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type")]
pub enum PassOptions {
    LoRA(LoraOptions),
    QLoRA(QloraOptions),
    LoftQ(LoftqOptions),
    MergeAdapterWeights(MergeOptions),
    ModelBuilder(ModelBuilderOptions),
}

impl PassOptions {
    /// The type's name in Olive's spelling.
    pub fn type_name(&self) -> &'static str {
        match self {
            PassOptions::LoRA(_) => "LoRA",
            PassOptions::QLoRA(_) => "QLoRA",
            PassOptions::LoftQ(_) => "LoftQ",
            PassOptions::MergeAdapterWeights(_) => "MergeAdapterWeights",
            PassOptions::ModelBuilder(_) => "ModelBuilder",
        }
    }

    /// The options of the adapter's training, of a pass that trains one.
    pub fn lora(&self) -> Option<&LoraOptions> {
        match self {
            PassOptions::LoRA(lora) => Some(lora),
            PassOptions::QLoRA(qlora) => Some(&qlora.lora),
            PassOptions::LoftQ(loftq) => Some(&loftq.lora),
            PassOptions::MergeAdapterWeights(_) | PassOptions::ModelBuilder(_) => None,
        }
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct LoraOptions {
    pub r: usize,
    pub alpha: f64,
    pub lora_dropout: f64,
    pub use_rslora: bool,
    /// Magnitude and direction of every weight apart (DoRA).
    pub use_dora: bool,
    /// `None`: the defaults of the architecture.
    pub target_modules: Option<Targets>,
    pub modules_to_save: Option<Vec<String>>,
    /// Storage type of the trained adapter's compute on a GPU; on the CPU everything is f32.
    pub torch_dtype: String,
    pub train_data: DataConfig,
    pub eval_data: Option<DataConfig>,
    pub eval_dataset_size: Option<EvalSize>,
    pub training: TrainingArgs,
}

/// What `target_modules` can be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Targets {
    Names(Vec<String>),
    /// `"all-linear"`.
    AllLinear,
    /// A regular expression over whole module paths.
    Pattern(String),
}

/// How much to hold out for evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EvalSize {
    Count(usize),
    /// In (0, 1).
    Fraction(f64),
}

#[derive(Debug, Clone, Serialize)]
pub struct QloraOptions {
    #[serde(flatten)]
    pub lora: LoraOptions,
    /// `bfloat16`, `float16`, `float32`.
    pub compute_dtype: String,
    pub quant_type: QuantType,
    pub double_quant: bool,
}

/// The code is NF4, the scales stay float.
#[derive(Debug, Clone, Serialize)]
pub struct LoftqOptions {
    #[serde(flatten)]
    pub lora: LoraOptions,
    /// `bfloat16`, `float16`, `float32`.
    pub compute_dtype: String,
    /// How often weights and adapter are adjusted to each other before training, at least once.
    pub loftq_iter: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum QuantType {
    Nf4,
    Fp4,
}

/// transformers' `TrainingArguments`, as far as they change what is computed here.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrainingArgs {
    pub seed: u64,
    /// Seed of the hold-out split.
    pub data_seed: u64,
    /// As written, for example `paged_adamw_32bit`; all AdamW spellings mean AdamW with f32 state.
    pub optim: String,
    pub per_device_train_batch_size: usize,
    pub per_device_eval_batch_size: usize,
    pub gradient_accumulation_steps: usize,
    pub gradient_checkpointing: bool,
    pub learning_rate: f64,
    pub weight_decay: f64,
    pub adam_beta1: f64,
    pub adam_beta2: f64,
    pub adam_epsilon: f64,
    pub max_grad_norm: f64,
    pub num_train_epochs: f64,
    /// Positive: overrides the epochs.
    pub max_steps: Option<usize>,
    pub lr_scheduler_type: Scheduler,
    pub lr_scheduler_kwargs: SchedulerOptions,
    /// Learning rate of B relative to that of A (LoRA+).
    pub loraplus_lr_ratio: Option<f64>,
    /// Strength of the noise on embeddings (NEFTune).
    pub neftune_noise_alpha: Option<f64>,
    pub warmup_ratio: f64,
    /// Positive: overrides the ratio.
    pub warmup_steps: usize,
    #[serde(skip)]
    pub logging_steps: usize,
    pub eval_strategy: EvalStrategy,
    /// Optimiser steps between evaluations; in (0, 1) a share of all steps. `None`: `logging_steps`.
    pub eval_steps: Option<f64>,
    pub group_by_length: bool,
    pub dataloader_drop_last: bool,
    pub saving: Saving,
    pub selection: Selection,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EvalStrategy {
    No,
    Steps,
    Epoch,
}

#[derive(Debug, Clone, PartialEq, Serialize, Default)]
pub struct MergeOptions {
    /// `None`: as the adapter was trained to be used, quantised for LoftQ's, float for others.
    pub base_weights: Option<BaseWeights>,
}

/// What an adapter is added to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BaseWeights {
    /// The base model as it is.
    Float,
    /// What QLoRA's or LoftQ's 4 bits leave of it, which is what the adapter was trained on.
    Quantised,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelBuilderOptions {
    pub precision: Precision,
    /// `cpu`, `cuda`, `dml`, `webgpu`, from the target's accelerator; `--local` without a GPU means `cpu`.
    pub execution_provider: String,
    pub block_size: usize,
    /// `None`: 4 on cpu, else 0.
    pub accuracy_level: Option<u8>,
    pub is_symmetric: bool,
    pub algorithm: QuantAlgorithm,
    pub mixed_precision: MixedPrecision,
    /// MatMul nodes are quantised (in int4 and int8 models).
    pub quantise_matmul: bool,
    /// The embedding's Gather is quantised, whether it shares its matrix with the head or not.
    pub quantise_gather: bool,
    /// Exact node names, for example `/lm_head/MatMul`.
    pub nodes_to_exclude: Vec<String>,
    /// `DequantizeLinear` and `MatMul` instead of `MatMulNBits`.
    pub use_qdq: bool,
    /// One matrix for embedding and head; `None`: when the model ties them.
    pub shared_embeddings: Option<bool>,
    /// One MatMul for q, k and v, where the provider's attention takes that.
    pub fuse_qkv: bool,
    /// Embeddings instead of token ids go in.
    pub exclude_embeds: bool,
    /// Hidden states instead of logits come out.
    pub exclude_lm_head: bool,
    /// Hidden states come out beside the logits.
    pub include_hidden_states: bool,
    /// Logits of the last position only.
    pub prune_lm_head: bool,
    /// Inputs and outputs of a WebGPU model are f32.
    pub use_webgpu_fp32: bool,
    /// Inputs and outputs of an int4 model for CUDA are bf16.
    pub use_cuda_bf16: bool,
    pub enable_cuda_graph: bool,
    /// Only genai_config.json and the tokenizer are written; an ONNX model keeps its graph.
    pub metadata_only: bool,
    /// The first layers only.
    pub num_hidden_layers: Option<usize>,
    /// Name of the ONNX file; `None`: `model.onnx`.
    pub filename: Option<String>,
    /// What becomes of an adapter.
    pub adapters: Adapters,
    /// Merged over `search` of genai_config.json.
    pub search: Option<serde_json::Map<String, serde_json::Value>>,
    /// Data by which the codes of an int4 model are chosen.
    pub calibration: Option<DataConfig>,
}

impl ModelBuilderOptions {
    /// The defaults of every option that has one.
    pub fn new(precision: Precision, execution_provider: &str) -> ModelBuilderOptions {
        ModelBuilderOptions {
            precision,
            execution_provider: execution_provider.to_owned(),
            block_size: 32,
            accuracy_level: None,
            is_symmetric: true,
            algorithm: QuantAlgorithm::Default,
            mixed_precision: MixedPrecision::default(),
            quantise_matmul: true,
            quantise_gather: false,
            nodes_to_exclude: Vec::new(),
            use_qdq: false,
            shared_embeddings: None,
            fuse_qkv: true,
            exclude_embeds: false,
            exclude_lm_head: false,
            include_hidden_states: false,
            prune_lm_head: false,
            use_webgpu_fp32: false,
            use_cuda_bf16: false,
            enable_cuda_graph: false,
            metadata_only: false,
            num_hidden_layers: None,
            filename: None,
            adapters: Adapters::Merged,
            search: None,
            calibration: None,
        }
    }

    /// Name of the ONNX file; `.data` is added for its weights.
    pub fn file_name(&self) -> &str {
        self.filename.as_deref().unwrap_or(Self::FILE_NAME)
    }

    /// Name of the ONNX file unless [`ModelBuilderOptions::filename`] says otherwise.
    pub const FILE_NAME: &'static str = "model.onnx";

    /// What [`ModelBuilderOptions::filename`] must be, for messages.
    pub const ONNX_FILE_NAME: &'static str = "the name of a file without its folder that ends in `.onnx`";

    pub fn is_onnx_file_name(name: &str) -> bool {
        Self::is_file_name(name) && name.len() > ".onnx".len() && name.ends_with(".onnx")
    }

    /// The name of a file in the same folder.
    pub fn is_file_name(name: &str) -> bool {
        let mut parts = Path::new(name).components();
        matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) && !name.ends_with('/')
    }
}

/// How ModelBuilder exports a model with an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Adapters {
    /// In the weights.
    Merged,
    /// In a file of its own, for a session to switch on.
    Separate,
}

/// Bits of some matrices, where they differ from those of the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct MixedPrecision {
    /// The head.
    pub last_matmul: Option<u8>,
    /// In the first and last eighth of the layers, and every third one, the projections that suffer most.
    pub mixed_layers: Option<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    Fp32,
    Fp16,
    Bf16,
    Int8,
    Int4,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum QuantAlgorithm {
    Default,
    Rtn,
    KQuant,
}

/// A dataset and how its rows become token blocks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DataConfig {
    #[serde(skip)]
    pub name: String,
    pub load: LoadDataset,
    pub pre_process: TextGeneration,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LoadDataset {
    /// `json`, `csv`, `parquet`, `text`, or a hub dataset id or local folder.
    pub data_name: String,
    pub subset: Option<String>,
    /// With slices: `train[:90%]`.
    pub split: String,
    #[serde(skip)]
    pub data_dir: Option<PathBuf>,
    #[serde(skip)]
    pub data_files: DataFiles,
    /// Rows are kept where these columns have these values.
    pub col_filters: BTreeMap<String, serde_json::Value>,
    /// `field` of the json loader: the key under which the rows lie.
    pub field: Option<String>,
}

/// Which files hold the rows. The content, not these paths, enters cache keys.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum DataFiles {
    /// None given: everything in `data_dir`.
    #[default]
    Unset,
    /// Paths or globs, all of split `train`.
    Local(Vec<String>),
    /// Paths or globs per split.
    PerSplit(BTreeMap<String, Vec<String>>),
    /// A place this program cannot reach yet, for example a datastore of AzureML.
    Remote { kind: String, description: String },
}

/// Olive's text-generation pre-processing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TextGeneration {
    pub era: Era,
    pub source: TextSource,
    pub strategy: Strategy,
    /// Block length in tokens.
    pub max_seq_len: usize,
    pub joiner: Option<String>,
    pub stride: Option<usize>,
    pub pad_to_max_len: bool,
    /// `None`: the tokenizer's own.
    pub padding_side: Option<PaddingSide>,
    pub drop_short_sequences: bool,
    pub add_special_tokens: bool,
    pub use_attention_mask: bool,
    /// Counted in produced samples.
    pub max_samples: Option<usize>,
    /// Rows tokenised together; sliding windows do not span such batches.
    pub processing_batch_size: usize,
    /// Random strategies. `None`: seed 0, so that a configuration always gives the same blocks.
    pub random_seed: Option<u64>,
    pub random_retries: usize,
    pub loss_on: LossOn,
    /// Text after which the completion of a row begins.
    pub response_template: Option<String>,
}

/// Which tokens of a row count in the loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum LossOn {
    #[default]
    All,
    /// What follows the last `response_template`, or what the assistant says in a chat.
    Completion,
}

/// How the text of a row is made, in Olive's order of precedence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TextSource {
    /// `source` is a Jinja template; `None` is the tokenizer's own.
    ChatTemplate { source: Option<String>, message_col: String },
    /// A Python format string with the columns as arguments.
    Template(String),
    /// Values joined with one space.
    Columns(Vec<String>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    LineByLine,
    LineByLineRandom,
    Join,
    JoinRandom,
    JoinSlidingWindow,
    /// Whole rows side by side in blocks; they do not see one another.
    Pack,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PaddingSide {
    Left,
    Right,
}
