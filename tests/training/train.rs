//! Training through the library: exactness, resuming, what is refused, and an adapter that PEFT could load.

use crate::support::binary::{run_configuration, text};
use crate::support::events::Recorder;
use crate::support::models::{families, family};
use crate::support::passes;
use crate::support::quickstart::{Quickstart, base_model};
use crate::support::rows::{load, options};
use crate::support::training::{self, adapter, largest, relative_all, sample, weights};
use olive_config::canonical::{
    DataConfig, Era, EvalSize, Sampling, SaveStrategy, Saving, Scheduler, Strategy, Targets, TextGeneration,
    TextSource, TrainingArgs,
};
use olive_core::cancel::CancelFlag;
use olive_core::device::Device;
use olive_core::event::Event;
use olive_core::handle::ModelHandle;
use olive_core::{Fault, Result};
use olive_data::{Dataset, MicroBatch, Sample};
use olive_decoder::Decoder;
use olive_engine::passes::{LoraOptions, LoraPass};
use olive_model::adapter_config::TargetModules;
use olive_model::{Adapter, ModelFolder};
use olive_train::{
    AdamWOptions, BatchPlan, Checkpoints, Fit, Schedule, TrainError, Trainer, TrainerOptions, fit, targets,
};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Random tokens that depend on the seed alone.
fn dataset(lengths: &[usize]) -> Dataset {
    let samples = lengths.iter().enumerate().map(|(row, n)| {
        sample((0..*n).map(|i| ((i * i + 31 * row * i + 7 * row) % 125 + 3) as u32).collect())
    });
    Dataset { samples: samples.collect(), rows: lengths.len() }
}

fn arguments() -> TrainingArgs {
    TrainingArgs {
        per_device_train_batch_size: 2,
        gradient_accumulation_steps: 2,
        learning_rate: 1e-2,
        weight_decay: 0.01,
        max_grad_norm: 0.3,
        max_steps: Some(10),
        lr_scheduler_type: Scheduler::Cosine,
        warmup_ratio: 0.2,
        logging_steps: 4.0,
        eval_steps: Some(3.0),
        sampling: Sampling::GroupByLength,
        ..training::arguments(|_| ())
    }
}

/// A trainer on all linear layers, whose B is not zero, so that every A has a gradient.
fn trainer(folder: &ModelFolder, dropout: f64, gradient_checkpointing: bool) -> Trainer {
    let mut decoder = Decoder::load(folder, None, None, &Device::Cpu).expect("a decoder");
    let adapter = adapter(&decoder.spec, dropout);
    decoder.attach(&adapter).expect("an adapter that fits");
    let options = TrainerOptions {
        adamw: AdamWOptions::from(&arguments()),
        max_grad_norm: 0.3,
        dropout,
        gradient_checkpointing,
        neftune_noise_alpha: 0.0,
        seed: 5,
    };
    Trainer::new(decoder, options).expect("a trainer")
}

fn batch(data: &Dataset) -> Vec<MicroBatch> {
    data.samples.chunks(2).map(|part| MicroBatch::new(part.iter().enumerate())).collect()
}

fn gradients(trainer: &mut Trainer, data: &Dataset) -> (f64, Vec<Vec<f32>>) {
    training::gradients(trainer, &batch(data))
}

#[test]
fn every_a_and_b_has_a_gradient_and_checkpointing_does_not_change_it() {
    let data = dataset(&[30, 21, 40]);
    for path in families() {
        let folder = ModelFolder::open(&path).expect("a model folder");
        if folder.spec().is_err() {
            continue;
        }
        for dropout in [0.0, 0.2] {
            let (loss, kept) = gradients(&mut trainer(&folder, dropout, false), &data);
            let (loss_again, recomputed) = gradients(&mut trainer(&folder, dropout, true), &data);
            assert!(kept.iter().all(|g| largest(g) > 0.0), "{}", path.display());
            assert_eq!(loss, loss_again);
            assert_eq!(kept, recomputed, "{}: the same to the bit", path.display());
        }
    }
}

#[test]
fn packing_a_batch_gives_the_gradients_of_its_samples() {
    let data = dataset(&[30, 21, 40]);
    for name in ["gemma3", "llama31"] {
        let mut trainer = trainer(&family(name), 0.0, false);
        let (loss, together) = gradients(&mut trainer, &data);
        let single: Vec<MicroBatch> = data.samples.iter().enumerate().map(|s| MicroBatch::new([s])).collect();
        let (loss_apart, apart) = training::gradients(&mut trainer, &single);
        assert!((loss - loss_apart).abs() < 1e-6);
        let worst = relative_all(&together, &apart);
        assert!(worst < 1e-5, "{name}: {worst}");
    }
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    let folder = family("phi4mini");
    let data = dataset(&[200, 180, 90, 230]);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(|| {
            let mut trainer = trainer(&folder, 0.1, false);
            for _ in 0..3 {
                trainer.step(&batch(&data), 1e-2, &CancelFlag::default()).expect("a step");
            }
            weights(&trainer)
        })
    };
    let one = run(1);
    assert_eq!(one, run(2));
    assert_eq!(one, run(5));
}

fn run_fit(folder: &ModelFolder, dir: &Path, sink: &Recorder, save_every: Duration) -> Result<Vec<Vec<f32>>> {
    let mut trainer = trainer(folder, 0.1, false);
    let (data, eval) = (dataset(&[30, 22, 41, 17, 35, 28, 44, 26, 19]), dataset(&[20, 30, 25]));
    let work = Fit {
        train: &data,
        eval: Some(&eval),
        args: &arguments(),
        checkpoints: &Checkpoints::open(dir.to_owned())?,
        metrics_dir: dir,
        wandb: None,
        saver: None,
        save_every,
        pause_after: None,
        events: sink,
        cancel: &sink.cancel,
    };
    let fitted = fit(&mut trainer, &work)?;
    assert_eq!(fitted.steps, 10);
    let (before, after) = fitted.eval.expect("evaluations");
    assert!(before.is_finite() && after.is_finite() && before != after);
    Ok(weights(&trainer))
}

fn told(recorder: &Recorder) -> Vec<(usize, u64)> {
    let step = |event| match event {
        Event::TrainStep { step, mean_loss, log: true, .. } => Some((step, mean_loss.to_bits())),
        _ => None,
    };
    recorder.events().into_iter().filter_map(step).collect()
}

#[test]
fn ten_steps_are_five_and_five_more_to_the_bit() -> Result<()> {
    let folder = family("llama31");
    let dir = tempfile::tempdir().expect("a temporary folder");
    let long = Duration::from_secs(3600);
    let whole = Recorder::default();
    let expected = run_fit(&folder, &dir.path().join("whole"), &whole, long)?;

    let records = |dir: &Path| {
        let text = std::fs::read_to_string(dir.join("metrics.jsonl")).expect("metrics");
        let line = |line: &str| -> serde_json::Value {
            let mut record: serde_json::Value = serde_json::from_str(line).expect("JSON");
            record.as_object_mut().expect("an object").remove("seconds");
            record
        };
        text.lines().map(line).collect::<Vec<_>>()
    };
    // After step 6 an evaluation is due, which the interruption cuts short; so is the one after the last step.
    for stop in [5, 6, 10] {
        let broken = dir.path().join(format!("broken-{stop}"));
        let first = Recorder::stopping_at(stop);
        assert!(run_fit(&folder, &broken, &first, long).is_err_and(|error| error.is_interruption()));
        let second = Recorder::default();
        assert_eq!(run_fit(&folder, &broken, &second, long)?, expected);
        let logged = [told(&first), told(&second)].concat();
        assert_eq!(logged, told(&whole), "the running means go on as well");
        assert_eq!(records(&broken), records(&dir.path().join("whole")));
    }

    // A run that is killed leaves what it saved on the way, and perhaps half a checkpoint.
    let killed = dir.path().join("killed");
    let saving = Recorder::stopping_at(7);
    assert!(run_fit(&folder, &killed, &saving, Duration::ZERO).is_err());
    let saved = std::fs::read_dir(&killed).expect("a folder").flatten().map(|e| e.path());
    let steps: Vec<PathBuf> = saved.filter(|p| p.join("state.json").is_file()).collect();
    assert_eq!(steps.len(), 1, "older checkpoints are dropped: {steps:?}");
    std::fs::create_dir(killed.join("step-000009")).expect("half a checkpoint");
    assert_eq!(run_fit(&folder, &killed, &Recorder::default(), long)?, expected);
    Ok(())
}

/// A last step that goes much too far is noticed by the run that comes after an interruption, too.
#[test]
fn a_last_step_that_diverges_is_noticed_after_an_interruption() -> Result<()> {
    let folder = family("llama31");
    let dir = tempfile::tempdir().expect("a temporary folder");
    let args = TrainingArgs {
        max_steps: Some(2),
        learning_rate: 1e12,
        lr_scheduler_type: Scheduler::ConstantWithWarmup,
        warmup_ratio: 0.0,
        warmup_steps: 1, // The first step goes nowhere.
        ..arguments()
    };
    let run = |stop: usize| {
        let sink = Recorder::stopping_at(stop);
        let mut trainer = trainer(&folder, 0.0, false);
        let data = dataset(&[30, 22, 41, 17]);
        let work = Fit {
            train: &data,
            eval: None,
            args: &args,
            checkpoints: &Checkpoints::open(dir.path().to_owned())?,
            metrics_dir: dir.path(),
            wandb: None,
            saver: None,
            save_every: Duration::from_secs(3600),
            pause_after: None,
            events: &sink,
            cancel: &sink.cancel,
        };
        fit(&mut trainer, &work)
    };
    assert!(run(2).is_err_and(|error| error.is_interruption()));
    assert!(dir.path().join("step-000002/state.json").is_file(), "both steps are done");
    let resumed = run(usize::MAX).expect_err("the loss is that of no model");
    assert!(matches!(resumed.downcast_ref(), Some(TrainError::Diverged { step: 2, .. })), "{resumed}");
    Ok(())
}

#[test]
fn schedules_are_those_of_transformers() {
    // get_scheduler(kind, num_warmup_steps=2, num_training_steps=10) of transformers, base rate 1.
    let cases = [
        (Scheduler::Constant, [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
        (Scheduler::ConstantWithWarmup, [0.0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
        (Scheduler::Linear, [0.0, 0.5, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]),
        (
            Scheduler::Cosine,
            [
                0.0,
                0.5,
                1.0,
                0.9619397662556434,
                0.8535533905932737,
                0.6913417161825449,
                0.5,
                0.3086582838174552,
                0.14644660940672627,
                0.03806023374435663,
            ],
        ),
    ];
    for (kind, expected) in cases {
        for by_ratio in [true, false] {
            let (warmup_ratio, warmup_steps) = if by_ratio { (0.15, 0) } else { (0.9, 2) };
            let args = TrainingArgs {
                lr_scheduler_type: kind,
                learning_rate: 1.0,
                warmup_ratio,
                warmup_steps,
                ..arguments()
            };
            let schedule = Schedule::new(&args, 10);
            for (step, want) in expected.iter().enumerate() {
                assert!((schedule.learning_rate(step) - want).abs() < 1e-12, "{kind:?} at {step}");
            }
        }
    }
}

#[test]
fn every_epoch_visits_every_sample_once() {
    let lengths: Vec<usize> = (0..23).map(|i| 5 + i * 7 % 23).collect();
    use Sampling::{GroupByLength, Random};
    for (sampling, dataloader_drop_last) in [(Random, false), (GroupByLength, false), (Random, true)] {
        let args = TrainingArgs { sampling, dataloader_drop_last, max_steps: None, ..arguments() };
        let args = TrainingArgs { num_train_epochs: 2.5, per_device_train_batch_size: 3, ..args };
        let mut plan = BatchPlan::new(lengths.clone(), &args).expect("a plan");
        let per_epoch = if dataloader_drop_last { 7 } else { 8 };
        let mut epochs = (0..2)
            .map(|epoch| (0..per_epoch).flat_map(|i| plan.rows(epoch * per_epoch + i)).collect::<Vec<_>>());
        let (first, second) = (epochs.next().expect("an epoch"), epochs.next().expect("an epoch"));
        assert_ne!(first, second, "every epoch has an order of its own");
        for order in [&first, &second] {
            let distinct: std::collections::BTreeSet<_> = order.iter().collect();
            assert_eq!(distinct.len(), order.len());
            assert_eq!(order.len(), if dataloader_drop_last { 21 } else { 23 });
        }
        if sampling == GroupByLength {
            assert_eq!(lengths[first[0]], 27, "the longest sample comes first");
        }
        assert_eq!(plan.total_steps(&args), 10);
        assert_eq!(plan.total_steps(&TrainingArgs { max_steps: Some(77), ..args.clone() }), 77);
    }
}

/// Steps and epochs as transformers 5.23 counts them: rows, batch, accumulation and epochs give the micro-batches of every
/// step.
#[test]
fn an_epoch_ends_with_a_step_of_what_is_left() {
    let cases: [(usize, usize, usize, f64, &[usize]); 5] = [
        (6, 1, 4, 1.0, &[4, 2]),
        (6, 1, 4, 2.0, &[4, 2, 4, 2]),
        (6, 2, 2, 3.0, &[2, 1, 2, 1, 2, 1]),
        (3, 1, 16, 2.0, &[3, 3]),
        (6, 1, 4, 1.5, &[4, 2, 4]),
    ];
    for (rows, batch, accumulation, epochs, expected) in cases {
        let args = TrainingArgs {
            per_device_train_batch_size: batch,
            gradient_accumulation_steps: accumulation,
            num_train_epochs: epochs,
            max_steps: None,
            ..arguments()
        };
        let plan = BatchPlan::new(vec![7; rows], &args).expect("a plan");
        let steps: Vec<_> = (0..plan.total_steps(&args)).map(|step| plan.batches(step)).collect();
        assert_eq!(steps.iter().map(|batches| batches.len()).collect::<Vec<_>>(), expected);
        assert_eq!(steps[0].start, 0);
        assert!(steps.windows(2).all(|pair| pair[0].end == pair[1].start), "no batch is left out");
        let done = expected.iter().sum::<usize>() as f64 / rows.div_ceil(batch) as f64;
        assert_eq!(plan.epochs(steps.len()), done);
    }
}

/// The steps of a training on six rows of different lengths, and what the run told.
fn trained_on_six_rows(arguments: Value) -> (Vec<Value>, String) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let rows = dir.path().join("rows.txt");
    std::fs::write(&rows, "o\noo\nooo\noooo\nooooo\noooooo\n").expect("a data file");
    let mut config = Quickstart::configuration(&["lora"]);
    config["data_configs"][0]["load_dataset_config"] =
        json!({ "data_name": "text", "data_files": rows, "split": "train" });
    config["data_configs"][0]["pre_process_data_config"] = json!({
        "text_cols": "text", "strategy": "line-by-line", "max_seq_len": 16, "pad_to_max_len": false,
    });
    let lora = &mut config["passes"]["lora"]["config"];
    lora["eval_dataset_size"] = Value::Null;
    lora["training_args"] = json!({
        "max_steps": -1, "per_device_train_batch_size": 1, "lr_scheduler_type": "linear", "learning_rate": 0.001,
    });
    for (name, value) in arguments.as_object().expect("arguments") {
        lora["training_args"][name] = value.clone();
    }
    config["engine"] = json!({ "cache_dir": dir.path().join("cache"), "output_dir": dir.path().join("out") });
    let output = run_configuration(dir.path(), &config);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let metrics = std::fs::read_to_string(dir.path().join("out/adapter/metrics.jsonl")).expect("metrics");
    let steps = metrics.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    (steps, text(&output.stderr))
}

fn column(steps: &[Value], name: &str) -> Vec<f64> {
    steps.iter().map(|step| step[name].as_f64().expect("a number")).collect()
}

#[test]
fn two_epochs_see_every_row_twice() {
    let (steps, _) = trained_on_six_rows(
        json!({ "num_train_epochs": 2, "gradient_accumulation_steps": 4, "warmup_ratio": 0 }),
    );
    assert_eq!(column(&steps, "epoch"), [4.0 / 6.0, 1.0, 10.0 / 6.0, 2.0]);
    assert_eq!(column(&steps, "learning_rate"), [0.001, 0.00075, 0.0005, 0.00025]);
    let tokens = column(&steps, "tokens");
    assert_eq!(tokens[0] + tokens[1], tokens[2] + tokens[3], "the rows of an epoch");
}

#[test]
fn shares_of_all_steps_and_the_order_are_followed() {
    let (steps, told) = trained_on_six_rows(json!({
        "num_train_epochs": 1, "gradient_accumulation_steps": 1, "warmup_steps": 0.5, "logging_steps": 0.5,
        "train_sampling_strategy": "sequential",
    }));
    let rates = column(&steps, "learning_rate").into_iter().map(|rate| (rate * 3000.0).round());
    assert_eq!(rates.collect::<Vec<_>>(), [0.0, 1.0, 2.0, 3.0, 2.0, 1.0]);
    assert!(column(&steps, "tokens").is_sorted(), "the rows come as they stand in the file");
    let lines: Vec<&str> = told.lines().map(str::trim).filter(|line| line.starts_with("step ")).collect();
    assert_eq!(lines.len(), 2, "{told}");
    assert!(lines[0].starts_with("step 3/6") && lines[1].starts_with("step 6/6"), "{told}");
}

#[test]
fn what_cannot_be_trained_is_refused_with_what_could_be() {
    let folder = family("phi4mini");
    let spec = folder.spec().expect("a spec");
    let select = |targets: Targets| targets::select(&spec, Some(&targets));
    let names = |names: &[&str]| Targets::Names(names.iter().map(|n| (*n).into()).collect());
    let error = select(names(&["qkv_proj", "q_proj"])).expect_err("phi3 has no q_proj");
    assert!(error.to_string().contains("`q_proj`"), "{error}");
    assert!(error.hint().expect("a hint").contains("qkv_proj"));
    assert!(matches!(select(names(&["lm_head"])), Err(TrainError::NotALinearLayer { .. })));
    assert!(matches!(select(Targets::Pattern("(".into())), Err(TrainError::BadPattern { .. })));
    assert!(matches!(select(Targets::Pattern("o_proj".into())), Err(TrainError::NoSuchTarget { .. })));
    let modules =
        |selected: Vec<olive_arch::Linear>| selected.into_iter().map(|l| l.module).collect::<Vec<_>>();
    assert_eq!(
        modules(select(Targets::Pattern(r".*\.1\..*o_proj".into())).expect("a match")),
        ["model.layers.1.self_attn.o_proj"]
    );
    assert_eq!(modules(targets::select(&spec, None).expect("defaults")).len(), 2);
    assert_eq!(modules(select(Targets::AllLinear).expect("all")).len(), 8);
}

#[test]
fn a_loss_that_explodes_stops_before_the_adapter_changes() {
    let folder = family("llama31");
    let mut trainer = trainer(&folder, 0.0, false);
    let data = dataset(&[30, 20]);
    let cancel = CancelFlag::default();
    let rows = || vec![MicroBatch::new([(17, &data.samples[0]), (4, &data.samples[1])])];
    trainer.step(&rows(), 1e9, &cancel).expect("the first step sees a sound adapter");
    let before = weights(&trainer);
    let error = trainer.step(&rows(), 1e-3, &cancel).expect_err("the adapter is far off now");
    assert!(
        matches!(error.downcast_ref(), Some(TrainError::Diverged { step: 2, rows, .. }) if *rows == [17, 4])
    );
    assert!(error.to_string().contains("training samples 17 and 4"), "{error}");
    assert_eq!(weights(&trainer), before);

    let masked = Sample { labels: vec![-100; 30], ..data.samples[0].clone() };
    let error = trainer.step(&[MicroBatch::new([(3, &masked)])], 1e-3, &cancel).expect_err("no label");
    assert!(matches!(error.downcast_ref(), Some(TrainError::NoLabels { rows }) if *rows == [3]));
}

/// Words in lines, and how to read them.
fn text_data(dir: &Path, max_seq_len: usize) -> DataConfig {
    let file = dir.join("text.txt");
    let line = "the quick brown fox jumps over the lazy dog once upon a time there was a small house\n";
    std::fs::write(&file, line.repeat(60)).expect("a data file");
    let pre_process = TextGeneration {
        source: TextSource::Columns(vec!["text".into()]),
        drop_short_sequences: true,
        use_attention_mask: false,
        ..options(Era::New, Strategy::Join, max_seq_len, "")
    };
    DataConfig {
        name: "text".into(),
        load: load("text", &[file.to_str().expect("UTF-8")]),
        pre_process,
        mix: Vec::new(),
    }
}

fn lora(dir: &Path) -> LoraOptions {
    LoraOptions {
        r: 4,
        alpha: 8.0,
        lora_dropout: 0.05,
        use_rslora: true,
        use_dora: false,
        target_modules: None,
        modules_to_save: None,
        torch_dtype: "bfloat16".into(),
        train_data: text_data(dir, 24),
        eval_data: None,
        eval_dataset_size: Some(EvalSize::Fraction(0.2)),
        training: arguments(),
    }
}

fn run_pass(options: LoraOptions, base: &ModelFolder, dir: &Path, sink: &Recorder) -> Result<ModelHandle> {
    std::fs::create_dir_all(dir).expect("a folder");
    let input = ModelHandle::Hf { dir: base.dir.clone() };
    passes::run_pass(&LoraPass { options }, &input, dir, sink, &sink.cancel)
}

#[test]
fn the_pass_writes_an_adapter_that_learned_and_resumes_to_the_same_bytes() -> Result<()> {
    let base = ModelFolder::open(&base_model())?;
    let dir = tempfile::tempdir().expect("a temporary folder");
    let out = dir.path().join("whole");
    let sink = Recorder::default();
    let handle = run_pass(lora(dir.path()), &base, &out, &sink)?;
    assert_eq!(handle, ModelHandle::HfWithAdapter { base: base.dir.clone(), adapter: out.clone() });

    let adapter = Adapter::open(&out)?;
    assert_eq!(adapter.config.target_modules, TargetModules::Names(vec!["qkv_proj".into()]));
    assert_eq!((adapter.config.r, adapter.config.use_rslora), (4, true));
    assert!(adapter.modules.values().all(|pair| largest(&pair.a) > 0.0 && largest(&pair.b) > 0.0));
    let mut written: Vec<_> =
        std::fs::read_dir(&out).expect("a folder").flatten().map(|e| e.file_name()).collect();
    written.sort();
    let result = ["adapter_config.json", "adapter_model.safetensors", "metrics.jsonl", "resume", "runs"];
    assert_eq!(written, result, "the cache does not take the state");
    let losses = sink.evaluations();
    // Before, after steps 3, 6 and 9, and at the end.
    assert_eq!(losses.len(), 5);
    assert!(losses[4].1 < losses[0].1 - 0.5, "the text was learned: {losses:?}");
    assert_eq!(sink.told("float32"), 1, "what became of `torch_dtype` is said once");

    let broken = dir.path().join("broken");
    let stopped = run_pass(lora(dir.path()), &base, &broken, &Recorder::stopping_at(4));
    assert!(stopped.is_err_and(|error| error.is_interruption()));
    assert!(broken.join("resume").is_dir());
    run_pass(lora(dir.path()), &base, &broken, &Recorder::default())?;
    let bytes = |dir: &Path| std::fs::read(dir.join("adapter_model.safetensors")).expect("an adapter");
    assert_eq!(bytes(&broken), bytes(&out));
    Ok(())
}

/// A run may be killed when the training is done and the cache does not have its result yet.
#[test]
fn a_training_that_was_done_goes_on_from_its_last_state_with_all_that_belongs_to_it() -> Result<()> {
    let base = ModelFolder::open(&base_model())?;
    let dir = tempfile::tempdir().expect("a temporary folder");
    let out = dir.path().join("out");
    let options = || {
        let saving = Saving { strategy: SaveStrategy::Steps, steps: 3.0, ..Saving::default() };
        let training = TrainingArgs { saving, ..arguments() };
        LoraOptions { training, ..lora(dir.path()) }
    };
    run_pass(options(), &base, &out, &Recorder::default())?;
    let weights = |step: usize| {
        let path = out.join(format!("checkpoints/checkpoint-{step}/adapter_model.safetensors"));
        std::fs::read(path).expect("an adapter")
    };
    let rows = || std::fs::read_to_string(out.join("metrics.jsonl")).expect("metrics").lines().count();
    let saved = [3, 6, 9, 10].map(weights);
    let written = rows();
    // The old file stays whole until there is a new one.
    std::fs::hard_link(out.join("metrics.jsonl"), dir.path().join("old")).expect("a link");
    // What was on its way when an adapter was replaced.
    std::fs::create_dir(out.join("checkpoints/.checkpoint-9.removed")).expect("a folder");

    let again = Recorder::default();
    run_pass(options(), &base, &out, &again)?;
    let steps = again.events().into_iter().filter(|event| matches!(event, Event::TrainStep { .. })).count();
    assert_eq!(steps, 1, "the state after step 9 was there");
    assert_eq!([3, 6, 9, 10].map(weights), saved);
    assert_eq!(rows(), written);
    let old = std::fs::read_to_string(dir.path().join("old")).expect("metrics");
    assert_eq!(old.lines().count(), written);
    let hidden = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with('.');
    let left = std::fs::read_dir(out.join("checkpoints")).expect("a folder").flatten().filter(hidden);
    assert_eq!(left.count(), 0);
    Ok(())
}

#[test]
fn the_pass_refuses_what_it_cannot_do() {
    let base = ModelFolder::open(&base_model()).expect("a model folder");
    let dir = tempfile::tempdir().expect("a temporary folder");
    let refused = |change: &dyn Fn(&mut LoraOptions)| {
        let mut options = lora(dir.path());
        change(&mut options);
        let sink = Recorder::default();
        let error = run_pass(options, &base, &dir.path().join("out"), &sink).expect_err("an error");
        assert!(!dir.path().join("out/adapter_model.safetensors").exists());
        error.to_string()
    };
    assert!(refused(&|o| o.modules_to_save = Some(vec!["no_such".into()])).contains("no_such"));
    assert!(refused(&|o| o.training.per_device_train_batch_size = 0).contains("per_device_train_batch_size"));
    assert!(refused(&|o| o.training.learning_rate = 1e30).contains("diverged"));
}

/// What a run keeps as JSON, and reads again when it is resumed, is the same to the last bit.
#[test]
fn numbers_pass_through_json_unchanged() {
    let numbers = (1..20_000_u64)
        .map(|i| f64::from_bits(0x3f00_0000_0000_0000 + i.wrapping_mul(0x9e37_79b9_7f4a_7c15) % (1 << 54)));
    for number in numbers {
        let text = serde_json::to_string(&number).unwrap();
        assert_eq!(serde_json::from_str::<f64>(&text).unwrap().to_bits(), number.to_bits(), "{text}");
    }
}
