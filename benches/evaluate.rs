//! Evaluation of a model on a text: loss, tokens/s, peak memory; beside the speed of training in the same process.
//!
//! `cargo bench --bench evaluate -- MODEL_DIR JSONL [--rows 100] [--seq 512] [--lines] [--adapter DIR] [--train STEPS]
//! [--samples FILE] [--choices FILE]`
//!
//! The rows' columns "Question" and "Best Answer" are joined and cut into samples of `--seq` tokens; with `--lines` every row is one.
//! `--samples` writes their tokens, as JSON. `--choices` names a file of lines with `context`, `choices` and `answer`,
//! which are answered instead. `--train` trains an adapter (rank 64 on the attention's layers) for so many steps of one
//! sample and evaluates it.
//!
//! Rates are tokens per second of processor time, of all threads together: other programs disturb it less than the wall clock.
//! Prints one JSON line. `scripts/check-evaluation.py` compares the losses with those of the Python tools.

#![expect(clippy::print_stdout, reason = "a benchmark prints its result")]

// As the command does.
#[cfg(target_os = "linux")]
#[path = "../src/allocator.rs"]
mod allocator;
#[path = "support/cpu_time.rs"]
mod cpu_time;

use cpu_time::cpu_seconds;
use olive_config::canonical::{
    DataConfig, DataFiles, Era, LoadDataset, Strategy, Targets, TextGeneration, TextSource,
};
use olive_core::cancel::CancelFlag;
use olive_core::device::Device;
use olive_core::handle::ModelHandle;
use olive_data::{Dataset, MicroBatch};
use olive_decoder::Decoder;
use olive_evaluate::{Opening, PeakMemory, Question, Subject, Work, losses, multiple_choice};
use olive_model::adapter_config::TargetModules;
use olive_model::{ModelFolder, SourceOptions, detect};
use olive_runtime::{ActiveAdapter, LibrarySearch, Programs, SpecialTokens};
use olive_train::{AdamWOptions, LoraShape, Trainer, TrainerOptions, fresh_adapter, targets};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Instant;

type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Error> {
    // As the command does: on a thread of the pool.
    rayon::scope(|_| measure(&std::env::args().skip(1).filter(|a| a != "--bench").collect::<Vec<_>>()))
}

fn measure(arguments: &[String]) -> Result<(), Error> {
    let [model, rows, ..] = arguments else {
        println!("usage: cargo bench --bench evaluate -- MODEL_DIR JSONL [--rows N] [--seq N] [--lines] …");
        return Ok(());
    };
    let value = |name: &str| arguments.iter().position(|a| a == name).and_then(|i| arguments.get(i + 1));
    let path = |name| value(name).map(PathBuf::from);
    let source = SourceOptions { offline: true, ..SourceOptions::default() };
    let (mut handle, adapter) = match path("--adapter") {
        None => (detect(Path::new(model), None, &source, &())?, ActiveAdapter::default()),
        Some(adapter) => {
            ActiveAdapter::At(adapter).put_on(detect(Path::new(model), None, &source, &())?, model)?
        }
    };
    let folder = ModelFolder::new(handle.base().to_owned(), Value::Null);
    let seq = value("--seq").map_or(Ok(512), |v| v.parse())?;
    let count = value("--rows").map_or(Ok(100), |v| v.parse())?;
    let lines = arguments.iter().any(|a| a == "--lines");
    let data = samples(&folder, rows, count, seq, lines)?;
    if let Some(file) = path("--samples") {
        let ids: Vec<_> = data.samples.iter().map(|sample| &sample.input_ids).collect();
        std::fs::write(file, serde_json::to_string(&ids)?)?;
    }
    let mut result = json!({"seq": seq, "threads": rayon::current_num_threads()});
    let trained = tempfile::tempdir()?;
    let train_rate = match value("--train") {
        None => None,
        Some(steps) => {
            let rate = train(&handle, &data, steps.parse()?, trained.path())?;
            handle =
                ModelHandle::HfWithAdapter { base: handle.base().to_owned(), adapter: trained.path().into() };
            Some(rate)
        }
    };
    let library = || {
        let search = LibrarySearch {
            env: std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from),
            cache: std::env::home_dir().map(|home| home.join(".cache/olive")),
            programs: Programs::of_path(&std::env::var_os("PATH").unwrap_or_default()),
            ..LibrarySearch::default()
        };
        Ok(search.find_or_fetch(&())?)
    };
    let opening = Opening { adapter, quantised: None, device: &Device::Cpu, library: &library };
    let subject = Subject::open(&handle, &opening)?;
    let work = Work { name: "samples", events: &(), cancel: &CancelFlag::default() };
    let opened = PeakMemory::begin().bytes();
    let memory = PeakMemory::begin();
    let (start, before) = (Instant::now(), cpu_seconds());
    if let Some(file) = path("--choices") {
        let got = multiple_choice(&subject, &questions(&file)?, SpecialTokens::Added, work)?;
        result["questions"] = got.questions.into();
        result["right"] = got.right.into();
        result["right_by_bytes"] = got.right_by_bytes.into();
    } else {
        let got = losses(&subject, &data, work)?;
        let rate = data.tokens() as f64 / (cpu_seconds() - before);
        result["samples"] = got.samples.into();
        result["tokens"] = got.tokens.into();
        result["sum_nll"] = got.sum_nll.into();
        result["perplexity"] = got.perplexity().into();
        result["tok_per_cpu_s"] = rate.into();
        result["train_tok_per_cpu_s"] = train_rate.into();
        result["ratio"] = train_rate.map(|train_rate| rate / train_rate).into();
    }
    result["seconds"] = start.elapsed().as_secs_f64().into();
    result["opened_mb"] = opened.map(|bytes| bytes as f64 / 1e6).into();
    result["peak_mb"] = memory.bytes().map(|bytes| bytes as f64 / 1e6).into();
    println!("{result}");
    Ok(())
}

fn samples(
    folder: &ModelFolder,
    rows: &str,
    count: usize,
    seq: usize,
    lines: bool,
) -> Result<Dataset, Error> {
    let load = LoadDataset {
        data_name: "json".into(),
        subset: None,
        split: format!("train[:{count}]"),
        data_dir: None,
        data_files: DataFiles::Local(vec![rows.into()]),
        col_filters: Default::default(),
        field: None,
        reader: Default::default(),
    };
    let pre_process = TextGeneration {
        era: Era::New,
        source: TextSource::Columns(vec!["Question".into(), "Best Answer".into()]),
        strategy: if lines { Strategy::LineByLine } else { Strategy::Join },
        max_seq_len: seq,
        joiner: None,
        stride: None,
        pad_to_max_len: false,
        padding_side: None,
        drop_short_sequences: false,
        add_special_tokens: false,
        use_attention_mask: true,
        max_samples: None,
        processing_batch_size: 1024,
        random_seed: None,
        random_retries: 10,
        loss_on: Default::default(),
        response_template: None,
        chat: Default::default(),
    };
    let config = DataConfig { name: "rows".into(), load, pre_process, mix: Vec::new() };
    Ok(olive_data::prepare(&config, folder, &(), &CancelFlag::default())?)
}

fn questions(file: &Path) -> Result<Vec<Question>, Error> {
    let question = |line: &str| -> Result<Question, Error> {
        let value: Value = serde_json::from_str(line)?;
        Ok(Question {
            context: serde_json::from_value(value["context"].clone())?,
            choices: serde_json::from_value(value["choices"].clone())?,
            delimiter: " ".into(),
            answer: serde_json::from_value(value["answer"].clone())?,
        })
    };
    std::fs::read_to_string(file)?.lines().map(question).collect()
}

/// Trains an adapter into `out`, a sample a step; tokens per second of the steps after the first.
fn train(handle: &ModelHandle, data: &Dataset, steps: usize, out: &Path) -> Result<f64, Error> {
    let mut decoder = Decoder::load(&ModelFolder::open(handle.base())?, None, None, &Device::Cpu)?;
    let names: Vec<String> = ["q_proj", "k_proj", "v_proj", "o_proj"].map(Into::into).into();
    let selected = targets::select(&decoder.spec, Some(&Targets::Names(names.clone())))?;
    let shape = LoraShape { rank: 64, alpha: 64.0, dropout: 0.0, use_rslora: false, use_dora: false };
    let adapter = fresh_adapter(&selected, TargetModules::Names(names), &shape, 0, None);
    decoder.attach(&adapter)?;
    let adamw = AdamWOptions { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.01, fast_ratio: 1.0 };
    let options = TrainerOptions {
        adamw,
        max_grad_norm: 0.0,
        dropout: 0.0,
        gradient_checkpointing: false,
        neftune_noise_alpha: 0.0,
        seed: 0,
    };
    let mut trainer = Trainer::new(decoder, options)?;
    let (mut tokens, mut start) = (0, 0.0);
    for (step, sample) in data.samples.iter().cycle().take(steps).enumerate() {
        trainer.step(&[MicroBatch::new([(0, sample)])], 1e-4, &CancelFlag::default())?;
        if step == 0 {
            start = cpu_seconds();
        } else {
            tokens += sample.input_ids.len();
        }
    }
    let rate = tokens as f64 / (cpu_seconds() - start);
    trainer.decoder.to_adapter(adapter.config)?.save(out)?;
    Ok(rate)
}
