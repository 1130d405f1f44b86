//! Choices of a case.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::RngCore;

pub fn below(rng: &mut ChaCha8Rng, end: usize) -> usize {
    (rng.next_u64() % end.max(1) as u64) as usize
}

pub fn one_of<T: Clone>(rng: &mut ChaCha8Rng, of: &[T]) -> T {
    of[below(rng, of.len())].clone()
}
