//! How fast a model reads and writes.

use super::{Generator, Prompt};
use olive_core::Result;
use olive_core::cancel::CancelFlag;
use olive_decoder::GenerateError;
use serde::Serialize;
use std::time::Duration;

/// Text of the prompts; what it says does not matter for dense models.
const TEXT: &str = "People counted on fingers, on stones, and on beads strung on wires long before the first machine \
                    was built, and each of these ways carried an idea forward into the next. ";

/// Tokens that are computed before anything is measured, so that memory is set aside and code is loaded.
const WARM_UP: usize = 2;

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub struct Workload {
    pub prompt_tokens: usize,
    pub new_tokens: usize,
    /// Measurements; the warm-up before them does not count.
    pub repeat: usize,
}

/// One measurement.
#[derive(Debug, Clone, Serialize)]
pub struct Measurement {
    /// Seconds until the prompt was read and the first token chosen.
    pub time_to_first_token: f64,
    /// Prompt tokens per second, up to the first token.
    pub prefill_tokens_per_second: f64,
    /// Tokens per second after the first; `None` with fewer than two.
    pub decode_tokens_per_second: Option<f64>,
}

/// Runs a workload on a loaded model. An interruption ends it early.
///
/// # Errors
/// A workload that the model's context does not hold, or a failed computation.
pub fn measure(generator: &Generator, work: Workload, cancel: &CancelFlag) -> Result<Vec<Measurement>> {
    let prompt = prompt(generator, work.prompt_tokens)?;
    let context = generator.context_length();
    let tokens = work.prompt_tokens + work.new_tokens;
    if tokens > context {
        return Err(GenerateError::PromptTooLong { tokens, context }.into());
    }
    let mut sequence = generator.new_sequence()?;
    generator.run_through(&mut sequence, &prompt, WARM_UP.min(work.new_tokens), cancel)?;
    let mut measured = Vec::with_capacity(work.repeat);
    while measured.len() < work.repeat && !cancel.is_raised() {
        let generation = generator.run_through(&mut sequence, &prompt, work.new_tokens, cancel)?;
        let first = generation.time_to_first_token;
        measured.push(Measurement {
            time_to_first_token: first.as_secs_f64(),
            prefill_tokens_per_second: prompt.len() as f64 / first.max(Duration::from_nanos(1)).as_secs_f64(),
            decode_tokens_per_second: generation.tokens_per_second(),
        });
    }
    Ok(measured)
}

/// Exactly `len` tokens of text.
fn prompt(generator: &Generator, len: usize) -> Result<Vec<u32>> {
    let mut text = TEXT.to_owned();
    loop {
        let mut ids = generator.encode(Prompt::Raw(&text))?;
        if ids.len() >= len {
            ids.truncate(len);
            return Ok(ids);
        }
        text = text.repeat(2);
    }
}

/// The middle value, or the mean of the two in the middle.
pub fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        n if n % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

/// The most memory that this process has held at a time, in bytes; `None` where the system does not tell.
pub fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median([]), None);
    }
}
