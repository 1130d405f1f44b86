//! What is a formula or a rule: schedules, plateaus, early stopping, targets, the bound of NEFTune's noise.

use crate::support::models::{fixture, read_json};
use crate::support::training::{arguments, plain_options, sample};
use crate::support::trajectory::{Trajectory, fixture_model};
use olive_arch::Spec;
use olive_config::canonical::{Scheduler, SchedulerOptions, Selection, Targets};
use olive_core::Fault;
use olive_core::cancel::CancelFlag;
use olive_data::MicroBatch;
use olive_decoder::gradients::NoiseKey;
use olive_train::evaluate::evaluate;
use olive_train::plateau::Plateau;
use olive_train::selection::Standing;
use olive_train::{Schedule, TrainError, TrainerOptions, targets};
use serde_json::Value;

fn reference(name: &str) -> Value {
    read_json(&fixture("train/numbers.json"))[name].take()
}

/// The cases of a reference; it must have this many.
fn cases(reference: &Value, count: usize) -> Vec<Value> {
    let cases = reference.as_array().expect("cases");
    assert_eq!(cases.len(), count);
    cases.clone()
}

fn list(value: &Value) -> Vec<f64> {
    value.as_array().expect("a list").iter().map(|v| v.as_f64().expect("a number")).collect()
}

#[test]
fn schedules_are_those_of_transformers() {
    let reference = reference("schedules");
    let steps = reference["steps"].as_u64().expect("a number") as usize;
    let mut kinds = std::collections::BTreeSet::new();
    for case in cases(&reference["cases"], 21) {
        let kind: Scheduler = serde_json::from_value(case["kind"].clone()).expect("a scheduler of ours");
        let kwargs: SchedulerOptions = serde_json::from_value(case["kwargs"].clone()).expect("options");
        let args = arguments(|args| {
            args.lr_scheduler_type = kind;
            args.lr_scheduler_kwargs = kwargs.clone();
            args.learning_rate = reference["rate"].as_f64().expect("a number");
            args.warmup_steps = case["warmup"].as_u64().expect("a number") as usize;
            args.warmup_ratio = 0.0;
        });
        let schedule = Schedule::new(&args, steps);
        for (step, want) in list(&case["rates"]).iter().enumerate() {
            let got = schedule.learning_rate(step);
            assert!((got - want).abs() < 1e-15 + 1e-12 * want.abs(), "{case}: step {step}: {got} not {want}");
        }
        kinds.insert(case["kind"].as_str().expect("a name").to_owned());
    }
    assert_eq!(kinds.len(), 10, "all schedulers that are functions of the step");
}

#[test]
fn plateaus_are_those_of_torch() {
    let reference = reference("plateaus");
    let base = reference["rate"].as_f64().expect("a number");
    for case in cases(&reference["cases"], 4) {
        let kwargs: SchedulerOptions = serde_json::from_value(case["kwargs"].clone()).expect("options");
        let mut plateau = Plateau::default();
        for (loss, want) in list(&reference["losses"]).iter().zip(list(&case["rates"])) {
            plateau.evaluated(*loss, base, &kwargs);
            let got = plateau.learning_rate(base);
            assert!((got - want).abs() < 1e-15, "{case}: {got} not {want}");
        }
    }
}

#[test]
fn early_stopping_is_that_of_transformers() {
    let mut stopped = 0;
    for case in cases(&reference("early_stopping"), 16) {
        let selection = Selection {
            load_best_model_at_end: true,
            early_stopping_patience: Some(case["patience"].as_u64().expect("a number") as usize),
            early_stopping_threshold: case["threshold"].as_f64().expect("a number"),
        };
        let mut standing = Standing::default();
        let mut stop = None;
        for (index, loss) in list(&case["losses"]).iter().enumerate() {
            standing.judge(index + 1, *loss, &selection);
            if standing.stopped {
                stop = Some(index as u64 + 1);
                break;
            }
        }
        assert_eq!(stop, case["stop"].as_u64(), "{case}");
        assert_eq!(standing.best.map(|best| best.step as u64), case["best"].as_u64(), "{case}");
        stopped += usize::from(stop.is_some());
    }
    assert!(stopped > 5);
}

#[test]
fn targets_are_those_of_peft() {
    let mut spec = None;
    let mut architectures = 0;
    for case in cases(&reference("targets"), 56) {
        if case["config"].is_object() {
            spec = Some(Spec::from_config(&case["config"]).expect("a spec"));
            architectures += 1;
        }
        let spec = spec.as_ref().expect("the first case has one");
        let asked = match &case["asked"] {
            Value::Null => None,
            Value::String(text) if text == "all-linear" => Some(Targets::AllLinear),
            Value::String(text) => Some(Targets::Pattern(text.clone())),
            names => Some(Targets::Names(serde_json::from_value(names.clone()).expect("names"))),
        };
        let selected = targets::select(spec, asked.as_ref()).expect("targets");
        let mut got: Vec<String> = selected.into_iter().map(|linear| linear.module).collect();
        got.sort();
        let want: Vec<String> = serde_json::from_value(case["modules"].clone()).expect("names");
        assert_eq!(got, want, "{}: {}", spec.architecture, case["asked"]);
    }
    assert_eq!(architectures, 10);
}

#[test]
fn what_cannot_be_trained_whole_is_refused() {
    let spec = fixture_model().spec().expect("a spec");
    let select = |name: &str| targets::select_whole(&spec, &[name.to_owned()]);
    assert_eq!(select("lm_head").expect("a head")[0].1, [96, 32]);
    let error = select("down_proj").expect_err("a linear layer");
    assert!(error.hint().expect("a hint").contains("target_modules"), "{error}");
    assert!(matches!(select("mlp"), Err(TrainError::NotWhole { .. })));
    let tied = Spec { tied: true, ..spec.clone() };
    assert!(matches!(targets::select_whole(&tied, &["lm_head".into()]), Err(TrainError::Tied { .. })));
    assert_eq!(targets::select_whole(&tied, &["norm".into()]).expect("norms").len(), 5);
}

#[test]
fn the_noise_of_neftune_has_the_bound_of_transformers_and_evaluations_have_none() {
    for case in cases(&reference("neftune"), 3) {
        let number = |key: &str| case[key].as_f64().expect("a number");
        let noise = NoiseKey { alpha: number("alpha"), key: [0; 32] };
        let bound = noise.bound(number("length") as usize, number("width") as usize);
        // The largest of millions of draws is just below the bound.
        assert!((number("bound") / bound - 1.0).abs() < 1e-4, "{case}: {bound}");
    }
    let data = olive_data::Dataset { samples: vec![sample((3..40).collect())], rows: 1 };
    let batches = [MicroBatch::new([(0, &data.samples[0])])];
    let cancel = CancelFlag::default();
    let run = |neftune_noise_alpha, seed| {
        let options = TrainerOptions { neftune_noise_alpha, seed, ..plain_options() };
        let trainer = Trajectory::of_fixtures("rslora").trainer(options);
        let (loss, gradients) = trainer.gradients(&batches, &cancel).expect("gradients");
        let evaluated = evaluate(&trainer.decoder, &data, 1, &cancel).expect("a loss").0;
        (loss, gradients.norm().expect("a norm"), evaluated)
    };
    let quiet = run(0.0, 3);
    let noisy = run(5.0, 3);
    assert_ne!(quiet.0, noisy.0);
    assert_eq!(noisy, run(5.0, 3), "the same seed is the same noise");
    assert_ne!(noisy.0, run(5.0, 4).0);
    assert_eq!(quiet.2, noisy.2, "an evaluation has no noise");
    assert!((quiet.0 - quiet.2).abs() < 1e-6);
}
