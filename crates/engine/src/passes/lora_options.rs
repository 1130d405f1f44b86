//! The options that all passes have that train an adapter.

use super::pass::{DataPurpose, DataUse};
use olive_config::option::{BELOW_ONE, DefaultValue, Kind, Opt, POSITIVE, Special, at_least};
use olive_config::training::{self, EvalSize, TRAINING_ARGS, Targets, TrainingArgs, TrainingRead};
use olive_config::{DataConfig, Era, Fields, Findings, PassContext, ResolvedOption, Values};
use serde::Serialize;
use serde_json::{Value as Json, json};

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

pub(super) const DTYPE: Kind = Kind::Choice(&["bfloat16|bf16", "float16|fp16|half", "float32|fp32|float"]);

pub(super) const ADAPTER: &[Opt] = &[
    Opt::new("r", at_least(1), "Rank of the adapter.").was(&["lora_r"]).default("64"),
    Opt::new("alpha", POSITIVE, "The adapter's output is scaled by alpha / r.")
        .was(&["lora_alpha"])
        .default("16.0"),
    Opt::new("lora_dropout", BELOW_ONE, "Dropout on the adapter's input.")
        .defaults(DefaultValue::Json("0.0"), DefaultValue::Json("0.05")),
    Opt::new("use_rslora", Kind::Bool, "Scale by alpha / √r instead.").default("false"),
    Opt::new(
        "use_dora",
        Kind::Bool,
        "DoRA: the length of every row of a weight is trained apart from its direction.",
    )
    .default("false"),
    Opt::new(
        "target_modules",
        Kind::Special(Special::TargetModules),
        "Names of the layers that get an adapter, `all-linear`, or a regular expression; null is the architecture's \
         default (QLoRA and LoftQ: all linear layers).",
    ),
    Opt::new("modules_to_save", Kind::Texts, "Layers that are trained whole."),
    Opt::new("torch_dtype", DTYPE, "Type of computation on a GPU; the CPU computes in float32.")
        .default("\"bfloat16\""),
];

pub(super) const TRAINING: &[Opt] = &[
    Opt::new(
        "train_data_config",
        Kind::Special(Special::DataConfig),
        "Dataset to train on: a name in `data_configs`.",
    )
    .required(),
    Opt::new("eval_data_config", Kind::Special(Special::DataConfig), "Dataset to evaluate on."),
    Opt::new(
        "eval_dataset_size",
        Kind::Special(Special::EvalSize),
        "Hold out this many blocks (1 or more) or this share of them (below 1) for evaluation.",
    )
    .only(Era::Old),
    Opt::new("training_args", Kind::Block(&TRAINING_ARGS), "How to train."),
    Opt::new("allow_tf32", Kind::Bool, "Use TF32 on a GPU.").quiet(),
    Opt::new("bias", Kind::Text, "Train biases too.")
        .only(Era::Old)
        .refused_unless("\"none\"", "only adapters are trained"),
    Opt::new("use_ort_trainer", Kind::Bool, "Train with ONNX Runtime.")
        .only(Era::Old)
        .ignored_unless("false", "there is one trainer, which needs neither torch nor ONNX Runtime"),
    Opt::new("ortmodule_onnx_opset_version", Kind::Any, "Option of ONNX Runtime's trainer.")
        .only(Era::Old)
        .ignored("there is one trainer"),
    Opt::new("device_map", Kind::Any, "Placement on devices; see `--device`.").only(Era::New).quiet(),
    Opt::new("ephemeral_gpu_offload", Kind::Bool, "Initialise on the GPU.")
        .only(Era::New)
        .ignored_unless("false", "it only matters for DoRA"),
];

/// What the adapter is trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TrainedOn {
    /// The weights as they are.
    Float,
    /// The linear layers in 4 bits.
    FourBits,
}

/// The options, and how they came about.
pub(super) fn read(
    fields: &Fields<'_>,
    mut values: Values,
    base: TrainedOn,
    context: &PassContext<'_>,
    findings: &mut Findings,
) -> Option<(LoraOptions, Vec<ResolvedOption>)> {
    let quantised = base == TrainedOn::FourBits;
    check_task(context, fields.block.name, findings);
    let train = fields.found("train_data_config").and_then(|found| context.data_config(found, findings));
    let eval = fields.found("eval_data_config").and_then(|found| context.data_config(found, findings));
    let eval_dataset_size = EvalSize::read(fields, &values, findings);
    if eval.is_some() && eval_dataset_size.is_some() {
        values.warn(
            "eval_dataset_size",
            "`eval_dataset_size` is not used: `eval_data_config` is given",
            findings,
        );
    }
    let evaluates = fields.found("eval_data_config").is_some() || fields.found("eval_dataset_size").is_some();
    let optim = quantised.then_some("paged_adamw_32bit");
    let training = TrainingRead { optim, evaluates, era: context.model_era() };
    let (training, training_values) = training::read(fields, training, findings);
    let target_modules = Targets::read(fields, &values, findings);
    if quantised && target_modules.is_some() && context.era() == Era::Old {
        let message = format!(
            "Olive of that time ignored `target_modules` of {} and trained all linear layers; here it counts",
            fields.block.name
        );
        values.warn("target_modules", message, findings);
    }
    if quantised && target_modules.is_none() {
        values.set("target_modules", json!("all-linear"));
    }
    let dtype = values.text("torch_dtype").unwrap_or("bfloat16").to_owned();

    let (train_data, train_resolved) = train?;
    let mut resolved = shown(&values);
    resolved.extend(training_values.resolved("training_args."));
    resolved.extend(prefixed("train_data_config.", train_resolved));
    let eval_data = eval.map(|(data, options)| {
        resolved.extend(prefixed("eval_data_config.", options));
        data
    });
    let lora = LoraOptions {
        r: values.usize("r"),
        alpha: values.f64("alpha"),
        lora_dropout: values.f64("lora_dropout"),
        use_rslora: values.bool("use_rslora"),
        use_dora: values.bool("use_dora"),
        target_modules: match target_modules {
            None if quantised => Some(Targets::AllLinear),
            targets => targets,
        },
        modules_to_save: values.texts("modules_to_save").filter(|modules| !modules.is_empty()),
        torch_dtype: dtype,
        train_data,
        eval_dataset_size: eval_dataset_size.filter(|_| eval_data.is_none()),
        eval_data,
        training,
    };
    Some((lora, resolved))
}

/// The data of the training.
pub(super) fn data(options: &LoraOptions) -> Vec<DataUse<'_>> {
    let train = DataUse { purpose: DataPurpose::Training, config: &options.train_data };
    let eval = options.eval_data.iter().map(|config| DataUse { purpose: DataPurpose::Evaluation, config });
    std::iter::once(train).chain(eval).collect()
}

/// `compute_dtype` of the passes that have it; null means `torch_dtype`.
pub(super) fn compute_dtype(values: &mut Values) -> String {
    let dtype = values.text("torch_dtype").unwrap_or("bfloat16");
    let text = values.text("compute_dtype").unwrap_or(dtype).to_owned();
    values.set("compute_dtype", Json::String(text.clone()));
    text
}

/// The plan shows the training arguments one by one, not as an object.
fn shown(values: &Values) -> Vec<ResolvedOption> {
    let mut options = values.resolved("");
    options.retain(|option| option.name != "training_args");
    options
}

fn prefixed(prefix: &str, options: Vec<ResolvedOption>) -> impl Iterator<Item = ResolvedOption> {
    options
        .into_iter()
        .map(move |option| ResolvedOption { name: format!("{prefix}{}", option.name), ..option })
}

fn check_task(context: &PassContext<'_>, pass: &str, findings: &mut Findings) {
    let Some((task, at, path)) = context.task() else { return };
    if !["text-generation", "text-generation-with-past"].contains(&task) {
        let message = format!("the task is `{task}`, and {pass} trains text generation only");
        findings.error(at, path, message, Some("set it to `text-generation`".into()));
    }
}
