//! How fast a model reads and writes: what users mean by latency and throughput.

use super::{EvaluateError, Subject, Work};
use olive_core::Result;
use olive_runtime::benchmark::{Measurement, Workload, measure, median};

/// Medians of some measurements.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Speed {
    /// Milliseconds until the prompt was read and the first token chosen.
    pub time_to_first_token: f64,
    /// Milliseconds per token after the first.
    pub per_token: f64,
    /// Prompt tokens per second, up to the first token.
    pub prefill_tokens_per_second: f64,
    /// Tokens per second after the first.
    pub decode_tokens_per_second: f64,
}

/// Has the model read a prompt and write after it.
///
/// # Errors
/// A workload without repetition or with fewer than two new tokens, one that the context does not hold, a raised flag, or a
/// failed computation.
pub fn speed(subject: &Subject, workload: Workload, work: Work<'_>) -> Result<Speed> {
    let generator = subject.generator()?;
    let mut measured = Vec::new();
    work.phase(1, |_| {
        measured = measure(&generator, workload, work.cancel)?;
        work.cancel.check()?;
        Ok(1)
    })?;
    let of = |value: fn(&Measurement) -> Option<f64>| median(measured.iter().filter_map(value));
    let first = of(|m| Some(m.time_to_first_token));
    let prefill = of(|m| Some(m.prefill_tokens_per_second));
    let decode = of(|m| m.decode_tokens_per_second);
    let (Some(first), Some(prefill), Some(decode)) = (first, prefill, decode) else {
        let Workload { new_tokens, repeat, .. } = workload;
        return Err(EvaluateError::NothingMeasured { new_tokens, repeat }.into());
    };
    Ok(Speed {
        time_to_first_token: first * 1e3,
        per_token: 1e3 / decode,
        prefill_tokens_per_second: prefill,
        decode_tokens_per_second: decode,
    })
}
