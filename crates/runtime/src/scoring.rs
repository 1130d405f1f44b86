//! How likely an ONNX model finds given tokens, some positions at a time.

use super::RuntimeError;
use super::session::{OnnxSequence, OnnxSession, Part};
use half::{bf16, f16};
use olive_core::Result;
use olive_core::cancel::CancelFlag;
use olive_decoder::{LanguageModel, Scored, ScoringModel};
use olive_kernels::Logits;
use olive_kernels::lm_loss::cross_entropy;
use ort::value::{DynValue, TensorElementType};

/// Most logits that a run gives while tokens are scored, 32 MB as f32.
const LOGITS: usize = 1 << 23;

/// Most positions of such a run: attention takes memory for each of them, too.
const SCORED: usize = 256;

impl ScoringModel for OnnxSession {
    fn score(&self, sequence: &mut OnnxSequence, scored: Scored<'_>, cancel: &CancelFlag) -> Result<f64> {
        let length = scored.length_after(self.tokens(sequence).len());
        let mut tokens = self.prepare(sequence, length)?;
        let mut targets = vec![-1; tokens.len()];
        tokens.extend_from_slice(scored.tokens);
        targets.extend_from_slice(scored.targets);
        let mut rows = rows_at_a_time(self.config().model.vocab_size);
        let held = self.tokens(sequence).len();
        let total = held + tokens.len();
        let mut padding = 0;
        if let Some(switch) =
            self.switch.length().filter(|switch| (held..length).contains(switch) && !self.looks_ahead())
        {
            // The first run must reach to where sequences are long.
            rows = rows.max(switch + 1);
            padding = (switch + 1).saturating_sub(total);
            tokens.resize(tokens.len() + padding, 0);
            targets.resize(tokens.len(), -1);
        }
        let mut sum = 0.0;
        for (tokens, targets) in tokens.chunks(rows).zip(targets.chunks(rows)) {
            cancel.check()?;
            sum += self.run(sequence, &Part { tokens, length }, |logits| self.loss(logits, targets))?;
        }
        if padding > 0 {
            self.truncate(sequence, total)?;
        }
        Ok(sum)
    }
}

impl OnnxSession {
    /// Sum of the cross-entropies of `targets`, one for every position that was computed.
    fn loss(&self, logits: &DynValue, targets: &[i32]) -> Result<f64, RuntimeError> {
        let (shape, values) = match logits.dtype().tensor_type() {
            Some(TensorElementType::Float16) => {
                let (shape, values) = logits.try_extract_tensor::<f16>()?;
                (shape, Logits::F16(values))
            }
            Some(TensorElementType::Bfloat16) => {
                let (shape, values) = logits.try_extract_tensor::<bf16>()?;
                (shape, Logits::Bf16(values))
            }
            _ => {
                let (shape, values) = logits.try_extract_tensor::<f32>()?;
                (shape, Logits::F32(values))
            }
        };
        if shape.get(1).is_none_or(|rows| *rows as usize != targets.len()) {
            return Err(self.unsupported(format!(
                "its graph gives logits of shape {shape:?} for {} tokens, and every token's are needed; `prune_lm_head` leaves \
                 out all but the last",
                targets.len()
            )));
        }
        cross_entropy(values, targets).map_err(|error| self.unsupported(error.to_string()))
    }
}

/// Positions whose logits are computed at a time, so that memory does not grow with the length of a sequence.
fn rows_at_a_time(vocabulary: usize) -> usize {
    (LOGITS / vocabulary.max(1)).clamp(1, SCORED)
}

#[cfg(test)]
mod tests {
    use super::rows_at_a_time;

    #[test]
    fn logits_are_few_whatever_the_vocabulary() {
        for (vocabulary, rows) in [(1, 256), (32_064, 256), (49_152, 170), (262_144, 32), (1 << 24, 1)] {
            assert_eq!(rows_at_a_time(vocabulary), rows, "{vocabulary}");
            assert!(rows == 1 || rows * vocabulary * 4 <= 64 << 20);
        }
    }
}
