//! How probable the model found what was said.

use super::token_bytes::TokenBytes;

/// A token and its probability, before temperature, penalties and bounds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TokenLogprob {
    pub(crate) token: Alternative,
    /// The most probable tokens at this place, from the top.
    pub(crate) top: Vec<Alternative>,
}

/// A token that could stand at a place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Alternative {
    pub(crate) text: String,
    pub(crate) bytes: Vec<u8>,
    /// Natural logarithm of the probability.
    pub(crate) logprob: f64,
}

/// The model's distribution at one place.
pub(crate) struct Distribution {
    logits: Vec<f32>,
    /// Logarithm of the sum of all exponentials.
    normaliser: f64,
}

/// Where in a text a token stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    First,
    Later,
}

/// What stands for a probability of 0, as in OpenAI's answers.
const NEVER: f64 = -9999.0;

impl Distribution {
    pub(crate) fn of(logits: &[f32]) -> Distribution {
        let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let sum: f64 = logits.iter().map(|logit| (f64::from(*logit) - largest).exp()).sum();
        Distribution { logits: logits.to_vec(), normaliser: largest + sum.ln() }
    }

    fn logprob(&self, id: usize) -> f64 {
        let logprob = self.logits.get(id).map_or(NEVER, |logit| f64::from(*logit) - self.normaliser);
        if logprob.is_finite() { logprob.min(0.0) } else { NEVER }
    }

    /// The most probable tokens, from the top; of equal ones the first.
    fn top(&self, count: usize) -> Vec<usize> {
        let mut ids: Vec<usize> = (0..self.logits.len()).collect();
        let order = |a: &usize, b: &usize| self.logits[*b].total_cmp(&self.logits[*a]).then(a.cmp(b));
        let count = count.min(ids.len());
        if count < ids.len() {
            ids.select_nth_unstable_by(count, order);
            ids.truncate(count);
        }
        ids.sort_unstable_by(order);
        ids
    }

    /// The token that was chosen, and so many alternatives.
    pub(crate) fn tell(
        &self,
        chosen: u32,
        count: usize,
        bytes: &TokenBytes<'_>,
        place: Place,
    ) -> TokenLogprob {
        let alternative = |id: usize| {
            let token = u32::try_from(id).unwrap_or(u32::MAX);
            let bytes_of = match place {
                Place::First => bytes.of_first(token),
                Place::Later => bytes.of(token),
            };
            let text = bytes.name(token, &bytes_of);
            Alternative { text, bytes: bytes_of, logprob: self.logprob(id) }
        };
        TokenLogprob {
            token: alternative(chosen as usize),
            top: self.top(count).into_iter().map(alternative).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logprobs_are_those_of_a_softmax_and_never_above_zero() {
        let distribution = Distribution::of(&[1.0, 3.0, 3.0, f32::NEG_INFINITY]);
        let sum = 1f64.exp() + 2.0 * 3f64.exp();
        assert!((distribution.logprob(1) - (3f64.exp() / sum).ln()).abs() < 1e-12);
        assert_eq!((distribution.logprob(3), distribution.logprob(99)), (NEVER, NEVER));
        assert_eq!(distribution.top(2), [1, 2]);
        assert_eq!(distribution.top(9), [1, 2, 0, 3]);
        assert_eq!(Distribution::of(&[5.0]).logprob(0), 0.0);
    }
}
