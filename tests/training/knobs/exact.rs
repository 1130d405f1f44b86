//! The same configuration gives the same bytes, whatever happens on the way; what diverges gives none.

use crate::support::binary::{succeed, text};
use crate::support::quickstart::Quickstart;
use std::io::{BufRead, BufReader};

const OPTIONS: [&str; 6] = [
    "passes.lora.config.training_args.save_steps=2",
    "passes.lora.config.training_args.neftune_noise_alpha=5",
    "passes.lora.config.training_args.loraplus_lr_ratio=4",
    "passes.lora.config.training_args.eval_steps=3",
    "passes.lora.config.lora_dropout=0.1",
    "passes.lora.config.use_dora=true",
];

fn bytes(quickstart: &Quickstart) -> Vec<Vec<u8>> {
    let adapter = quickstart.artefact("LoRA");
    let names = [
        "adapter_model.safetensors",
        "adapter_config.json",
        "checkpoints/checkpoint-4/adapter_model.safetensors",
    ];
    names.iter().map(|name| std::fs::read(adapter.join(name)).unwrap()).collect()
}

#[test]
fn a_killed_training_goes_on_to_the_same_bytes() {
    let steps = 10;
    let whole = Quickstart::new(steps);
    succeed(whole.run(&OPTIONS).env("RAYON_NUM_THREADS", "1"));

    let broken = Quickstart::new(steps);
    let mut child = broken.start(&OPTIONS);
    let mut reached = 0;
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        let event: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap_or_default();
        if event["event"] == "train_step" {
            reached = event["step"].as_u64().unwrap();
            if reached == 5 {
                child.kill().unwrap();
            }
        }
    }
    assert!(!child.wait().unwrap().success());
    assert!((5..10).contains(&reached), "killed in step {reached}");

    // The rest with two threads, the whole with one: neither shows.
    let log = text(&succeed(broken.run(&OPTIONS).env("RAYON_NUM_THREADS", "2")).stderr);
    assert!(log.contains("going on after step"), "it does not begin again: {log}");
    assert_eq!(bytes(&broken), bytes(&whole));
}

#[test]
fn a_training_that_diverges_says_where_and_leaves_no_adapter() {
    let quickstart = Quickstart::new(30);
    let rate = "passes.lora.config.training_args.learning_rate=1e6";
    let output = quickstart.run(&[rate, "passes.lora.config.training_args.warmup_ratio=0"]).output().unwrap();
    let log = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{log}");
    for part in ["training diverged in step", "training samples", "learning_rate", "no adapter was written"] {
        assert!(log.contains(part), "{part}: {log}");
    }
    let mut folders = vec![quickstart.dir.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let name = entry.file_name().into_string().unwrap();
            assert!(
                !name.starts_with("adapter_") && name != "state.safetensors",
                "{}",
                entry.path().display()
            );
            if entry.path().is_dir() {
                folders.push(entry.path());
            }
        }
    }
}
