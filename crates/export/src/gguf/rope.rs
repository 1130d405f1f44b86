//! The rotary embedding: keys, and factors that are tensors.

use super::file::File;
use super::matrices::Matrix;
use olive_arch::{Rope, RopeScaling};
use std::f32::consts::PI;

/// Tensors that hold divisors of the frequencies.
pub(super) fn factors(rope: &Rope) -> Vec<Matrix> {
    let narrow = |factors: &[f64]| factors.iter().map(|factor| *factor as f32).collect();
    match &rope.scaling {
        RopeScaling::LongRope { short_factor, long_factor, .. } => vec![
            Matrix::of_values("rope_factors_long.weight", narrow(long_factor)),
            Matrix::of_values("rope_factors_short.weight", narrow(short_factor)),
        ],
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
            let context = *original_context as f32;
            let [factor, low, high] =
                [*factor, *low_freq_factor, *high_freq_factor].map(|number| number as f32);
            let plain = Rope { scaling: RopeScaling::Default, ..rope.clone() };
            let (frequencies, _) = plain.inverse_frequencies(*original_context);
            let divisor = |frequency: f32| {
                let wavelength = 2.0 * PI / frequency;
                if wavelength < context / high {
                    1.0
                } else if wavelength > context / low {
                    factor
                } else {
                    let smooth = (context / wavelength - low) / (high - low);
                    1.0 / ((1.0 - smooth) / factor + smooth)
                }
            };
            vec![Matrix::of_values("rope_freqs.weight", frequencies.into_iter().map(divisor).collect())]
        }
        RopeScaling::Default | RopeScaling::Linear { .. } | RopeScaling::Yarn { .. } => Vec::new(),
    }
}

/// The keys of the scaling; `context` is the length that the model claims.
pub(super) fn add_scaling(
    rope: &Rope,
    arch: &str,
    context: usize,
    states_attention_factor: bool,
    file: &mut File,
) {
    let key = |name: &str| format!("{arch}.rope.scaling.{name}");
    match &rope.scaling {
        // Llama 3's is a tensor alone.
        RopeScaling::Default | RopeScaling::Llama3 { .. } => {}
        RopeScaling::Linear { factor } => {
            file.text(&key("type"), "linear");
            file.float(&key("factor"), *factor);
        }
        RopeScaling::Yarn { factor, beta_fast, beta_slow, original_context, attention_factor } => {
            file.text(&key("type"), "yarn");
            file.float(&key("factor"), *factor);
            file.size(&key("original_context_length"), *original_context);
            file.float(&key("yarn_beta_fast"), *beta_fast);
            file.float(&key("yarn_beta_slow"), *beta_slow);
            if states_attention_factor {
                file.float(&key("attn_factor"), *attention_factor);
            }
        }
        RopeScaling::LongRope { original_context, .. } => {
            let (context, original) = (context as f64, *original_context as f64);
            let ratio = context / original;
            let factor = if ratio > 1.0 { (1.0 + ratio.ln() / original.ln()).sqrt() } else { 1.0 };
            file.size(&key("original_context_length"), *original_context);
            file.float(&key("attn_factor"), factor);
        }
    }
}
