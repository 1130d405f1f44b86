//! The best state, early stopping and checkpoints on the way, in whole trainings.

use crate::support::events::Recorder;
use crate::support::training::{arguments, plain_options, sample, weights};
use crate::support::trajectory::Trajectory;
use olive_config::canonical::{SaveStrategy, Saving, TrainingArgs};
use olive_core::Result;
use olive_core::cancel::CancelFlag;
use olive_data::Dataset;
use olive_model::Adapter;
use olive_train::evaluate::evaluate;
use olive_train::{Checkpoints, Fit, Fitted, Saver, fit};
use std::path::Path;
use std::time::Duration;

struct Outcome {
    fitted: Result<Fitted>,
    losses: Vec<(usize, f64)>,
    weights: Vec<Vec<f32>>,
    /// Of the adapter that comes out.
    loss: f64,
}

/// Two samples that repeat, so that what was held out gets worse after a while.
fn run(dir: &Path, args: &TrainingArgs, stop: usize) -> Outcome {
    let data = |seed: u32, n: u32| {
        let ids = move |row: u32| (0..24).map(move |i| (i * (row + seed) + i * i) % 90 + 4).collect();
        Dataset { samples: (0..n).map(|row| sample(ids(row))).collect(), rows: n as usize }
    };
    let (train, eval) = (data(1, 2), data(9, 3));
    let trajectory = Trajectory::of_fixtures("dora");
    let mut trainer = trajectory.trainer(plain_options());
    let config = Adapter::open(&trajectory.init).expect("an adapter").config;
    let recorder = Recorder::stopping_at(stop);
    let checkpoints = Checkpoints::open(dir.join("resume")).expect("a folder");
    let saver = Saver {
        saving: &args.saving,
        config: &config,
        dir: dir.join("checkpoints"),
        keeps_best: args.selection.load_best_model_at_end,
    };
    let fitted = fit(
        &mut trainer,
        &Fit {
            train: &train,
            eval: Some(&eval),
            args,
            checkpoints: &checkpoints,
            metrics_dir: dir,
            wandb: None,
            saver: Some(&saver),
            save_every: Duration::from_secs(3600),
            pause_after: None,
            events: &recorder,
            cancel: &recorder.cancel,
        },
    );
    let loss = evaluate(&trainer.decoder, &eval, 2, &CancelFlag::default()).expect("a loss").0;
    Outcome { fitted, losses: recorder.evaluations(), weights: weights(&trainer), loss }
}

fn lowest(losses: &[(usize, f64)]) -> (usize, f64) {
    losses
        .iter()
        .filter(|(step, _)| *step > 0)
        .copied()
        .reduce(|a, b| if b.1 < a.1 { b } else { a })
        .expect("losses")
}

fn saved(dir: &Path) -> Vec<usize> {
    let Ok(entries) = std::fs::read_dir(dir.join("checkpoints")) else { return Vec::new() };
    let number = |name: String| name.strip_prefix("checkpoint-").and_then(|n| n.parse().ok());
    let names = entries.flatten().map(|e| e.file_name().into_string().expect("a name"));
    let mut steps: Vec<usize> = names.map(|name| number(name).expect("nothing else lies here")).collect();
    steps.sort_unstable();
    steps
}

#[test]
fn the_state_with_the_lowest_evaluation_is_kept_also_across_an_interruption() {
    let dir = tempfile::tempdir().expect("a folder");
    let best = arguments(|args| args.selection.load_best_model_at_end = true);
    let whole = run(&dir.path().join("whole"), &best, usize::MAX);
    let (step, loss) = lowest(&whole.losses);
    let kept = whole.fitted.expect("trained").best.expect("a best state");
    assert_eq!((kept.step, kept.loss), (step, loss));
    assert!((2..20).contains(&step), "the best state is on the way: {:?}", whole.losses);
    assert_eq!(whole.loss, loss, "the adapter is the one that was evaluated then");
    let last = run(&dir.path().join("last"), &arguments(|_| {}), usize::MAX);
    assert!(last.fitted.expect("trained").best.is_none());
    assert!(last.loss > loss);
    assert_eq!(last.loss, last.losses.last().expect("losses").1);

    // Before and after the best state, and right after an evaluation.
    for stop in [1, step, step + 1, 19] {
        let broken = dir.path().join(format!("broken-{stop}"));
        assert!(run(&broken, &best, stop).fitted.is_err());
        let second = run(&broken, &best, usize::MAX);
        assert_eq!(second.fitted.expect("trained").best, Some(kept), "interrupted after step {stop}");
        assert_eq!(second.weights, whole.weights, "interrupted after step {stop}");
    }
}

#[test]
fn training_stops_when_evaluations_get_worse() {
    let dir = tempfile::tempdir().expect("a folder");
    let args = arguments(|args| args.selection.early_stopping_patience = Some(2));
    let whole = run(&dir.path().join("whole"), &args, usize::MAX);
    let fitted = whole.fitted.expect("trained");
    let (best, _) = lowest(&whole.losses);
    assert_eq!(fitted.steps, best + 4, "two evaluations after the best: {:?}", whole.losses);
    assert!(fitted.steps < 20);
    for stop in [best + 1, best + 2, best + 3] {
        let broken = dir.path().join(format!("broken-{stop}"));
        assert!(run(&broken, &args, stop).fitted.is_err());
        let second = run(&broken, &args, usize::MAX);
        assert_eq!(second.fitted.expect("trained").steps, fitted.steps);
        assert_eq!(second.weights, whole.weights);
    }
}

#[test]
fn checkpoints_are_adapters_of_their_step() {
    let dir = tempfile::tempdir().expect("a folder");
    let saving = |strategy, steps, total_limit| {
        arguments(|args| {
            args.saving = Saving { strategy, steps, total_limit, output_dir: None };
            args.selection.load_best_model_at_end = total_limit.is_some();
        })
    };
    let every = dir.path().join("every");
    run(&every, &saving(SaveStrategy::Steps, 6.0, None), usize::MAX);
    assert_eq!(saved(&every), [6, 12, 18, 20]);
    let share = dir.path().join("share");
    run(&share, &saving(SaveStrategy::Steps, 0.25, None), usize::MAX);
    assert_eq!(saved(&share), [5, 10, 15, 20]);
    let epochs = dir.path().join("epochs");
    run(&epochs, &saving(SaveStrategy::Epoch, 1.0, None), usize::MAX);
    assert_eq!(saved(&epochs).len(), 10, "two samples are an epoch");

    // The newest two, of which one is the best.
    let limited = dir.path().join("limited");
    let outcome = run(&limited, &saving(SaveStrategy::Steps, 2.0, Some(2)), usize::MAX);
    let (best, _) = lowest(&outcome.losses);
    assert_eq!(saved(&limited), [best, 20]);
    let one = dir.path().join("one");
    run(&one, &saving(SaveStrategy::Steps, 2.0, Some(1)), usize::MAX);
    assert_eq!(saved(&one), [best, 20], "as in transformers, the best outlives a limit of one");
    let kept = Adapter::open(&limited.join(format!("checkpoints/checkpoint-{best}"))).expect("an adapter");
    let flat: Vec<Vec<f32>> = outcome.weights;
    let module = kept.modules.values().next().expect("a module");
    assert!(flat.contains(&module.a) && flat.contains(&module.b), "the best checkpoint is the result");
    assert!(flat.contains(module.magnitude.as_ref().expect("a magnitude")));
    let bests = dir.path().join("bests");
    run(&bests, &saving(SaveStrategy::Best, 1.0, None), usize::MAX);
    assert_eq!(saved(&bests).last(), Some(&best));
}
