//! LoftQ as a user runs it: the split of the base, and a merge that fits it.

mod runtime_support;
mod support;

use olive_model::{Adapter, ModelFolder, QuantisedBase};
use std::path::{Path, PathBuf};
use support::{Quickstart, root, text};

const TYPE: &str = "passes.lora.type=LoftQ";

fn artefact(quickstart: &Quickstart, kind: &str) -> PathBuf {
    let mut found = quickstart.artefacts(kind);
    assert_eq!(found.len(), 1, "one artefact");
    found.remove(0)
}

fn run(quickstart: &Quickstart, more: &[&str]) -> String {
    let output = quickstart.run(&[&[TYPE], more].concat()).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout) + &text(&output.stderr)
}

/// Norms, over all layers, of what the weights differ by from the 4-bit ones, and from those with the adapter.
fn errors(folder: &Path, adapter: &Path) -> (f64, f64) {
    let model = ModelFolder::open(&root().join("model-cache/tiny-phi3")).unwrap();
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
            let product: f64 = (0..pair.rank)
                .map(|k| {
                    f64::from(pair.b[row * pair.rank + k]) * f64::from(pair.a[k * pair.in_features + col])
                })
                .sum();
            let left = f64::from(*weight) - f64::from(*value);
            plain += left * left;
            split += (left - pair.scale * product).powi(2);
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
    let loftq = artefact(&quickstart, "LoftQ").join("output");
    let (plain, split) = errors(&loftq, &loftq.join("loftq_init_adapter"));
    assert!(split < 0.97 * plain, "{split} not below {plain}");
    let claimed = said.split("rounding error to ").nth(1).unwrap().split(' ').next().unwrap();
    let claimed: f64 = claimed.parse().unwrap();
    assert!((claimed - 100.0 * split / plain).abs() < 0.06, "{claimed} and {split} of {plain}");
    let record = std::fs::read_to_string(loftq.join("adapter_base.json")).unwrap();
    assert!(record.contains(r#""loftq_iter": 1"#), "{record}");

    // The merge says what it did, and did it.
    let merge = artefact(&quickstart, "MergeAdapterWeights").join("manifest.json");
    let manifest = std::fs::read_to_string(merge).unwrap();
    assert!(manifest.contains(r#""base_weights": "quantised""#), "{manifest}");
    let rest = said.split("logits differ by ").nth(1).unwrap();
    let difference: f64 = rest.split(' ').next().unwrap().parse().unwrap();
    assert!(difference < 0.02, "{said}");

    // The result can be used.
    runtime_support::answer(&quickstart.output());
}

/// Greedy tokens of the binary on this model.
fn generated(model: &Path) -> serde_json::Value {
    let mut command = support::olive();
    command.args(["generate", "--json", "--quiet", "--raw", "--temperature", "0", "--max-new-tokens", "16"]);
    let output = command.args(["--prompt", "The olive tree"]).arg(model).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()["ids"].clone()
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
    let merged = artefact(&quickstart, "MergeAdapterWeights").join("output");

    // The same training with nothing after it, and with an adapter that stays apart.
    let alone = tempfile::tempdir().unwrap();
    let run_with = |passes: &[&str], more: &[&str], output: &str| {
        let file = std::fs::read_to_string(root().join("configs/quickstart/olive-config.json")).unwrap();
        let mut config: serde_json::Value = serde_json::from_str(&file).unwrap();
        config["passes"].as_object_mut().unwrap().retain(|name, _| passes.contains(&name.as_str()));
        let path = alone.path().join("config.json");
        std::fs::write(&path, config.to_string()).unwrap();
        let output = alone.path().join(output);
        let mut command = support::olive();
        command.args(["run", "--config"]).arg(&path).args(quickstart.arguments(&[TYPE.to_owned()]));
        command.args(["--set", &format!("engine.output_dir={}", output.display())]);
        command.args([&shape[..2], more].concat().iter().flat_map(|set| ["--set", set]));
        let ran = command.output().unwrap();
        assert!(ran.status.success(), "{}", text(&ran.stderr));
        artefact(&quickstart, "LoftQ"); // taken from the cache
        output
    };
    let adapter = run_with(&["lora"], &[], "adapter");
    let more = ["passes.builder.config.precision=fp32", "passes.builder.config.adapters=separate"];
    let apart = run_with(&["lora", "builder"], &more, "apart");

    let wanted = generated(&merged);
    assert_eq!(generated(&adapter), wanted);
    assert_eq!(generated(&quickstart.output()), wanted, "the ONNX model of the same run");
    assert_eq!(generated(&apart), wanted, "the ONNX model with its adapter apart");
    assert_ne!(
        generated(&root().join("model-cache/tiny-phi3")),
        wanted,
        "the adapter must make a difference"
    );
}

#[test]
fn more_iterations_come_closer() {
    let left = |iterations: &str| {
        let quickstart = Quickstart::new(1);
        run(&quickstart, &["passes.lora.config.lora_r=16", iterations]);
        let loftq = artefact(&quickstart, "LoftQ").join("output");
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
