//! `training_args`: transformers' TrainingArguments.

use super::args::{EvalStrategy, Sampling, TRAINING_ARGS, TrainingArgs};
use super::logging;
use super::saving::SaveStrategy;
use super::schedule::{SCHEDULER, Scheduler, SchedulerOptions};
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
pub fn read(
    fields: &Fields<'_>,
    pass: TrainingRead,
    findings: &mut Findings,
) -> (Option<TrainingArgs>, Values) {
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
    let eval_steps = values.get("eval_steps").json.as_f64();
    check_interval("logging_steps", &values, findings);
    check_interval("eval_steps", &values, findings);
    resolve_warmup(&mut values);
    resolve_checkpointing(&mut values, findings);
    resolve_sampling(&mut values, findings);
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
    values.attach("lr_scheduler_kwargs", lr_scheduler_kwargs);
    resolve_saving(&mut values, findings);
    logging::check(&mut values, findings);
    check_selection(&values, evaluates, eval_strategy, findings);
    if lr_scheduler_type == Scheduler::ReduceLrOnPlateau && eval_strategy == EvalStrategy::No {
        let hint = "set `eval_strategy` to `steps`, and hold data out for evaluation".to_owned();
        let message = "a plateau is one of evaluations, and there are none on the way";
        values.error("lr_scheduler_type", message, Some(hint), findings);
    }
    (TrainingArgs::read(&values), values)
}

/// An interval is a whole number of steps, or a share of all.
fn check_interval(name: &str, values: &Values, findings: &mut Findings) {
    let steps = values.f64(name);
    if steps >= 1.0 && steps.fract() != 0.0 {
        let message = format!("expected a whole number of steps, or a share below 1, found {steps}");
        values.error(name, message, None, findings);
    }
}

/// `warmup_steps` below 1 is what was `warmup_ratio` before transformers 5.
fn resolve_warmup(values: &mut Values) {
    let steps = values.f64("warmup_steps");
    if steps > 0.0 && steps < 1.0 {
        let share = values.get("warmup_steps").clone();
        values.override_with("warmup_ratio", &share);
        values.set("warmup_steps", json!(0));
    }
}

/// As in transformers, the newer name wins where the file has both.
fn resolve_checkpointing(values: &mut Values, findings: &mut Findings) {
    let (older, newer) = ("gradient_checkpointing", "activation_checkpointing");
    if values.given(newer) {
        if values.given(older) && values.bool(older) != values.bool(newer) {
            let message = "`gradient_checkpointing` is not used: `activation_checkpointing` is given";
            values.warn(older, message, findings);
        }
        let setting = values.get(newer).clone();
        values.override_with(older, &setting);
    }
    values.hide(&[newer]);
}

/// The order of the blocks has an option in transformers 5, and another one before.
fn resolve_sampling(values: &mut Values, findings: &mut Findings) {
    let grouped = |values: &Values| values.bool("group_by_length");
    match values.choice::<Sampling>("train_sampling_strategy") {
        None => {
            let strategy = if grouped(values) { "group_by_length" } else { "random" };
            values.set("train_sampling_strategy", json!(strategy));
            values.hide(&["train_sampling_strategy"]);
        }
        Some(sampling) => {
            if values.given("group_by_length") && grouped(values) != (sampling == Sampling::GroupByLength) {
                let message = "`group_by_length` is not used: `train_sampling_strategy` is given";
                values.warn("group_by_length", message, findings);
            }
            values.hide(&["group_by_length"]);
        }
    }
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
    let options = SchedulerOptions::read(&given).unwrap_or_default();
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

/// Checkpoints are written if something asks for them.
fn resolve_saving(values: &mut Values, findings: &mut Findings) {
    let strategy = match values.choice::<SaveStrategy>("save_strategy") {
        Some(strategy) => strategy,
        None if values.given("save_steps") => SaveStrategy::Steps,
        None => SaveStrategy::No,
    };
    check_interval("save_steps", values, findings);
    if strategy == SaveStrategy::No {
        values.hide(&["save_steps"]);
    }
    if strategy == SaveStrategy::No && values.given("output_dir") {
        let message = "nothing is written there without `save_steps` or `save_strategy`; interrupted training is kept in \
                       the cache and resumes by itself";
        values.warn("output_dir", message, findings);
    }
    values.set("save_strategy", serde_json::to_value(strategy).unwrap_or_else(|_| json!("no")));
}

/// What compares evaluations needs some.
fn check_selection(values: &Values, evaluates: bool, strategy: EvalStrategy, findings: &mut Findings) {
    let asked = [
        ("load_best_model_at_end", values.bool("load_best_model_at_end")),
        ("early_stopping_patience", values.positive("early_stopping_patience").is_some()),
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
}
