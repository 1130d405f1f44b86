//! The options that all passes have that train an adapter.

use super::pass::{DataPurpose, DataUse, MoveData};
use super::training::{HeldOut, Training};
use olive_config::option::DefaultValue::Json;
use olive_config::option::{BELOW_ONE, BOOL, Kind, POSITIVE, TEXT, at_least};
use olive_config::training::{self, EvalSize, Targets, TrainingArgs, TrainingRead};
use olive_config::{
    DataConfig, Era, Fields, Findings, OptionValue, PassContext, ResolvedOption, Setting, Values, options,
};
use olive_core::Result;
use serde::Serialize;
use serde_json::json;

pub(super) const DTYPE: Kind = Kind::Choice(&["bfloat16|bf16", "float16|fp16|half", "float32|fp32|float"]);

options! {
    #[derive(Debug, Clone, Serialize)]
    pub struct LoraOptions {
        ADAPTER {
            /// Rank of the adapter.
            pub r: usize = at_least(1), was(&["lora_r"]), default("64"), searchable(), tries("[16, 32, 64]");
            /// The adapter's output is scaled by alpha / r.
            pub alpha: f64 = POSITIVE, was(&["lora_alpha"]), default("16.0"), searchable();
            /// Dropout on the adapter's input.
            pub lora_dropout: f64 = BELOW_ONE, defaults(Json("0.0"), Json("0.05")), searchable();
            /// Scale by alpha / √r instead.
            pub use_rslora: bool, default("false"), searchable();
            /// DoRA: the length of every row of a weight is trained apart from its direction.
            pub use_dora: bool, default("false"), searchable();
            /// Names of the layers that get an adapter, `all-linear`, or a regular expression; null is the architecture's
            /// default (QLoRA and LoftQ: all linear layers).
            pub target_modules: Option<Targets>, searchable();
            /// Layers that are trained whole.
            pub modules_to_save: Option<Vec<String>> => some_modules;
            /// Type of computation on a GPU; the CPU computes in float32.
            pub torch_dtype: String = DTYPE, default("\"bfloat16\"");
        }
        TRAINING {
            /// Dataset to train on: a name in `data_configs`.
            pub train_data as "train_data_config": DataConfig, required();
            /// Dataset to evaluate on.
            pub eval_data as "eval_data_config": Option<DataConfig>;
            /// Hold out this many blocks (1 or more) or this share of them (below 1) for evaluation.
            pub eval_dataset_size: Option<EvalSize>;
            /// How to train.
            pub training as "training_args": TrainingArgs;
            /// Use TF32 on a GPU.
            - "allow_tf32" = BOOL, quiet();
            /// Train biases too.
            - "bias" = TEXT, only(Era::Old), refused_unless("\"none\"", "only adapters are trained");
            /// Train with ONNX Runtime.
            - "use_ort_trainer" = BOOL, only(Era::Old),
                ignored_unless("false", "there is one trainer, which needs neither torch nor ONNX Runtime");
            /// Option of ONNX Runtime's trainer.
            - "ortmodule_onnx_opset_version" = Kind::Any, only(Era::Old), ignored("there is one trainer");
            /// Placement on devices; see `--device`.
            - "device_map" = Kind::Any, only(Era::New), quiet();
            /// Initialise on the GPU.
            - "ephemeral_gpu_offload" = BOOL, only(Era::New), ignored_unless("false", "it only matters for DoRA");
        }
    }
}

/// An empty list names nothing.
fn some_modules(setting: &Setting) -> Option<Option<Vec<String>>> {
    let modules: Option<Vec<String>> = OptionValue::read(setting)?;
    Some(modules.filter(|modules| !modules.is_empty()))
}

/// What the adapter is trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TrainedOn {
    /// The weights as they are.
    Float,
    /// The linear layers in 4 bits.
    FourBits,
}

/// Checks what goes together, and gives every value that depends on another one. Gives what the plan shows.
pub(super) fn resolve(
    fields: &Fields<'_>,
    values: &mut Values,
    base: TrainedOn,
    context: &PassContext<'_>,
    findings: &mut Findings,
) -> Vec<ResolvedOption> {
    check_task(context, fields.block.name, findings);
    let train_data = context.attach_data(fields, values, "train_data_config", findings);
    let eval_data = context.attach_data(fields, values, "eval_data_config", findings);
    let both = values.get("eval_data_config").object.is_some() && values.given("eval_dataset_size");
    if both {
        let message = "`eval_dataset_size` is not used: `eval_data_config` is given";
        values.warn("eval_dataset_size", message, findings);
    }
    let evaluates = fields.found("eval_data_config").is_some() || fields.found("eval_dataset_size").is_some();
    let optim = match base {
        TrainedOn::Float => None,
        TrainedOn::FourBits => Some("paged_adamw_32bit"),
    };
    let training = TrainingRead { optim, evaluates, era: context.model_era() };
    let (training, training_values) = training::read(fields, training, findings);
    if let Some(training) = training {
        values.attach("training_args", training);
    }
    resolve_targets(fields, values, base, context.era(), findings);

    let mut shown = shown(values);
    shown.extend(training_values.resolved("training_args."));
    shown.extend(train_data);
    shown.extend(eval_data);
    if both {
        values.set("eval_dataset_size", json!(null));
    }
    shown
}

/// On a base of 4 bits, all linear layers get an adapter unless the file names some.
fn resolve_targets(
    fields: &Fields<'_>,
    values: &mut Values,
    base: TrainedOn,
    era: Era,
    findings: &mut Findings,
) {
    match (base, values.given("target_modules")) {
        (TrainedOn::Float, _) => {}
        (TrainedOn::FourBits, false) => values.set("target_modules", json!("all-linear")),
        (TrainedOn::FourBits, true) if era == Era::Old => {
            let message = format!(
                "Olive of that time ignored `target_modules` of {} and trained all linear layers; here it counts",
                fields.block.name
            );
            values.warn("target_modules", message, findings);
        }
        (TrainedOn::FourBits, true) => {}
    }
}

/// The data of the training.
pub(super) fn data(options: &LoraOptions) -> Vec<DataUse<'_>> {
    let of = |purpose: DataPurpose| move |config| DataUse { purpose, config };
    let train = options.train_data.parts().map(of(DataPurpose::Training));
    let eval = options.eval_data.iter().flat_map(DataConfig::parts).map(of(DataPurpose::Evaluation));
    train.chain(eval).collect()
}

/// The training itself.
pub(super) fn training(options: &LoraOptions) -> Training<'_> {
    let held_out = match (&options.eval_data, options.eval_dataset_size) {
        (Some(data), _) => HeldOut::Data(data),
        (None, Some(size)) => HeldOut::Share(size),
        (None, None) => HeldOut::None,
    };
    Training { data: &options.train_data, held_out, args: &options.training }
}

/// The options after `moved` had each data configuration.
///
/// # Errors
/// Those of `moved`.
pub(super) fn with_data(options: &LoraOptions, moved: &mut MoveData) -> Result<LoraOptions> {
    let mut options = options.clone();
    options.train_data.each_part(&mut *moved)?;
    options.eval_data.as_mut().map_or(Ok(()), |data| data.each_part(moved))?;
    Ok(options)
}

/// `compute_dtype` of the passes that have it; null means `torch_dtype`.
pub(super) fn resolve_compute_dtype(values: &mut Values) {
    let dtype = values.text("torch_dtype").unwrap_or("bfloat16");
    let text = values.text("compute_dtype").unwrap_or(dtype).to_owned();
    values.set("compute_dtype", json!(text));
}

/// The plan shows the training arguments one by one, not as an object.
fn shown(values: &Values) -> Vec<ResolvedOption> {
    let mut options = values.resolved("");
    options.retain(|option| option.name != "training_args");
    options
}

fn check_task(context: &PassContext<'_>, pass: &str, findings: &mut Findings) {
    let Some((task, at, path)) = context.task() else { return };
    if !["text-generation", "text-generation-with-past"].contains(&task) {
        let message = format!("the task is `{task}`, and {pass} trains text generation only");
        findings.error(at, path, message, Some("set it to `text-generation`".into()));
    }
}
