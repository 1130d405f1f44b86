//! What can be seen of a training: TensorBoard's event files and `metrics.jsonl`, and what lies beside an adapter.

use crate::support::binary::succeed;
use crate::support::quickstart::Quickstart;
use olive_train::tensorboard::EventMessage;
use prost::Message;
use std::path::{Path, PathBuf};

/// CRC-32C by a table, masked as TFRecords have it.
fn masked_crc(data: &[u8]) -> u32 {
    let table: Vec<u32> = (0..256u32)
        .map(|byte| (0..8).fold(byte, |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 }))
        .collect();
    let crc = !data.iter().fold(!0u32, |crc, b| crc >> 8 ^ table[((crc ^ u32::from(*b)) & 255) as usize]);
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

fn read(path: &Path) -> Vec<EventMessage> {
    let bytes = std::fs::read(path).unwrap();
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let (mut at, mut events) = (0, Vec::new());
    while at < bytes.len() {
        let length = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
        assert_eq!(masked_crc(&bytes[at..at + 8]), number(at + 8), "the length of record {}", events.len());
        let data = &bytes[at + 12..at + 12 + length];
        assert_eq!(masked_crc(data), number(at + 12 + length), "the data of record {}", events.len());
        events.push(EventMessage::decode(data).unwrap());
        at += 16 + length;
    }
    events
}

#[test]
fn event_files_hold_what_metrics_hold() {
    let quickstart = Quickstart::new(5);
    let more = [
        "passes.lora.config.training_args.eval_steps=2",
        "passes.lora.config.training_args.save_steps=2",
        "passes.lora.config.use_dora=true",
    ];
    succeed(&mut quickstart.run(&more));
    let adapter = quickstart.artefact("LoRA");
    let mut names: Vec<String> = std::fs::read_dir(&adapter)
        .unwrap()
        .flatten()
        .map(|e| e.file_name().into_string().unwrap())
        .collect();
    names.sort();
    let expected =
        ["adapter_config.json", "adapter_model.safetensors", "checkpoints", "metrics.jsonl", "runs"];
    assert_eq!(names, expected);
    for step in [2, 4, 5] {
        let checkpoint = adapter.join(format!("checkpoints/checkpoint-{step}"));
        assert!(olive_model::Adapter::open(&checkpoint).is_ok(), "{}", checkpoint.display());
    }
    let runs: Vec<PathBuf> =
        std::fs::read_dir(adapter.join("runs")).unwrap().flatten().map(|e| e.path()).collect();
    assert_eq!(runs.len(), 1);
    assert!(runs[0].file_name().unwrap().to_str().unwrap().starts_with("events.out.tfevents."));
    let events = read(&runs[0]);
    assert_eq!(events[0].file_version.as_deref(), Some("brain.Event:2"));
    assert!(events.iter().all(|e| e.wall_time > 1.7e9));

    let scalars: Vec<(i64, String, f32)> = events
        .iter()
        .flat_map(|e| e.summary.iter().flat_map(|s| &s.value).map(|v| (e.step, v)))
        .map(|(step, value)| (step, value.tag.clone(), value.simple_value.unwrap()))
        .collect();
    let metrics = std::fs::read_to_string(adapter.join("metrics.jsonl")).unwrap();
    let mut expected = Vec::new();
    for line in metrics.lines() {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        let step = record["step"].as_i64().unwrap();
        let kind = record["kind"].as_str().unwrap();
        let fields: &[&str] =
            if kind == "train" { &["loss", "learning_rate", "grad_norm", "epoch"] } else { &["loss"] };
        for field in fields {
            expected.push((step, format!("{kind}/{field}"), record[*field].as_f64().unwrap() as f32));
        }
    }
    assert_eq!(scalars, expected);
    let count = |tag: &str| scalars.iter().filter(|(_, t, _)| t == tag).count();
    assert_eq!((count("train/loss"), count("train/learning_rate"), count("train/grad_norm")), (5, 5, 5));
    assert_eq!(count("eval/loss"), 4, "before the first step, after steps 2 and 4, and after the last");
}
