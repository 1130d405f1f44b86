//! From logits to the next token.

use super::GenerateError;
use candle_core::{Device, Tensor};
use olive_core::Result;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
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
    ///
    /// # Errors
    /// A value of the wrong type.
    pub fn from_generation_config(config: Option<&Value>) -> Result<SamplingOptions> {
        let Some(config) = config else { return Ok(Self::GREEDY) };
        let number = |key| setting(config, key, "a number", Value::as_f64);
        let whole = |value: &Value| value.as_u64().and_then(|k| usize::try_from(k).ok());
        Ok(Self::with_defaults(
            setting(config, "do_sample", "true or false", Value::as_bool)?.unwrap_or(false),
            number("temperature")?,
            setting(config, "top_k", "a whole number", whole)?,
            number("top_p")?,
            number("repetition_penalty")?,
        ))
    }

    /// `top_k` of transformers and onnxruntime-genai for a model that samples and does not say.
    const TOP_K: usize = 50;

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
            let top_k = Some(top_k.unwrap_or(Self::TOP_K));
            SamplingOptions { temperature, top_k, top_p, repetition_penalty, seed: 0 }
        } else {
            SamplingOptions { repetition_penalty, ..Self::GREEDY }
        }
    }
}

/// A value of `generation_config.json`, as `of` understands it; null is as good as left out.
fn setting<T>(
    config: &Value,
    key: &'static str,
    wanted: &'static str,
    of: impl FnOnce(&Value) -> Option<T>,
) -> Result<Option<T>> {
    let Some(value) = config.get(key).filter(|value| !value.is_null()) else { return Ok(None) };
    let ill = || GenerateError::Setting { key, value: value.to_string(), wanted };
    Ok(Some(of(value).ok_or_else(ill)?))
}

/// Chooses tokens one after the other, reproducibly for a seed: the tokens are those of candle's `LogitsProcessor`.
pub struct Sampler {
    rng: ChaCha12Rng,
    /// `None` is greedy.
    temperature: Option<f64>,
    top_k: Option<usize>,
    top_p: Option<f32>,
    repetition_penalty: f32,
}

impl Sampler {
    pub fn new(options: &SamplingOptions) -> Sampler {
        Sampler {
            rng: ChaCha12Rng::seed_from_u64(options.seed),
            temperature: Some(options.temperature).filter(|t| *t >= 1e-7),
            top_k: options.top_k.filter(|k| *k > 0),
            top_p: options.top_p.filter(|p| *p > 0.0 && *p < 1.0).map(|p| p as f32),
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
        match self.temperature {
            None => Ok(first_of_the_largest(&logits)),
            Some(temperature) => self.draw(logits, temperature),
        }
    }

    fn draw(&mut self, logits: Vec<f32>, temperature: f64) -> Result<u32> {
        let vocab = logits.len();
        let logits = (Tensor::from_vec(logits, vocab, &Device::Cpu)? / temperature)?; // [vocab]
        let probabilities: Vec<f32> = olive_kernels::softmax(&logits)?.to_vec1()?;
        let mut candidates: Vec<usize> = (0..vocab).collect();
        let top_k = self.top_k.filter(|k| *k < vocab);
        if let Some(k) = top_k {
            candidates.select_nth_unstable_by(k, |&a, &b| probabilities[b].total_cmp(&probabilities[a]));
            candidates.truncate(k);
        }
        let mut weights: Vec<f32> = candidates.iter().map(|&token| probabilities[token]).collect();
        if let Some(p) = self.top_p {
            // The `k` most probable may be less than `p` together.
            let all = top_k.is_some() && p >= weights.iter().sum();
            if !all {
                keep_nucleus(&mut weights, p);
            }
        }
        let chosen = choose(&weights, self.rng.next_u32()).ok_or(GenerateError::NotANumber)?;
        Ok(candidates[chosen] as u32)
    }
}

fn first_of_the_largest(logits: &[f32]) -> u32 {
    let largest = (1..logits.len()).fold(0, |best, i| if logits[i] > logits[best] { i } else { best });
    largest as u32
}

/// Sets to zero what the most probable tokens that make up `p` together leave over
/// (Holtzman et al. 2019, <https://arxiv.org/abs/1904.09751>, §3.1).
fn keep_nucleus(weights: &mut [f32], p: f32) {
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by(|&a, &b| weights[b].total_cmp(&weights[a]));
    let mut sum = 0.0;
    for token in order {
        if sum >= p {
            weights[token] = 0.0;
        } else {
            sum += weights[token];
        }
    }
}

/// The index that the random bits fall on when every index takes a share by its weight. `None` when no weight is
/// above zero.
fn choose(weights: &[f32], bits: u32) -> Option<usize> {
    let mut ends = Vec::with_capacity(weights.len());
    let mut total = 0.0f32;
    for weight in weights {
        total += weight;
        ends.push(total);
    }
    if !(total > 0.0 && total.is_finite()) {
        return None;
    }
    // The upper 23 bits are the mantissa of a number from 1 to 2.
    let fraction = f32::from_bits((bits >> 9) | 1.0f32.to_bits()) - 1.0;
    let point = fraction * total;
    ends.pop(); // Whatever rounding does, the last index is one.
    Some(ends.partition_point(|end| *end <= point))
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
    fn a_seed_gives_the_tokens_of_candle() {
        use candle_transformers::generation::{LogitsProcessor, Sampling};
        let mut rng = ChaCha12Rng::seed_from_u64(1);
        for case in 0..3000u64 {
            let vocab = [1, 2, 7, 50, 1000][case as usize % 5];
            // Coarse values, so that many are equal; sometimes one outweighs all others.
            let mut logits: Vec<f32> =
                (0..vocab).map(|_| (rng.next_u32() % 40) as f32 / [4.0, 13.0][case as usize % 2]).collect();
            if case % 7 == 0 {
                logits[vocab / 2] = 30.0;
            }
            if case % 11 == 0 {
                logits[0] = f32::NEG_INFINITY;
                logits.push(1.0);
            }
            let temperature = [0.0, 1e-8, 0.3, 1.0, 2.5][case as usize / 5 % 5];
            let top_k = [None, Some(0), Some(1), Some(5), Some(40), Some(5000)][case as usize / 25 % 6];
            let top_p = [None, Some(0.0), Some(0.1), Some(0.9), Some(0.999_999_99), Some(1.0)]
                [case as usize / 150 % 6];
            let candle = match (top_k.filter(|k| *k > 0), top_p.filter(|p| *p > 0.0 && *p < 1.0)) {
                _ if temperature < 1e-7 => Sampling::ArgMax,
                (None, None) => Sampling::All { temperature },
                (Some(k), None) => Sampling::TopK { k, temperature },
                (None, Some(p)) => Sampling::TopP { p, temperature },
                (Some(k), Some(p)) => Sampling::TopKThenTopP { k, p, temperature },
            };
            let seed = case.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mut want = LogitsProcessor::from_sampling(seed, candle);
            let options = SamplingOptions { temperature, top_k, top_p, repetition_penalty: 1.0, seed };
            let mut sampler = Sampler::new(&options);
            let tensor = Tensor::new(logits.as_slice(), &Device::Cpu).unwrap();
            for _ in 0..8 {
                let got = sampler.sample(logits.clone(), &[]).unwrap();
                assert_eq!(got, want.sample(&tensor).unwrap(), "{case}: {options:?}");
            }
        }
    }

    #[test]
    fn logits_without_a_finite_one_are_an_error() {
        let options = SamplingOptions { temperature: 1.0, ..SamplingOptions::GREEDY };
        assert!(Sampler::new(&options).sample(vec![f32::NEG_INFINITY; 3], &[]).is_err());
    }

    #[test]
    fn a_model_that_does_not_sample_is_greedy_but_keeps_its_penalty() {
        let config = serde_json::json!({"do_sample": false, "temperature": 0.7, "repetition_penalty": 1.1});
        let options = SamplingOptions::from_generation_config(Some(&config)).unwrap();
        assert_eq!((options.temperature, options.repetition_penalty), (0.0, 1.1));
        let config = serde_json::json!({"do_sample": true, "top_k": 20});
        let options = SamplingOptions::from_generation_config(Some(&config)).unwrap();
        assert_eq!((options.temperature, options.top_k), (1.0, Some(20)));
        let options =
            SamplingOptions::from_generation_config(Some(&serde_json::json!({"do_sample": true}))).unwrap();
        assert_eq!(options.top_k, Some(50));
    }
}
