//! Arguments of transformers that change nothing here, or that are refused.

use crate::option::{INT, Kind, NUMBER, Opt};

const CHECKPOINTS: &str = "interrupted training is kept in the cache and resumes by itself";
const HUB: &str = "nothing is uploaded";
const DISTRIBUTED: &str = "training runs in one process";
const LOGS: &str = "see the global options --verbose, --quiet and --log-format";

pub(super) const UNUSED: &[Opt] = &[
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
    Opt::new("enable_jit_checkpoint", Kind::Bool, "Save when the machine is taken away.")
        .ignored_unless("false", CHECKPOINTS),
    Opt::new("ignore_data_skip", Kind::Bool, "Begin the data anew on resuming.")
        .ignored_unless("false", CHECKPOINTS),
    Opt::new("greater_is_better", Kind::Bool, "What the best state is.")
        .refused_unless("false", "the metric is a loss, of which less is better"),
    // Logs.
    Opt::new("disable_tqdm", Kind::Bool, "No progress bar.").ignored_unless("false", LOGS),
    Opt::new("log_level", Kind::Any, "Verbosity.").ignored_unless("\"passive\"", LOGS),
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
    Opt::new("trackio_bucket_id", Kind::Any, "Name in a tracker.").quiet(),
    Opt::new("trackio_static_space_id", Kind::Any, "Name in a tracker.").quiet(),
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
    Opt::new("dataloader_multiprocessing_context", Kind::Any, "Processes that read data.").quiet(),
    Opt::new("dataloader_in_order", Kind::Bool, "Processes that read data.").quiet(),
    Opt::new("remove_unused_columns", Kind::Bool, "Drop other columns, as is always done here.").quiet(),
    Opt::new("label_names", Kind::Any, "Names of labels.").quiet(),
    Opt::new("length_column_name", Kind::Text, "Column of lengths.").quiet(),
    Opt::new("past_index", Kind::Any, "For other architectures.").quiet(),
    // Memory and speed.
    Opt::new("gradient_checkpointing_kwargs", Kind::Any, "Arguments of torch.")
        .also(&["activation_checkpointing_kwargs"])
        .quiet(),
    Opt::new("use_cache", Kind::Bool, "Keep keys and values in training, which nothing reads.").quiet(),
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
    Opt::new("ddp_static_graph", Kind::Any, "Option of distributed training.").quiet(),
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
    Opt::new("hub_strategy", Kind::Any, "Upload the result.").ignored_unless("\"every_save\"", HUB),
    Opt::new("hub_token", Kind::Any, "Upload the result.").ignored_unless("\"<HUB_TOKEN>\"", HUB),
    Opt::new("hub_private_repo", Kind::Any, "Upload the result.").ignored(HUB),
    Opt::new("hub_always_push", Kind::Any, "Upload the result.").ignored_unless("false", HUB),
    Opt::new("hub_revision", Kind::Any, "Upload the result.").ignored(HUB),
];
