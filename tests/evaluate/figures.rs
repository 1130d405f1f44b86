//! Times, sizes, and the files that say what was measured.

use crate::setup::{dataset, float, onnx};
use crate::support::models::{family, read_json};
use crate::support::passes::{build, with_adapter};
use crate::support::quickstart::base_model;
use crate::support::training::{adapter, sample};
use olive_config::Statistic;
use olive_core::cancel::CancelFlag;
use olive_core::handle::ModelHandle;
use olive_evaluate::{
    DummyTokens, EvaluateError, Machine, MetricDetail, MetricValue, Metrics, MetricsDetail, Number,
    PeakMemory, Repetition, Subject, Versions, Work, dummy_latency, latency, size_on_disk, speed,
};
use olive_model::ModelFolder;
use olive_onnx::{ModelBuilderOptions, Precision};
use olive_runtime::benchmark::Workload;
use std::path::Path;
use std::time::Duration;

fn int4(model: &Path, out: &Path) -> ModelHandle {
    ModelHandle::Onnx { dir: build(model, ModelBuilderOptions::new(Precision::Int4, "cpu"), out) }
}

#[test]
fn latencies_are_those_of_the_runs_that_count() {
    let (temp, cancel) = (tempfile::tempdir().unwrap(), CancelFlag::default());
    let work = Work { name: "times", events: &(), cancel: &cancel };
    let model = family("mistral").dir;
    // The second batch would be refused.
    let data = dataset([20, 30, 300].map(|len| sample(vec![7; len])));
    int4(&model, &temp.path().join("onnx"));
    for subject in [float(&model), onnx(&temp.path().join("onnx"))] {
        let repetition = Repetition { warm_up: 2, repeat: 5, sleep: Duration::ZERO };
        let got = latency(&subject, &data, 2, repetition, work).unwrap();
        let [least, middle, most] =
            [Statistic::Min, Statistic::P50, Statistic::Max].map(|s| got.milliseconds(s));
        assert!(0.0 < least && least <= middle && middle <= most, "{got:?}");
        let fastest = got.throughput(Statistic::Max);
        assert!((fastest - 2e3 / least).abs() <= 1e-5, "two samples per batch: {fastest}");
        let none = Repetition { repeat: 0, ..repetition };
        let error = latency(&subject, &data, 2, none, work).unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(EvaluateError::NoRepetition)), "{error}");
        assert!(latency(&subject, &data, 3, repetition, work).is_err(), "too long for the context");
    }
}

/// One token after those of the cache has a time, though no label.
#[test]
fn tokens_after_a_past_have_times() {
    let (temp, cancel) = (tempfile::tempdir().unwrap(), CancelFlag::default());
    let work = Work { name: "times", events: &(), cancel: &cancel };
    let model = family("mistral").dir;
    int4(&model, &temp.path().join("onnx"));
    for subject in [float(&model), onnx(&temp.path().join("onnx"))] {
        let repetition = Repetition { warm_up: 1, repeat: 3, sleep: Duration::ZERO };
        let of = |past, tokens| dummy_latency(&subject, DummyTokens { past, tokens }, 2, repetition, work);
        for (past, tokens) in [(8, 1), (0, 1), (3, 5)] {
            assert!(of(past, tokens).unwrap().milliseconds(Statistic::Min) > 0.0);
        }
        let context = subject.model().context_length();
        assert!(of(context - 1, 1).is_ok(), "the past of a run is that of the run before");
        let error = of(context, 1).unwrap_err();
        let told = error.downcast_ref();
        assert!(
            matches!(told, Some(EvaluateError::DummyTooLong { past, tokens: 1, .. }) if *past == context),
            "{error}"
        );
    }
}

#[test]
fn reading_and_writing_have_their_speeds() {
    let cancel = CancelFlag::default();
    let work = Work { name: "times", events: &(), cancel: &cancel };
    let subject = float(&base_model());
    let workload = Workload { prompt_tokens: 40, new_tokens: 8, repeat: 2 };
    let got = speed(&subject, workload, work).unwrap();
    let decode = 1e3 / got.per_token;
    assert!((decode / got.decode_tokens_per_second - 1.0).abs() < 1e-9, "{got:?}");
    assert!(got.time_to_first_token > 0.0 && got.prefill_tokens_per_second > 0.0);
    let single = Workload { new_tokens: 1, ..workload };
    let error = speed(&subject, single, work).unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(EvaluateError::NothingMeasured { .. })), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn memory_that_was_given_back_counts() {
    let measurement = PeakMemory::begin();
    let before = measurement.bytes().unwrap();
    let large = vec![1u8; 200 << 20];
    assert!(large.iter().step_by(4096).all(|byte| *byte == 1));
    drop(large);
    assert!(measurement.bytes().unwrap() >= before + (190 << 20));
}

#[test]
fn sizes_are_those_of_the_files() {
    let temp = tempfile::tempdir().unwrap();
    let size = |path: &Path| path.metadata().unwrap().len();
    let total = |dir: &Path, without: &[&str]| -> u64 {
        let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|path| !without.iter().any(|name| path.ends_with(name))).map(|path| size(&path)).sum()
    };
    let base = base_model();
    let whole = total(&base, &["README.md"]);
    assert_eq!(size_on_disk(&ModelHandle::Hf { dir: base.clone() }).unwrap(), whole);

    let lora = temp.path().join("adapter");
    std::fs::create_dir(&lora).unwrap();
    adapter(&ModelFolder::open(&base).unwrap().spec().unwrap(), 0.0).save(&lora).unwrap();
    let of_adapter = size_on_disk(&with_adapter(&base, &lora)).unwrap();
    assert_eq!(of_adapter, total(&lora, &[]));
    assert!(of_adapter < whole / 2);

    // What a run leaves beside a model is no part of it; a file that is a link counts as what it leads to.
    let out = temp.path().join("onnx");
    let handle = int4(&base, &out);
    let before = size_on_disk(&handle).unwrap();
    assert_eq!(before, total(&out, &[]));
    for name in ["run_history.json", "metrics.json", "other.onnx.data"] {
        std::fs::write(out.join(name), "0123456789").unwrap();
    }
    std::fs::rename(out.join("model.onnx.data"), temp.path().join("weights")).unwrap();
    std::os::unix::fs::symlink(temp.path().join("weights"), out.join("model.onnx.data")).unwrap();
    assert_eq!(size_on_disk(&handle).unwrap(), before);
    std::fs::remove_file(out.join("model.onnx")).unwrap();
    assert!(size_on_disk(&handle).is_err());
}

/// What Olive 0.13 wrote for two metrics, byte for byte.
#[test]
fn metrics_are_written_as_olive_writes_them() {
    let mut metrics = Metrics::default();
    let value = |value, priority, higher_is_better| MetricValue { value, priority, higher_is_better };
    metrics.insert("ppl", "perplexity", value(Number::Real(1.0), 1, true));
    metrics.insert("size", "bytes", value(Number::Count(2_634_834), -1, false));
    metrics.insert("ppl", "perplexity", value(Number::Real(2_584.813_232_421_875), 1, false));
    let olive = "{\n    \"ppl-perplexity\": {\n        \"value\": 2584.813232421875,\n        \"priority\": 1,\n        \
                 \"higher_is_better\": false\n    },\n    \"size-bytes\": {\n        \"value\": 2634834,\n        \
                 \"priority\": -1,\n        \"higher_is_better\": false\n    }\n}";
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(Metrics::FILE);
    metrics.write(&path).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), olive);
    assert_eq!(metrics.get("size-bytes").unwrap().value, Number::Count(2_634_834));
    assert_eq!(metrics.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["ppl-perplexity", "size-bytes"]);

    // Python writes whole floats with a fraction, and small ones with two digits in the exponent.
    let mut odd = Metrics::default();
    odd.insert("a", "avg", value(Number::Real(3.0), 1, false));
    odd.insert("b", "acc", value(Number::Real(0.000_012_5), 2, true));
    let text = odd.to_json();
    assert!(text.contains("\"value\": 3.0,") && text.contains("\"value\": 1.25e-05,"), "{text}");
    assert_eq!(Metrics::default().to_json(), "{}");
}

#[test]
fn details_say_on_what_and_where() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(MetricsDetail::FILE);
    let detail = MetricDetail { samples: 20, tokens: 620, seconds: 0.5, loss: Some(7.857), memory: None };
    let model = family("mistral").dir;
    let write = |subject: &Subject| {
        let metrics = [("ppl".to_owned(), detail)].into();
        let (machine, versions) = (Machine::of(subject), Versions::of(Some(subject)));
        MetricsDetail {
            metrics,
            answers: Vec::new(),
            machine: Some(machine),
            versions,
            evaluator: "abc".into(),
        }
        .write(&path)
        .unwrap();
    };
    let exported = dir.path().join("onnx");
    int4(&model, &exported);
    write(&onnx(&exported));
    assert!(read_json(&path)["versions"]["onnxruntime"].as_str().unwrap().starts_with("1."));
    write(&float(&model));
    let written = read_json(&path);
    let metric = &written["metrics"]["ppl"];
    assert_eq!((metric["tokens"].as_u64(), metric["loss"].as_f64()), (Some(620), Some(7.857)));
    assert!(metric.get("memory").is_none() && written["versions"].get("onnxruntime").is_none());
    assert!(written["machine"]["threads"].as_u64().unwrap() >= 1);
    assert_eq!(written["evaluator"], "abc");
}
