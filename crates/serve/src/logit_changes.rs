//! What a request changes about the logits before a token is chosen.

use std::collections::BTreeMap;

/// Changes to the logits. Penalties look at what was generated, not at the prompt.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct LogitChanges {
    /// Taken from tokens that were said.
    pub(crate) presence: f32,
    /// Taken from tokens as often as they were said.
    pub(crate) frequency: f32,
    /// Added to tokens.
    pub(crate) bias: Vec<(u32, f32)>,
    /// Tokens that are less probable than this share of the most probable one's probability are not chosen.
    pub(crate) min_p: f64,
}

impl LogitChanges {
    /// Changes the logits (`[vocab]`) for a choice at this temperature, after tokens that were generated so often.
    pub(crate) fn apply(&self, logits: &mut [f32], said: &BTreeMap<u32, u32>, temperature: f64) {
        let mut add = |token: u32, change: f32| {
            if let Some(logit) = logits.get_mut(token as usize) {
                *logit += change;
            }
        };
        self.bias.iter().for_each(|(token, bias)| add(*token, *bias));
        if self.presence != 0.0 || self.frequency != 0.0 {
            said.iter().for_each(|(token, times)| {
                add(*token, -(self.presence + self.frequency * *times as f32));
            });
        }
        if self.min_p > 0.0 && temperature > 0.0 {
            // p / p_max = exp((logit - largest) / temperature)
            let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let lowest = f64::from(largest) + temperature * self.min_p.ln();
            for logit in logits.iter_mut().filter(|logit| f64::from(**logit) < lowest) {
                *logit = f32::NEG_INFINITY;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn penalties_count_and_biases_add() {
        let changes =
            LogitChanges { presence: 0.5, frequency: 0.25, bias: vec![(2, -100.0), (9, 1.0)], min_p: 0.0 };
        let mut logits = [1.0, 1.0, 1.0];
        changes.apply(&mut logits, &BTreeMap::from([(1, 2)]), 1.0);
        assert_eq!(logits, [1.0, 0.0, -99.0]);
    }

    #[test]
    fn min_p_is_a_share_of_the_largest_probability_at_the_temperature() {
        let changes = LogitChanges { min_p: 0.1, ..LogitChanges::default() };
        let left = |temperature| {
            // Probabilities at temperature 1: in the ratio 1 : e^-2 : e^-3.
            let mut logits = [0.0, -2.0, -3.0];
            changes.apply(&mut logits, &BTreeMap::new(), temperature);
            logits.iter().filter(|logit| logit.is_finite()).count()
        };
        assert_eq!((left(1.0), left(2.0), left(0.5)), (2, 3, 1));
    }
}
