//! From logits to the next token.

use super::GenerateError;
use candle_core::{Device, Tensor};
use candle_transformers::generation::{LogitsProcessor, Sampling};
use olive_core::Result;
use serde_json::Value;
use std::collections::BTreeSet;

/// How the next token is chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SamplingOptions {
    /// 0 is greedy.
    pub temperature: f64,
    /// Only the `k` most probable tokens; `None` or 0 for all.
    pub top_k: Option<usize>,
    /// Only the most probable tokens that make up `p` together; `None` or 1 for all.
    pub top_p: Option<f64>,
    /// Divides positive logits of tokens already in the context and multiplies negative ones; 1 does nothing
    /// (Keskar et al. 2019, <https://arxiv.org/abs/1909.05858>, §4.1).
    pub repetition_penalty: f64,
    pub seed: u64,
}

impl SamplingOptions {
    pub const GREEDY: SamplingOptions =
        SamplingOptions { temperature: 0.0, top_k: None, top_p: None, repetition_penalty: 1.0, seed: 0 };

    /// The defaults that a model's `generation_config.json` states: greedy unless `do_sample`.
    pub fn from_generation_config(config: Option<&Value>) -> SamplingOptions {
        let Some(config) = config else { return Self::GREEDY };
        let number = |key: &str| config.get(key).and_then(Value::as_f64);
        Self::with_defaults(
            config.get("do_sample").and_then(Value::as_bool).unwrap_or(false),
            number("temperature"),
            config.get("top_k").and_then(Value::as_u64).map(|k| k as usize),
            number("top_p"),
            number("repetition_penalty"),
        )
    }

    /// Greedy unless `do_sample`; the repetition penalty holds either way.
    pub fn with_defaults(
        do_sample: bool,
        temperature: Option<f64>,
        top_k: Option<usize>,
        top_p: Option<f64>,
        repetition_penalty: Option<f64>,
    ) -> SamplingOptions {
        let repetition_penalty = repetition_penalty.filter(|p| *p > 0.0).unwrap_or(1.0);
        if do_sample {
            let temperature = temperature.unwrap_or(1.0);
            SamplingOptions { temperature, top_k, top_p, repetition_penalty, seed: 0 }
        } else {
            SamplingOptions { repetition_penalty, ..Self::GREEDY }
        }
    }

    fn sampling(&self) -> Sampling {
        let temperature = self.temperature;
        if temperature < 1e-7 {
            return Sampling::ArgMax;
        }
        let top_k = self.top_k.filter(|k| *k > 0);
        let top_p = self.top_p.filter(|p| *p > 0.0 && *p < 1.0);
        match (top_k, top_p) {
            (None, None) => Sampling::All { temperature },
            (Some(k), None) => Sampling::TopK { k, temperature },
            (None, Some(p)) => Sampling::TopP { p, temperature },
            (Some(k), Some(p)) => Sampling::TopKThenTopP { k, p, temperature },
        }
    }
}

/// Chooses tokens one after the other, reproducibly for a seed.
pub struct Sampler {
    processor: LogitsProcessor,
    repetition_penalty: f32,
}

impl Sampler {
    pub fn new(options: &SamplingOptions) -> Sampler {
        Sampler {
            processor: LogitsProcessor::from_sampling(options.seed, options.sampling()),
            repetition_penalty: options.repetition_penalty as f32,
        }
    }

    /// The next token for these logits (`[vocab]`); `context` is what the penalty looks at.
    ///
    /// # Errors
    /// Logits that are not numbers.
    pub fn sample(&mut self, mut logits: Vec<f32>, context: &[u32]) -> Result<u32> {
        if logits.is_empty() || logits.iter().any(|x| x.is_nan()) {
            return Err(GenerateError::NotANumber.into());
        }
        if self.repetition_penalty != 1.0 {
            penalise(&mut logits, context, self.repetition_penalty);
        }
        let vocab = logits.len();
        let logits = Tensor::from_vec(logits, vocab, &Device::Cpu)?; // [vocab]
        Ok(self.processor.sample(&logits)?)
    }
}

fn penalise(logits: &mut [f32], context: &[u32], penalty: f32) {
    let seen: BTreeSet<u32> = context.iter().copied().collect();
    for token in seen {
        if let Some(logit) = logits.get_mut(token as usize) {
            *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greedy_takes_the_largest_and_nan_is_an_error() {
        let mut sampler = Sampler::new(&SamplingOptions::GREEDY);
        assert_eq!(sampler.sample(vec![0.0, 3.0, -1.0], &[]).unwrap(), 1);
        assert!(sampler.sample(vec![0.0, f32::NAN], &[]).is_err());
    }

    #[test]
    fn the_penalty_pushes_seen_tokens_down_on_both_sides_of_zero() {
        let mut logits = vec![4.0, -4.0, 1.0];
        penalise(&mut logits, &[0, 1, 0], 2.0);
        assert_eq!(logits, [2.0, -8.0, 1.0]);
    }

    #[test]
    fn a_seed_gives_the_same_tokens_and_top_k_bounds_them() {
        let options =
            SamplingOptions { temperature: 1.5, top_k: Some(2), seed: 7, ..SamplingOptions::GREEDY };
        let draw = || {
            let mut sampler = Sampler::new(&options);
            (0..64).map(|_| sampler.sample(vec![1.0, 0.5, 0.9, -2.0], &[]).unwrap()).collect::<Vec<_>>()
        };
        let drawn = draw();
        assert_eq!(drawn, draw());
        assert!(drawn.iter().all(|t| [0, 2].contains(t)) && drawn.contains(&0) && drawn.contains(&2));
    }

    #[test]
    fn a_model_that_does_not_sample_is_greedy_but_keeps_its_penalty() {
        let config = serde_json::json!({"do_sample": false, "temperature": 0.7, "repetition_penalty": 1.1});
        let options = SamplingOptions::from_generation_config(Some(&config));
        assert_eq!((options.temperature, options.repetition_penalty), (0.0, 1.1));
        let config = serde_json::json!({"do_sample": true, "top_k": 20});
        let options = SamplingOptions::from_generation_config(Some(&config));
        assert_eq!((options.temperature, options.top_k), (1.0, Some(20)));
    }
}
