//! LoftQ as a user runs it: the split of the base, and a merge that fits it.

use crate::support::binary::{answer, generated, olive, succeed, text};
use crate::support::quickstart::{Quickstart, base_model};
use crate::support::training::product;
use olive_model::{Adapter, ModelFolder, QuantisedBase};
use std::path::Path;

const TYPE: &str = "passes.lora.type=LoftQ";

fn run(quickstart: &Quickstart, more: &[&str]) -> String {
    let output = succeed(&mut quickstart.run(&[&[TYPE], more].concat()));
    text(&output.stdout) + &text(&output.stderr)
}

/// Norms, over all layers, of what the weights differ by from the 4-bit ones, and from those with the adapter.
fn errors(folder: &Path, adapter: &Path) -> (f64, f64) {
    let model = ModelFolder::open(&base_model()).unwrap();
    let (spec, checkpoint) = (model.spec().unwrap(), model.checkpoint().unwrap());
    let base = QuantisedBase::beside(folder, &spec).unwrap().unwrap();
    let adapter = Adapter::open(adapter).unwrap();
    let (mut plain, mut split) = (0.0, 0.0);
    for linear in spec.all_linears() {
        let name = format!("{}.weight", linear.module);
        let weights = checkpoint.tensor(&name).unwrap().to_f32().unwrap();
        let quantised = base.get(&name).unwrap().to_f32();
        let pair = &adapter.modules[&linear.module];
        for (i, (weight, value)) in weights.iter().zip(&quantised).enumerate() {
            let (row, col) = (i / pair.in_features, i % pair.in_features);
            let delta = product(pair, row, col);
            let left = f64::from(*weight) - f64::from(*value);
            plain += left * left;
            split += (left - pair.scale * delta).powi(2);
        }
    }
    (plain.sqrt(), split.sqrt())
}

#[test]
fn the_adapter_begins_with_the_rounding_error_and_is_merged_into_the_base_it_fits() {
    let quickstart = Quickstart::new(2);
    // The scale of the adapter is 4, not 1.
    let shape = ["passes.lora.config.lora_r=8", "passes.lora.config.lora_alpha=32"];
    let said = run(&quickstart, &shape);
    assert!(said.contains("4.5 bits a weight"), "{said}");
    assert!(said.contains("merged into the dequantised base"), "{said}");
    let loftq = quickstart.artefact("LoftQ");
    let (plain, split) = errors(&loftq, &loftq.join("loftq_init_adapter"));
    assert!(split < 0.97 * plain, "{split} not below {plain}");
    let claimed = said.split("rounding error to ").nth(1).unwrap().split(' ').next().unwrap();
    let claimed: f64 = claimed.parse().unwrap();
    assert!((claimed - 100.0 * split / plain).abs() < 0.06, "{claimed} and {split} of {plain}");
    let record = std::fs::read_to_string(loftq.join("adapter_base.json")).unwrap();
    assert!(record.contains(r#""loftq_iter": 1"#), "{record}");

    // The merge says what it did, and did it.
    let merge = quickstart.artefacts("MergeAdapterWeights").remove(0).join("manifest.json");
    let manifest = std::fs::read_to_string(merge).unwrap();
    assert!(manifest.contains(r#""base_weights": "quantised""#), "{manifest}");
    let rest = said.split("logits differ by ").nth(1).unwrap();
    let difference: f64 = rest.split(' ').next().unwrap().parse().unwrap();
    assert!(difference < 0.02, "{said}");

    // The result can be used.
    answer(&quickstart.output());
}

#[test]
fn an_adapter_that_is_not_merged_answers_on_the_base_it_fits() {
    let quickstart = Quickstart::new(12);
    let shape = [
        "passes.lora.config.lora_r=4",
        "passes.lora.config.lora_alpha=64",
        "passes.builder.config.precision=fp32",
    ];
    run(&quickstart, &shape);
    let merged = quickstart.artefact("MergeAdapterWeights");

    // The same training with nothing after it, and with an adapter that stays apart.
    let alone = tempfile::tempdir().unwrap();
    let run_with = |passes: &[&str], more: &[&str], output: &str| {
        let config = Quickstart::configuration(passes);
        let path = alone.path().join("config.json");
        std::fs::write(&path, config.to_string()).unwrap();
        let output = alone.path().join(output);
        let mut command = olive();
        command.args(["run", "--config"]).arg(&path).args(quickstart.arguments(&[TYPE]));
        command.args(["--set", &format!("engine.output_dir={}", output.display())]);
        command.args([&shape[..2], more].concat().iter().flat_map(|set| ["--set", set]));
        succeed(&mut command);
        quickstart.artefact("LoftQ"); // taken from the cache
        output
    };
    let adapter = run_with(&["lora"], &[], "adapter");
    let more = ["passes.builder.config.precision=fp32", "passes.builder.config.adapters=separate"];
    let apart = run_with(&["lora", "builder"], &more, "apart");

    let wanted = generated(&merged, &[]);
    assert_eq!(generated(&adapter, &[]), wanted);
    assert_eq!(generated(&quickstart.output(), &[]), wanted, "the ONNX model of the same run");
    assert_eq!(generated(&apart, &[]), wanted, "the ONNX model with its adapter apart");
    assert_ne!(generated(&base_model(), &[]), wanted, "the adapter must make a difference");
}

#[test]
fn more_iterations_come_closer() {
    let left = |iterations: &str| {
        let quickstart = Quickstart::new(1);
        run(&quickstart, &["passes.lora.config.lora_r=16", iterations]);
        let loftq = quickstart.artefact("LoftQ");
        errors(&loftq, &loftq.join("loftq_init_adapter")).1
    };
    let (one, five) = (left("passes.lora.config.loftq_iter=1"), left("passes.lora.config.loftq_iter=5"));
    assert!(five < 0.99 * one, "{five} after five, {one} after one");
}

#[test]
fn what_does_not_go_together_is_refused_before_anything_runs() {
    for (set, says) in [
        ("passes.merge_adapter_weights.base_weights=float", "cannot be added to the float weights"),
        ("passes.merge_adapter_weights.base_weights=float", "hint: leave `base_weights` out"),
        ("passes.lora.config.double_quant=true", "LoftQ keeps the scales as they are"),
        ("passes.lora.config.quant_type=fp4", "LoftQ quantises to nf4"),
        ("passes.lora.config.loftq_iter=0", "loftq_iter"),
    ] {
        let quickstart = Quickstart::new(1);
        let output = quickstart.run(&[TYPE, set]).output().unwrap();
        assert!(!output.status.success());
        assert!(text(&output.stderr).contains(says), "{set}: {}", text(&output.stderr));
        assert!(!quickstart.cache().join("passes-v1/LoftQ").exists());
    }
}
