//! The rotary embedding of a GGUF file as `rope_scaling` of a `config.json`.

use super::Found;
use super::file::Gguf;
use olive_arch::{Family, Rope, RopeScaling};
use serde_json::{Value, json};

/// Llama 3.1 and its descendants; files carry only the resulting factors.
const LOW_FREQ_FACTOR: f64 = 1.0;
const HIGH_FREQ_FACTOR: f64 = 4.0;

/// The rotation that is scaled.
pub(super) struct Stretched {
    pub(super) theta: f64,
    /// Rotated part of a head.
    pub(super) rotary_dim: usize,
    /// The length that the model claims.
    pub(super) context: usize,
}

/// `rope_scaling`, or null. `arch` begins the keys of the file.
pub(super) fn scaling(gguf: &Gguf, arch: &str, family: &Family, of: &Stretched) -> Found<Value> {
    let key = |name: &str| format!("{arch}.rope.scaling.{name}");
    let half = of.rotary_dim / 2;
    let factors = |name: &str| -> Found<Option<Vec<f64>>> {
        match gguf.tensor(name) {
            None => Ok(None),
            Some((shape, _)) if shape == [half] => {
                Ok(Some(gguf.read(name, 0, half)?.into_iter().map(decimal).collect()))
            }
            Some((shape, _)) => Err(format!("`{name}` has the shape {shape:?} where [{half}] is needed")),
        }
    };
    if let (Some(long), Some(short)) =
        (factors("rope_factors_long.weight")?, factors("rope_factors_short.weight")?)
    {
        return Ok(json!({"rope_type": "longrope", "long_factor": long, "short_factor": short}));
    }
    if let Some(factors) = factors("rope_freqs.weight")? {
        return Ok(fixed_factors(&factors, of.theta, of.context));
    }
    let factor = gguf.number(&key("factor"))?.filter(|factor| *factor > 0.0);
    match (gguf.text(&key("type"))?, factor) {
        (None | Some("none"), _) | (_, None) => Ok(Value::Null),
        (Some("linear"), Some(factor)) => Ok(json!({"rope_type": "linear", "factor": factor})),
        (Some("yarn"), Some(factor)) => {
            let mut yarn = json!({"rope_type": "yarn", "factor": factor});
            for (ours, theirs) in [
                ("original_max_position_embeddings", "original_context_length"),
                ("beta_fast", "yarn_beta_fast"),
                ("beta_slow", "yarn_beta_slow"),
            ] {
                if let Some(number) = gguf.number(&key(theirs))? {
                    yarn[ours] = json!(number);
                }
            }
            // By this, Ministral 3 takes back what YaRN does to the size of the attention.
            if let Some(all) = gguf.number(&key("yarn_log_multiplier"))?.filter(|all| *all > 0.0) {
                yarn["mscale"] = json!(1.0);
                yarn["mscale_all_dim"] = json!(all);
            }
            let own = gguf.number(&key("attn_factor"))?.filter(|_| family.gguf.states_attention_factor);
            if let Some(factor) = gguf.number(&key("yarn_attn_factor"))?.or(own) {
                yarn["attention_factor"] = json!(factor);
            }
            Ok(yarn)
        }
        (Some(other), _) => Err(format!("its rope scaling `{other}` is not supported")),
    }
}

/// Factors that do not depend on the length: those of Llama 3.1 if some original context explains them, else
/// LongRoPE with the same factors for short and long texts.
fn fixed_factors(factors: &[f64], theta: f64, context: usize) -> Value {
    if factors.iter().all(|factor| *factor == 1.0) {
        return Value::Null;
    }
    let factor = factors.iter().copied().fold(1.0, f64::max);
    let rotary_dim = 2 * factors.len();
    let frequencies = |scaling: RopeScaling| {
        Rope { theta, rotary_dim, interleaved: false, scaling }.inverse_frequencies(context).0
    };
    let plain = frequencies(RopeScaling::Default);
    for original_context in (0..24).map(|power| 1usize << power) {
        let scaled = frequencies(RopeScaling::Llama3 {
            factor,
            low_freq_factor: LOW_FREQ_FACTOR,
            high_freq_factor: HIGH_FREQ_FACTOR,
            original_context,
        });
        let explained = plain
            .iter()
            .zip(&scaled)
            .zip(factors)
            .all(|((plain, scaled), factor)| (f64::from(plain / scaled) / factor - 1.0).abs() < 1e-5);
        if explained {
            return json!({
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": LOW_FREQ_FACTOR,
                "high_freq_factor": HIGH_FREQ_FACTOR,
                "original_max_position_embeddings": original_context,
            });
        }
    }
    json!({"rope_type": "longrope", "long_factor": factors, "short_factor": factors})
}

/// The f64 with the same shortest decimals.
fn decimal(value: f32) -> f64 {
    value.to_string().parse().unwrap_or_else(|_| f64::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factors(theta: f64, rotary_dim: usize, original_context: usize) -> Vec<f64> {
        let rope = |scaling| Rope { theta, rotary_dim, interleaved: false, scaling }.inverse_frequencies(1).0;
        let scaling = RopeScaling::Llama3 {
            factor: 32.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_context,
        };
        rope(RopeScaling::Default).iter().zip(rope(scaling)).map(|(a, b)| f64::from(a / b)).collect()
    }

    #[test]
    fn finds_what_made_the_factors() {
        let found = fixed_factors(&factors(500_000.0, 64, 8192), 500_000.0, 131_072);
        assert_eq!(found["rope_type"], "llama3");
        assert_eq!(found["original_max_position_embeddings"], 8192);
        assert_eq!(found["factor"], 32.0);
    }

    #[test]
    fn keeps_factors_that_nothing_explains() {
        let odd = [1.0, 1.5, 3.0, 2.0];
        let found = fixed_factors(&odd, 10_000.0, 256);
        assert_eq!(found["rope_type"], "longrope");
        assert_eq!(found["short_factor"], json!(odd));
        assert_eq!(fixed_factors(&[1.0; 4], 10_000.0, 256), Value::Null);
    }
}
