//! `training_args`: transformers' TrainingArguments.

use super::options::{
    EvalStrategy, SaveStrategy, Saving, Scheduler, SchedulerOptions, Selection, TrainingArgs,
};
use super::table::{SCHEDULER, TRAINING_ARGS};
use crate::fields::Fields;
use crate::findings::Findings;
use crate::origin::Era;
use crate::place::join;
use crate::values::Values;
use serde_json::json;

/// What the block of the pass says of its training.
#[derive(Debug, Clone, Copy)]
pub struct TrainingRead {
    /// The optimiser, where the defaults of the grammar do not say it.
    pub optim: Option<&'static str>,
    /// Something is held out for evaluation.
    pub evaluates: bool,
    /// The grammar, unless the arguments tell another.
    pub era: Era,
}

/// The `training_args` of a pass, with what the plan shows of them.
pub fn read(fields: &Fields<'_>, pass: TrainingRead, findings: &mut Findings) -> (TrainingArgs, Values) {
    let evaluates = pass.evaluates;
    let found = fields.found("training_args");
    let path = join(&fields.path, "training_args");
    let args = match found {
        Some(found) => Fields::open(found.node, &found.path, &TRAINING_ARGS, findings),
        None => Fields::empty(&path, fields.at, &TRAINING_ARGS),
    };
    let era = args.era().unwrap_or(pass.era);
    let mut values = args.resolve(era, findings);
    if let Some(optim) = pass.optim.filter(|_| !values.given("optim")) {
        values.set("optim", json!(optim));
    }

    let max_steps = values.positive("max_steps");
    let logging = values.f64("logging_steps");
    let logging_steps = match max_steps {
        _ if logging >= 1.0 => logging as usize,
        Some(steps) => ((steps as f64 * logging).ceil() as usize).max(1),
        None => {
            values.error("logging_steps", "a share of all steps needs `max_steps`", None, findings);
            1
        }
    };
    let eval_steps = values.get("eval_steps").json.as_f64();
    if let Some(steps) = eval_steps.filter(|steps| *steps >= 1.0 && steps.fract() != 0.0) {
        let message = format!("expected a whole number of steps, or a share below 1, found {steps}");
        values.error("eval_steps", message, None, findings);
    }
    let asked = values.choice::<EvalStrategy>("eval_strategy");
    let eval_strategy = match (asked, evaluates) {
        (Some(EvalStrategy::Steps | EvalStrategy::Epoch), false) => {
            let message = "nothing is evaluated: there is neither `eval_dataset_size` nor `eval_data_config`";
            values.warn("eval_strategy", message, findings);
            EvalStrategy::No
        }
        // Since Olive 0.7 an evaluation set is always used.
        (None | Some(EvalStrategy::No), true) if era == Era::New => EvalStrategy::Steps,
        (asked, _) => asked.unwrap_or(EvalStrategy::No),
    };
    values.set("eval_strategy", serde_json::to_value(eval_strategy).unwrap_or_default());
    if let (EvalStrategy::Steps, Some(all), Some(every)) = (eval_strategy, max_steps, eval_steps)
        && every > all as f64
    {
        let message = format!(
            "`eval_steps` is {every}, and there are {all} steps: the held-out rows are evaluated before the first and \
             after the last step only"
        );
        values.warn("eval_steps", message, findings);
    }
    let lr_scheduler_type = values.choice("lr_scheduler_type").unwrap_or(Scheduler::Constant);
    let lr_scheduler_kwargs = scheduler(&args, &values, lr_scheduler_type, era, findings);
    let saving = saving(&mut values, findings);
    let selection = selection(&values, evaluates, eval_strategy, findings);
    if lr_scheduler_type == Scheduler::ReduceLrOnPlateau && eval_strategy == EvalStrategy::No {
        let hint = "set `eval_strategy` to `steps`, and hold data out for evaluation".to_owned();
        let message = "a plateau is one of evaluations, and there are none on the way";
        values.error("lr_scheduler_type", message, Some(hint), findings);
    }
    let args = TrainingArgs {
        seed: values.u64("seed").unwrap_or(42),
        data_seed: values.u64("data_seed").unwrap_or(42),
        optim: values.text("optim").unwrap_or_default().to_owned(),
        per_device_train_batch_size: values.usize("per_device_train_batch_size"),
        per_device_eval_batch_size: values.usize("per_device_eval_batch_size"),
        gradient_accumulation_steps: values.usize("gradient_accumulation_steps"),
        gradient_checkpointing: values.bool("gradient_checkpointing"),
        learning_rate: values.f64("learning_rate"),
        weight_decay: values.f64("weight_decay"),
        adam_beta1: values.f64("adam_beta1"),
        adam_beta2: values.f64("adam_beta2"),
        adam_epsilon: values.f64("adam_epsilon"),
        max_grad_norm: values.f64("max_grad_norm"),
        num_train_epochs: values.f64("num_train_epochs"),
        max_steps,
        lr_scheduler_type,
        lr_scheduler_kwargs,
        loraplus_lr_ratio: values.get("loraplus_lr_ratio").json.as_f64(),
        neftune_noise_alpha: values.get("neftune_noise_alpha").json.as_f64().filter(|alpha| *alpha > 0.0),
        warmup_ratio: values.f64("warmup_ratio"),
        warmup_steps: values.usize("warmup_steps"),
        logging_steps,
        eval_strategy,
        eval_steps,
        group_by_length: values.bool("group_by_length"),
        dataloader_drop_last: values.bool("dataloader_drop_last"),
        saving,
        selection,
    };
    (args, values)
}

/// The scheduler's arguments, if they say all that it needs.
fn scheduler(
    args: &Fields<'_>,
    values: &Values,
    kind: Scheduler,
    era: Era,
    findings: &mut Findings,
) -> SchedulerOptions {
    let Some(found) = args.found("lr_scheduler_kwargs") else {
        return needs(SchedulerOptions::default(), values, kind, findings);
    };
    let fields = Fields::open(found.node, &found.path, &SCHEDULER, findings);
    let given = fields.resolve(era, findings);
    let float = |name: &str| given.get(name).json.as_f64();
    let whole = |name: &str| given.get(name).json.as_u64().and_then(|n| usize::try_from(n).ok());
    let options = SchedulerOptions {
        num_cycles: float("num_cycles"),
        power: float("power"),
        lr_end: float("lr_end"),
        min_lr: float("min_lr"),
        min_lr_rate: float("min_lr_rate"),
        warmup_lr_rate: float("warmup_lr_rate"),
        timescale: float("timescale"),
        num_stable_steps: whole("num_stable_steps"),
        num_decay_steps: whole("num_decay_steps"),
        warmup_type: given.choice("warmup_type"),
        decay_type: given.choice("decay_type"),
        min_lr_ratio: float("min_lr_ratio"),
        factor: float("factor"),
        patience: whole("patience"),
        threshold: float("threshold"),
        cooldown: whole("cooldown"),
        eps: float("eps"),
    };
    needs(options, values, kind, findings)
}

/// What transformers would refuse.
fn needs(
    options: SchedulerOptions,
    values: &Values,
    kind: Scheduler,
    findings: &mut Findings,
) -> SchedulerOptions {
    let mut wrong = |message: &str, hint: &str| {
        values.error("lr_scheduler_type", message, Some(hint.to_owned()), findings);
    };
    match kind {
        Scheduler::CosineWithMinLr | Scheduler::CosineWarmupWithMinLr
            if options.min_lr.is_some() == options.min_lr_rate.is_some() =>
        {
            let hint = "give one of the two in `lr_scheduler_kwargs`";
            wrong("the scheduler needs `min_lr` or `min_lr_rate`, and not both", hint);
        }
        Scheduler::WarmupStableDecay if options.num_decay_steps.is_none() => {
            let hint = "`lr_scheduler_kwargs`: {\"num_decay_steps\": 100}";
            wrong("the scheduler needs `num_decay_steps`", hint);
        }
        Scheduler::Polynomial if options.lr_end.unwrap_or(1e-7) >= values.f64("learning_rate") => {
            wrong("the last rate `lr_end` is not below `learning_rate`", "lower `lr_end`");
        }
        _ => {}
    }
    options
}

fn saving(values: &mut Values, findings: &mut Findings) -> Saving {
    let strategy = match values.choice::<SaveStrategy>("save_strategy") {
        Some(strategy) => strategy,
        None if values.given("save_steps") => SaveStrategy::Steps,
        None => SaveStrategy::No,
    };
    let steps = values.f64("save_steps");
    if steps >= 1.0 && steps.fract() != 0.0 {
        let message = format!("expected a whole number of steps, or a share below 1, found {steps}");
        values.error("save_steps", message, None, findings);
    }
    if strategy == SaveStrategy::No {
        values.hide(&["save_steps"]);
    }
    if strategy == SaveStrategy::No && values.given("output_dir") {
        let message = "nothing is written there without `save_steps` or `save_strategy`; interrupted training is kept in \
                       the cache and resumes by itself";
        values.warn("output_dir", message, findings);
    }
    values.set("save_strategy", serde_json::to_value(strategy).unwrap_or_else(|_| json!("no")));
    Saving {
        strategy,
        steps,
        total_limit: values.positive("save_total_limit"),
        output_dir: values.text("output_dir").filter(|dir| !dir.is_empty()).map(Into::into),
    }
}

fn selection(values: &Values, evaluates: bool, strategy: EvalStrategy, findings: &mut Findings) -> Selection {
    let selection = Selection {
        load_best_model_at_end: values.bool("load_best_model_at_end"),
        early_stopping_patience: values.positive("early_stopping_patience"),
        early_stopping_threshold: values.f64("early_stopping_threshold"),
    };
    let asked = [
        ("load_best_model_at_end", selection.load_best_model_at_end),
        ("early_stopping_patience", selection.early_stopping_patience.is_some()),
        ("save_strategy", values.choice("save_strategy") == Some(SaveStrategy::Best)),
    ];
    for (name, _) in asked.into_iter().filter(|(_, asked)| *asked) {
        let hint = match (evaluates, strategy) {
            (false, _) => "give `eval_dataset_size` or `eval_data_config`",
            (true, EvalStrategy::No) => "set `eval_strategy` to `steps` or `epoch`",
            _ => continue,
        };
        let message = format!("`{name}` compares evaluations, and there are none on the way");
        values.error(name, message, Some(hint.into()), findings);
    }
    selection
}
