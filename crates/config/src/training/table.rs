//! `training_args`: transformers' TrainingArguments.

use crate::option::{
    BELOW_ONE, Block, DefaultValue, INT, Kind, NOT_NEGATIVE, NUMBER, Opt, POSITIVE, SHARE, at_least,
};
use DefaultValue::Json;

/// All of these mean AdamW with decoupled weight decay; state is kept in float32.
const OPTIMISERS: Kind = Kind::Choice(&[
    "adamw_torch",
    "adamw_torch_fused",
    "adamw_hf",
    "adamw_bnb_8bit",
    "adamw_8bit",
    "adamw",
    "paged_adamw",
    "paged_adamw_32bit",
    "paged_adamw_8bit",
    "adamw_torch_xla",
    "adamw_torch_npu_fused",
    "adamw_apex_fused",
]);

const CHECKPOINTS: &str = "interrupted training is kept in the cache and resumes by itself";
const HUB: &str = "nothing is uploaded";
const DISTRIBUTED: &str = "training runs in one process";
const LOGS: &str = "see the global options --verbose, --quiet and --log-format";

pub static TRAINING_ARGS: Block = Block {
    name: "training_args",
    doc: "How to train: transformers' TrainingArguments. The defaults up to Olive 0.6 are Olive's own, later ones are \
          those of transformers.",
    wrapper: Some("extra_args"),
    outer: &[],
    parts: &[HONOURED, IGNORED],
    open: None,
};

const RAMP: Kind = Kind::Choice(&["linear", "cosine", "1-sqrt"]);

/// By the names of transformers' and torch's functions.
pub(super) static SCHEDULER: Block = Block {
    name: "lr_scheduler_kwargs",
    doc: "Arguments of the scheduler; what is left out has the default of transformers.",
    wrapper: None,
    outer: &[],
    parts: &[&[
        Opt::new("num_cycles", NOT_NEGATIVE, "Waves of a cosine (0.5), or its restarts (1)."),
        Opt::new("power", NOT_NEGATIVE, "Power of `polynomial` (1)."),
        Opt::new("lr_end", NOT_NEGATIVE, "Last rate of `polynomial` (1e-7)."),
        Opt::new(
            "min_lr",
            NOT_NEGATIVE,
            "Lowest rate of the cosines with one and of `reduce_lr_on_plateau`.",
        ),
        Opt::new("min_lr_rate", SHARE, "The same as a share of the learning rate."),
        Opt::new("warmup_lr_rate", SHARE, "First rate of `cosine_warmup_with_min_lr`, as a share."),
        Opt::new("timescale", POSITIVE, "Of `inverse_sqrt`, in steps (the warm-up, or 10000)."),
        Opt::new("num_stable_steps", at_least(0), "Of `warmup_stable_decay` (whatever the others leave)."),
        Opt::new("num_decay_steps", at_least(0), "Of `warmup_stable_decay`, which needs it."),
        Opt::new("warmup_type", RAMP, "Rise of `warmup_stable_decay` (linear)."),
        Opt::new("decay_type", RAMP, "Fall of `warmup_stable_decay` (cosine)."),
        Opt::new("min_lr_ratio", SHARE, "Lowest rate of `warmup_stable_decay` as a share (0)."),
        Opt::new("factor", BELOW_ONE, "What a plateau multiplies the rate with (0.1)."),
        Opt::new("patience", at_least(0), "Evaluations without progress before the rate falls (10)."),
        Opt::new("threshold", NOT_NEGATIVE, "Relative progress that counts (1e-4)."),
        Opt::new("cooldown", at_least(0), "Evaluations after a fall that do not count (0)."),
        Opt::new("eps", NOT_NEGATIVE, "A smaller fall than this is none (1e-8)."),
        Opt::new("mode", Kind::Choice(&["min"]), "Less is better."),
        Opt::new("threshold_mode", Kind::Choice(&["rel"]), "Progress is relative."),
    ]],
    open: None,
};

const HONOURED: &[Opt] = &[
    Opt::new("seed", at_least(0), "Seed of initialisation, dropout and shuffling.").default("42"),
    Opt::new("data_seed", at_least(0), "Seed of the hold-out split.").default("42"),
    Opt::new("optim", OPTIMISERS, "The optimiser: AdamW in any of its spellings.")
        .defaults(Json("\"paged_adamw_32bit\""), Json("\"adamw_torch\"")),
    Opt::new("per_device_train_batch_size", at_least(1), "Blocks per forward pass.")
        .defaults(Json("1"), Json("8")),
    Opt::new("per_device_eval_batch_size", at_least(1), "Blocks per forward pass of an evaluation.")
        .defaults(Json("1"), Json("8")),
    Opt::new("gradient_accumulation_steps", at_least(1), "Forward passes per optimiser step.")
        .defaults(Json("16"), Json("1")),
    Opt::new("gradient_checkpointing", Kind::Bool, "Recompute activations to save memory.").default("true"),
    Opt::new("learning_rate", NOT_NEGATIVE, "Peak learning rate.").default("0.0002"),
    Opt::new("weight_decay", NOT_NEGATIVE, "Decoupled weight decay.").default("0.0"),
    Opt::new("adam_beta1", BELOW_ONE, "Decay of AdamW's first moment.").default("0.9"),
    Opt::new("adam_beta2", BELOW_ONE, "Decay of AdamW's second moment.").default("0.999"),
    Opt::new("adam_epsilon", NOT_NEGATIVE, "AdamW's epsilon.").default("1e-8"),
    Opt::new("max_grad_norm", NOT_NEGATIVE, "Gradients are clipped to this norm; 0 for no clipping.")
        .default("1.0"),
    Opt::new("num_train_epochs", POSITIVE, "Passes over the data.").default("3.0"),
    Opt::new("max_steps", at_least(-1), "Optimiser steps; if positive, it overrides the epochs.")
        .defaults(Json("10000"), Json("-1")),
    Opt::new(
        "lr_scheduler_type",
        Kind::Choice(&[
            "constant",
            "constant_with_warmup",
            "linear",
            "cosine",
            "cosine_with_restarts",
            "cosine_with_min_lr",
            "cosine_warmup_with_min_lr",
            "polynomial",
            "inverse_sqrt",
            "warmup_stable_decay",
            "reduce_lr_on_plateau",
        ]),
        "Course of the learning rate.",
    )
    .default("\"constant\""),
    Opt::new("lr_scheduler_kwargs", Kind::Block(&SCHEDULER), "Arguments of the scheduler."),
    Opt::new("warmup_ratio", SHARE, "Share of the steps over which the learning rate rises.").default("0.03"),
    Opt::new("warmup_steps", at_least(0), "Steps over which the learning rate rises; overrides the ratio.")
        .default("0"),
    Opt::new("logging_steps", POSITIVE, "A loss line every so many steps; below 1, a share of all steps.")
        .defaults(Json("10"), Json("500")),
    Opt::new("eval_strategy", Kind::Choice(&["no", "steps", "epoch"]), "When to evaluate.")
        .was(&["evaluation_strategy"])
        .defaults(Json("\"no\""), DefaultValue::Null),
    Opt::new(
        "eval_steps",
        POSITIVE,
        "Steps between evaluations, below 1 a share of all; null: `logging_steps`.",
    ),
    Opt::new("group_by_length", Kind::Bool, "Put blocks of like length together.")
        .defaults(Json("true"), Json("false")),
    Opt::new("dataloader_drop_last", Kind::Bool, "Drop an incomplete last batch.").default("false"),
    Opt::new(
        "loraplus_lr_ratio",
        POSITIVE,
        "LoRA+: learning rate of B (and of magnitudes) relative to that of A; 16 is usual.",
    ),
    Opt::new(
        "neftune_noise_alpha",
        NOT_NEGATIVE,
        "NEFTune: uniform noise of ±alpha/√(tokens · width) on embeddings in training; 5 is usual.",
    ),
    Opt::new(
        "save_strategy",
        Kind::Choice(&["no", "steps", "epoch", "best"]),
        "When to write `checkpoints/checkpoint-N`, an adapter of its own; null: `steps` if `save_steps` is given.",
    ),
    Opt::new("save_steps", POSITIVE, "Steps between checkpoints; below 1, a share of all steps.")
        .default("500"),
    Opt::new("save_total_limit", at_least(1), "How many checkpoints to keep: the newest, and the best."),
    Opt::new("output_dir", Kind::Text, "Folder of checkpoints; null is `checkpoints` beside the adapter."),
    Opt::new(
        "load_best_model_at_end",
        Kind::Bool,
        "Keep the state with the lowest evaluation loss, not the last.",
    )
    .default("false"),
    Opt::new("metric_for_best_model", Kind::Choice(&["eval_loss|loss"]), "What the best state is."),
    Opt::new(
        "early_stopping_patience",
        at_least(1),
        "Stop after so many evaluations in a row without a lower loss.",
    ),
    Opt::new("early_stopping_threshold", NOT_NEGATIVE, "By how much the loss must fall to count as lower.")
        .default("0.0"),
];

const IGNORED: &[Opt] = &[
    // What decides about numbers is refused unless it is neutral.
    Opt::new("label_smoothing_factor", NUMBER, "Label smoothing.")
        .refused_unless("0", "there is no label smoothing"),
    Opt::new("optim_args", Kind::Any, "Arguments of the optimiser.")
        .refused_unless("\"\"", "give adam_beta1 and the like"),
    Opt::new("optim_target_modules", Kind::Any, "Layers of the optimiser.")
        .refused_unless("null", "all of the adapter is trained"),
    Opt::new("adafactor", Kind::Bool, "Another optimiser.").refused_unless("false", "the optimiser is AdamW"),
    Opt::new("use_module_with_loss", Kind::Any, "For ONNX Runtime's trainer.")
        .ignored("there is one trainer"),
    // Types.
    Opt::new("fp16", Kind::Bool, "Mixed precision.")
        .ignored_unless("false", "`torch_dtype` of the pass decides"),
    Opt::new("bf16", Kind::Bool, "Mixed precision.")
        .ignored_unless("false", "`torch_dtype` of the pass decides"),
    Opt::new("fp16_full_eval", Kind::Bool, "Evaluate in float16.")
        .ignored_unless("false", "evaluation computes as training does"),
    Opt::new("bf16_full_eval", Kind::Bool, "Evaluate in bfloat16.")
        .ignored_unless("false", "evaluation computes as training does"),
    Opt::new("tf32", Kind::Bool, "Use TF32.").quiet(),
    Opt::new("fp16_opt_level", Kind::Any, "Option of apex.").quiet(),
    Opt::new("fp16_backend", Kind::Any, "Option of mixed precision.").quiet(),
    Opt::new("half_precision_backend", Kind::Any, "Option of mixed precision.").quiet(),
    // Checkpoints.
    Opt::new("overwrite_output_dir", Kind::Bool, "Overwrite checkpoints.")
        .ignored_unless("false", CHECKPOINTS),
    Opt::new("resume_from_checkpoint", Kind::Any, "Checkpoint to go on from.").ignored(CHECKPOINTS),
    Opt::new("save_safetensors", Kind::Bool, "Format of checkpoints.").quiet(),
    Opt::new("save_on_each_node", Kind::Bool, "Checkpoints of several machines.").quiet(),
    Opt::new("save_only_model", Kind::Bool, "Content of checkpoints.").quiet(),
    Opt::new("restore_callback_states_from_checkpoint", Kind::Bool, "Content of checkpoints.").quiet(),
    Opt::new("ignore_data_skip", Kind::Bool, "Begin the data anew on resuming.")
        .ignored_unless("false", CHECKPOINTS),
    Opt::new("greater_is_better", Kind::Bool, "What the best state is.")
        .refused_unless("false", "the metric is a loss, of which less is better"),
    // Logs.
    Opt::new("report_to", Kind::Any, "Services that get the log.")
        .ignored_unless("\"none\"", "`metrics.jsonl` and TensorBoard's `runs/` are always written"),
    Opt::new("run_name", Kind::Text, "Name in the log.").quiet(),
    Opt::new("disable_tqdm", Kind::Bool, "No progress bar.").ignored(LOGS),
    Opt::new("log_level", Kind::Any, "Verbosity.").ignored(LOGS),
    Opt::new("log_level_replica", Kind::Any, "Verbosity.").quiet(),
    Opt::new("log_on_each_node", Kind::Bool, "Verbosity.").quiet(),
    Opt::new("logging_dir", Kind::Text, "Folder of the log.").ignored("it is `runs` beside the adapter"),
    Opt::new("logging_strategy", Kind::Choice(&["steps", "no", "epoch"]), "When to log.")
        .ignored_unless("\"steps\"", "`logging_steps` decides"),
    Opt::new("logging_first_step", Kind::Bool, "Log the first step.")
        .ignored_unless("false", "`logging_steps` decides"),
    Opt::new("logging_nan_inf_filter", Kind::Bool, "Hide losses that are not numbers.").quiet(),
    Opt::new("skip_memory_metrics", Kind::Bool, "Measure memory.").quiet(),
    Opt::new("include_tokens_per_second", Kind::Any, "Measure speed, as is always done here.").quiet(),
    Opt::new("include_num_input_tokens_seen", Kind::Any, "Count tokens.").quiet(),
    Opt::new("project", Kind::Any, "Name in a tracker.").quiet(),
    Opt::new("trackio_space_id", Kind::Any, "Name in a tracker.").quiet(),
    // Evaluation.
    Opt::new("eval_accumulation_steps", Kind::Any, "Memory of an evaluation.").quiet(),
    Opt::new("eval_delay", Kind::Any, "Steps before the first evaluation.")
        .ignored_unless("0", "`eval_steps` decides"),
    Opt::new("eval_on_start", Kind::Bool, "Evaluate before training.")
        .ignored_unless("false", "`eval_strategy` decides"),
    Opt::new("eval_do_concat_batches", Kind::Bool, "Memory of an evaluation.").quiet(),
    Opt::new("eval_use_gather_object", Kind::Bool, "Option of distributed evaluation.").quiet(),
    Opt::new("batch_eval_metrics", Kind::Bool, "Memory of an evaluation.").quiet(),
    Opt::new("prediction_loss_only", Kind::Bool, "Compute only the loss, as is always done here.").quiet(),
    Opt::new("include_inputs_for_metrics", Kind::Bool, "For metrics.").quiet(),
    Opt::new("include_for_metrics", Kind::Any, "For metrics.").quiet(),
    Opt::new("do_train", Kind::Bool, "For scripts.").quiet(),
    Opt::new("do_eval", Kind::Bool, "For scripts.").quiet(),
    Opt::new("do_predict", Kind::Bool, "For scripts.").quiet(),
    // Data.
    Opt::new("dataloader_num_workers", Kind::Any, "Processes that read data.").quiet(),
    Opt::new("dataloader_prefetch_factor", Kind::Any, "Batches read ahead.").quiet(),
    Opt::new("dataloader_pin_memory", Kind::Bool, "Kind of memory.").quiet(),
    Opt::new("dataloader_persistent_workers", Kind::Bool, "Processes that read data.").quiet(),
    Opt::new("remove_unused_columns", Kind::Bool, "Drop other columns, as is always done here.").quiet(),
    Opt::new("label_names", Kind::Any, "Names of labels.").quiet(),
    Opt::new("length_column_name", Kind::Text, "Column of lengths.").quiet(),
    Opt::new("train_sampling_strategy", Kind::Any, "Order of the data.").ignored("`group_by_length` decides"),
    Opt::new("past_index", Kind::Any, "For other architectures.").quiet(),
    // Memory and speed.
    Opt::new("gradient_checkpointing_kwargs", Kind::Any, "Arguments of torch.").quiet(),
    Opt::new("torch_empty_cache_steps", Kind::Any, "Memory of torch.").quiet(),
    Opt::new("auto_find_batch_size", Kind::Bool, "Look for a batch size that fits.")
        .ignored_unless("false", "the batch size is as given"),
    Opt::new("full_determinism", Kind::Bool, "Always the same result, as is always the case here.").quiet(),
    Opt::new("torch_compile", Kind::Bool, "Option of torch.").quiet(),
    Opt::new("torch_compile_backend", Kind::Any, "Option of torch.").quiet(),
    Opt::new("torch_compile_mode", Kind::Any, "Option of torch.").quiet(),
    Opt::new("torchdynamo", Kind::Any, "Option of torch.").quiet(),
    Opt::new("jit_mode_eval", Kind::Bool, "Option of torch.").quiet(),
    Opt::new("use_liger_kernel", Kind::Bool, "Kernels of another library.").quiet(),
    Opt::new("liger_kernel_config", Kind::Any, "Kernels of another library.").quiet(),
    Opt::new("use_ipex", Kind::Bool, "Kernels of another library.").quiet(),
    // Devices.
    Opt::new("no_cuda", Kind::Bool, "Do not use CUDA.").ignored_unless("false", "see `--device`"),
    Opt::new("use_cpu", Kind::Bool, "Use the CPU.").ignored_unless("false", "see `--device`"),
    Opt::new("use_mps_device", Kind::Bool, "Use Apple's GPU.").ignored_unless("false", "see `--device`"),
    Opt::new("deepspeed", Kind::Any, "DeepSpeed.").ignored_unless("false", DISTRIBUTED),
    Opt::new("fsdp", Kind::Any, "Sharded training.").ignored_unless("\"\"", DISTRIBUTED),
    Opt::new("fsdp_config", Kind::Any, "Sharded training.").ignored(DISTRIBUTED),
    Opt::new("fsdp_min_num_params", Kind::Any, "Sharded training.").ignored_unless("0", DISTRIBUTED),
    Opt::new("fsdp_transformer_layer_cls_to_wrap", Kind::Any, "Sharded training.").ignored(DISTRIBUTED),
    Opt::new("accelerator_config", Kind::Any, "Option of accelerate.").quiet(),
    Opt::new("parallelism_config", Kind::Any, "Option of accelerate.").ignored(DISTRIBUTED),
    Opt::new("dispatch_batches", Kind::Any, "Option of accelerate.").quiet(),
    Opt::new("split_batches", Kind::Any, "Option of accelerate.").quiet(),
    Opt::new("average_tokens_across_devices", Kind::Bool, "Option of distributed training.").quiet(),
    Opt::new("local_rank", INT, "Option of distributed training.").quiet(),
    Opt::new("ddp_backend", Kind::Any, "Option of distributed training.").quiet(),
    Opt::new("ddp_find_unused_parameters", Kind::Any, "Option of distributed training.").quiet(),
    Opt::new("ddp_bucket_cap_mb", Kind::Any, "Option of distributed training.").quiet(),
    Opt::new("ddp_broadcast_buffers", Kind::Any, "Option of distributed training.").quiet(),
    Opt::new("ddp_timeout", Kind::Any, "Option of distributed training.").quiet(),
    Opt::new("mp_parameters", Kind::Any, "Option of distributed training.").quiet(),
    Opt::new("ray_scope", Kind::Any, "Option of Ray.").quiet(),
    Opt::new("tpu_num_cores", Kind::Any, "Option for TPUs.").quiet(),
    Opt::new("tpu_metrics_debug", Kind::Any, "Option for TPUs.").quiet(),
    Opt::new("debug", Kind::Any, "Debugging of torch.").quiet(),
    Opt::new("use_legacy_prediction_loop", Kind::Bool, "Old loop of transformers.").quiet(),
    Opt::new("per_gpu_train_batch_size", Kind::Any, "Old name.").ignored("use `per_device_train_batch_size`"),
    Opt::new("per_gpu_eval_batch_size", Kind::Any, "Old name.").ignored("use `per_device_eval_batch_size`"),
    // The Hub.
    Opt::new("push_to_hub", Kind::Bool, "Upload the result.").ignored_unless("false", HUB),
    Opt::new("push_to_hub_model_id", Kind::Any, "Upload the result.").ignored(HUB),
    Opt::new("push_to_hub_organization", Kind::Any, "Upload the result.").ignored(HUB),
    Opt::new("push_to_hub_token", Kind::Any, "Upload the result.").ignored(HUB),
    Opt::new("hub_model_id", Kind::Any, "Upload the result.").ignored(HUB),
    Opt::new("hub_strategy", Kind::Any, "Upload the result.").ignored(HUB),
    Opt::new("hub_token", Kind::Any, "Upload the result.").ignored(HUB),
    Opt::new("hub_private_repo", Kind::Any, "Upload the result.").ignored(HUB),
    Opt::new("hub_always_push", Kind::Any, "Upload the result.").ignored(HUB),
    Opt::new("hub_revision", Kind::Any, "Upload the result.").ignored(HUB),
];
