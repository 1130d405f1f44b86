//! All randomness of training: ChaCha streams named by the seed and what they are for.
//!
//! No state of a generator is kept. A value is a function of the seed, the purpose and the place (step, layer, epoch),
//! so it is the same in a resumed run, with other threads, and whatever else was drawn before.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// Key of the stream for `purpose` at `place`.
pub fn key(seed: u64, purpose: &str, place: &[&dyn std::fmt::Display]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"olive random stream 1");
    for part in [&seed as &dyn std::fmt::Display, &purpose].into_iter().chain(place.iter().copied()) {
        let text = part.to_string();
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    *hasher.finalize().as_bytes()
}

/// The stream for `purpose` at `place`.
pub fn stream(seed: u64, purpose: &str, place: &[&dyn std::fmt::Display]) -> ChaCha8Rng {
    ChaCha8Rng::from_seed(key(seed, purpose, place))
}

/// Uniform in [-bound, bound), in steps of `bound / 2²³`.
pub fn uniform(stream: &mut ChaCha8Rng, bound: f32) -> f32 {
    ((stream.next_u32() >> 8) as f32 / (1 << 23) as f32 - 1.0) * bound
}

/// A random order of `0..n` (Fisher-Yates).
pub fn permutation(stream: &mut ChaCha8Rng, n: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    for i in (1..n).rev() {
        order.swap(i, below(stream, i as u64 + 1) as usize);
    }
    order
}

/// Uniform in `0..bound`: draws beyond the largest multiple of `bound` are rejected.
fn below(stream: &mut ChaCha8Rng, bound: u64) -> u64 {
    let limit = u64::MAX - u64::MAX % bound;
    loop {
        let draw = stream.next_u64();
        if draw < limit {
            return draw % bound;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_by_every_part_of_their_name_and_by_nothing_else() {
        let first = |seed, purpose, place: &[&dyn std::fmt::Display]| stream(seed, purpose, place).next_u64();
        assert_eq!(first(1, "init", &[&"a"]), first(1, "init", &[&"a"]));
        let all = [
            first(1, "init", &[&"a"]),
            first(2, "init", &[&"a"]),
            first(1, "dropout", &[&"a"]),
            first(1, "init", &[&"b"]),
            first(1, "init", &[&1, &12]),
            first(1, "init", &[&11, &2]),
        ];
        assert_eq!(std::collections::BTreeSet::from(all).len(), all.len());
    }

    #[test]
    fn a_permutation_is_one_and_reaches_every_place() {
        let order = permutation(&mut stream(3, "shuffle", &[&0]), 100);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
        let mut firsts = [0; 4];
        (0..4000).for_each(|i| firsts[permutation(&mut stream(3, "shuffle", &[&i]), 4)[0]] += 1);
        assert!(firsts.iter().all(|n| (900..1100).contains(n)), "{firsts:?}");
    }
}
