//! Training speed on a text: tokens/s (median step), peak memory, and the rate of the matrix product in this process.
//!
//! `cargo bench --bench train -- MODEL_DIR TEXT_FILE [--seq 512] [--steps 6] [--r 64]
//! [--targets q_proj,k_proj,v_proj,o_proj] [--dropout 0] [--checkpointing] [--nf4] [--profile]`
//!
//! `--nf4` trains on a base in NF4 with double quantisation, written to a temporary file and mapped, and tells how fast
//! it was quantised.
//!
//! `--profile` prints where the time of the steps after the first goes, op by op.
//!
//! Prints one JSON line. Batch 1, no accumulation, AdamW.

#![expect(clippy::print_stdout, reason = "a benchmark prints its result")]

// As the command does.
#[cfg(target_os = "linux")]
#[path = "../src/allocator.rs"]
mod allocator;
#[path = "support/cpu_time.rs"]
mod cpu_time;

use candle_core::DType;
use cpu_time::cpu_seconds;
use olive_arch::Spec;
use olive_config::canonical::Targets;
use olive_core::cancel::CancelFlag;
use olive_core::device::Device;
use olive_data::{MicroBatch, Sample};
use olive_decoder::Decoder;
use olive_kernels::quant::nf4::Code;
use olive_model::adapter_config::TargetModules;
use olive_model::{Checkpoint, FourBitFormat, ModelFolder, QuantisedBase};
use olive_runtime::benchmark::peak_memory;
use olive_train::{AdamWOptions, LoraShape, Trainer, TrainerOptions, fresh_adapter, targets};
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tracing::span::Id;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Error> {
    // As the command does: on a thread of the pool.
    rayon::scope(|_| measure())
}

fn measure() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let [model, text, ..] = arguments.as_slice() else {
        println!("usage: cargo bench --bench train -- MODEL_DIR TEXT_FILE [--seq N] [--steps N] [--r N] …");
        return Ok(());
    };
    let value = |name: &str| arguments.iter().position(|a| a == name).and_then(|i| arguments.get(i + 1));
    let number = |name, default: usize| value(name).map_or(Ok(default), |v| v.parse());
    let (seq, steps, rank) = (number("--seq", 512)?, number("--steps", 6)?, number("--r", 64)?);
    let dropout = value("--dropout").map_or(Ok(0.0), |v| v.parse())?;
    let checkpointing = arguments.iter().any(|a| a == "--checkpointing");
    let names = value("--targets").map_or("q_proj,k_proj,v_proj,o_proj", String::as_str);
    let names: Vec<String> = names.split(',').map(Into::into).collect();

    let folder = ModelFolder::open(Path::new(model))?;
    let (spec, checkpoint) = (folder.spec()?, folder.checkpoint()?);
    let stored = tempfile::tempdir()?;
    let (base, quantise_rate) = match arguments.iter().any(|a| a == "--nf4") {
        false => (None, None),
        true => {
            let (base, rate) = quantised(&spec, &checkpoint, stored.path())?;
            (Some(base), Some(rate))
        }
    };
    let mut decoder = Decoder::with_base(spec, &checkpoint, base.as_ref(), DType::F32, &Device::Cpu)?;
    let selected = targets::select(&decoder.spec, Some(&Targets::Names(names.clone())))?;
    let shape = LoraShape { rank, alpha: rank as f64, dropout, use_rslora: false, use_dora: false };
    decoder.attach(&fresh_adapter(&selected, TargetModules::Names(names), &shape, 0, None))?;
    let adamw = AdamWOptions { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.01, fast_ratio: 1.0 };
    let options = TrainerOptions {
        adamw,
        max_grad_norm: 0.0,
        dropout,
        gradient_checkpointing: checkpointing,
        neftune_noise_alpha: 0.0,
        seed: 0,
    };
    let mut trainer = Trainer::new(decoder, options)?;
    let encoding =
        folder.tokenizer()?.encode(std::fs::read_to_string(text)?, false).map_err(|e| e.to_string())?;

    let profile = arguments.iter().any(|a| a == "--profile").then(Profile::install);
    let mut seconds = Vec::with_capacity(steps);
    let mut losses = Vec::with_capacity(steps);
    for ids in encoding.get_ids().chunks_exact(seq).cycle().take(steps) {
        let labels = ids.iter().map(|id| *id as i32).collect();
        let sample = Sample { input_ids: ids.to_vec(), labels, ..Sample::default() };
        let started = Instant::now();
        let report = trainer.step(&[MicroBatch::new([(0, &sample)])], 1e-4, &CancelFlag::default())?;
        seconds.push(started.elapsed().as_secs_f64());
        losses.push(report.loss);
        if let (Some(profile), 1) = (&profile, seconds.len()) {
            profile.restart();
        }
    }
    if let Some(profile) = profile {
        profile.print(seconds.iter().skip(1).sum(), steps - 1);
    }
    let mut sorted = seconds[1.min(seconds.len() - 1)..].to_vec();
    sorted.sort_by(f64::total_cmp);
    let result = serde_json::json!({
        "seq": seq,
        "checkpointing": checkpointing,
        "nf4": base.is_some(),
        "quantised_mweights_per_core_second": quantise_rate,
        "tok_s": seq as f64 / sorted[sorted.len() / 2],
        "peak_rss_gb": peak_memory().map(|bytes| bytes as f64 / 1e9),
        "cpu_seconds_per_1k_tokens": cpu_seconds() / (steps * seq) as f64 * 1e3,
        "sgemm_gflops": olive_kernels::gemm_rate(),
        "first_loss": losses[0],
        "last_loss": losses[losses.len() - 1],
        "threads": rayon::current_num_threads(),
    });
    println!("{result}");
    Ok(())
}

/// The base in NF4 through a file in `dir`, and the millions of weights that a core quantised per second of its time.
fn quantised(spec: &Spec, checkpoint: &Checkpoint, dir: &Path) -> Result<(QuantisedBase, f64), Error> {
    let format = FourBitFormat { quant_type: Code::Nf4, double_quant: true };
    let file = dir.join(QuantisedBase::FILE);
    let weights: usize = spec.all_linears().map(|l| l.in_features * l.out_features).sum();
    let before = cpu_seconds();
    QuantisedBase::write(spec, checkpoint, format, &file, |_| Ok(()))?;
    let rate = weights as f64 / (cpu_seconds() - before) / 1e6;
    Ok((QuantisedBase::open(spec, format, &file)?, rate))
}

thread_local! {
    /// Spans that this thread is in: when each began, and the time of the spans inside it.
    static OPEN: RefCell<Vec<(Instant, Duration)>> = const { RefCell::new(Vec::new()) };
}

/// Calls of every op and the time spent in it, without that of the ops it calls.
#[derive(Clone, Default)]
struct Profile(Arc<Mutex<HashMap<&'static str, (usize, Duration)>>>);

impl Profile {
    fn install() -> Profile {
        let profile = Profile::default();
        let subscriber = tracing_subscriber::registry().with(profile.clone());
        tracing::subscriber::set_global_default(subscriber).expect("no other subscriber");
        profile
    }

    fn restart(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// `total` seconds of `steps` steps.
    fn print(&self, total: f64, steps: usize) {
        let times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rows: Vec<_> =
            times.iter().map(|(name, (calls, time))| (*name, *calls, time.as_secs_f64())).collect();
        rows.push(("outside the ops", steps, total - rows.iter().map(|(_, _, s)| s).sum::<f64>()));
        rows.sort_by(|a, b| b.2.total_cmp(&a.2));
        println!("{:28} {:>10} {:>10} {:>6}", "op", "calls/step", "ms/step", "share");
        for (name, calls, seconds) in rows {
            let per_step = calls as f64 / steps as f64;
            let (ms, share) = (seconds / steps as f64 * 1e3, seconds / total * 100.0);
            println!("{name:28} {per_step:10.1} {ms:10.1} {share:5.1}%");
        }
    }
}

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Profile {
    fn on_enter(&self, _: &Id, _: Context<'_, S>) {
        OPEN.with_borrow_mut(|open| open.push((Instant::now(), Duration::ZERO)));
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        let Some((begun, inside)) = OPEN.with_borrow_mut(Vec::pop) else { return };
        let taken = begun.elapsed();
        OPEN.with_borrow_mut(|open| {
            if let Some((_, inside)) = open.last_mut() {
                *inside += taken;
            }
        });
        let Some(span) = context.span(id) else { return };
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (calls, time) = times.entry(span.name()).or_default();
        *calls += 1;
        *time += taken - inside;
    }
}
