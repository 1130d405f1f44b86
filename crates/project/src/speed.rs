//! How fast this machine trains, before it has trained anything.
//!
//! ```text
//! seconds = tokens · parameters · passes · 2 / (rate · share)
//! passes  = 2     forward, and backward to the inputs: frozen weights have no gradients; 3 with checkpointing
//! rate    = floating-point operations per second of a matrix product in f32, the best that is measured here
//! share   = what a training reaches of it
//! ```

use candle_core::{DType, Device, Tensor};
use std::time::{Duration, Instant};

/// Of the rate of a matrix product, what a training reaches: weights are decoded, attention and norms computed.
const SHARE: f64 = 0.7;

/// How long is measured.
const MEASURED: Duration = Duration::from_millis(150);

/// Rows, inner size and columns of the product that is measured: a micro-batch and a layer of a small model.
const PRODUCT: [usize; 3] = [256, 1024, 1024];

/// Floating-point operations per second of a matrix product here. `None`: it cannot be computed.
fn rate() -> Option<f64> {
    let [rows, inner, columns] = PRODUCT;
    let one = Tensor::ones((rows, inner), DType::F32, &Device::Cpu).ok()?;
    let other = Tensor::ones((inner, columns), DType::F32, &Device::Cpu).ok()?;
    one.matmul(&other).ok()?; // Threads are started.
    let operations = 2.0 * (rows * inner * columns) as f64;
    let begin = Instant::now();
    let mut best = Duration::MAX;
    while begin.elapsed() < MEASURED {
        let product = Instant::now();
        one.matmul(&other).ok()?;
        best = best.min(product.elapsed());
    }
    Some(operations / best.as_secs_f64())
}

/// About how long a training of so many tokens takes on this machine's processor.
pub(crate) fn duration(tokens: u64, parameters: u64, checkpointing: bool) -> Option<Duration> {
    let passes = if checkpointing { 3.0 } else { 2.0 };
    let operations = 2.0 * passes * tokens as f64 * parameters as f64;
    Duration::try_from_secs_f64(operations / (rate()? * SHARE)).ok()
}
