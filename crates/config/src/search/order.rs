//! Orders of points that do not depend on results.

use olive_core::python_random::PythonRandom;
use std::ops::Range;

/// The indices of the points of a space, in the order in which they are tried.
pub enum PointOrder {
    Sequential(Range<u64>),
    /// Each point once.
    Random(RandomOrder),
    /// Draws without end.
    Replaced(RandomOrder),
}

impl Iterator for PointOrder {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        match self {
            PointOrder::Sequential(range) => range.next(),
            PointOrder::Random(random) => random.next(),
            PointOrder::Replaced(random) => random.draw(),
        }
    }
}

/// Olive's random order: a number below that of the points left says which of them comes next. The generator is Python's,
/// so that a seed means the same.
pub struct RandomOrder {
    random: PythonRandom,
    len: u64,
    /// The points that were drawn, in the order of the space.
    taken: Vec<u64>,
}

impl RandomOrder {
    pub fn new(seed: u64, len: u64) -> RandomOrder {
        RandomOrder { random: PythonRandom::new(seed), len, taken: Vec::new() }
    }

    /// Any of the points.
    fn draw(&mut self) -> Option<u64> {
        (self.len > 0).then(|| self.random.below(self.len))
    }
}

impl Iterator for RandomOrder {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let left = self.len - self.taken.len() as u64;
        if left == 0 {
            return None;
        }
        // The point at this place among those left: every taken one before it moves it on.
        let mut point = self.random.below(left);
        let mut before = 0;
        for taken in &self.taken {
            if *taken > point {
                break;
            }
            point += 1;
            before += 1;
        }
        self.taken.insert(before, point);
        Some(point)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Sampler;
    use super::*;

    fn order(seed: u64, len: u64) -> Vec<u64> {
        RandomOrder::new(seed, len).collect()
    }

    /// Recorded from Olive 0.13.0.
    #[test]
    fn random_orders_are_those_of_olive() {
        assert_eq!(order(1, 18), [4, 2, 10, 1, 11, 17, 12, 13, 9, 6, 3, 8, 0, 15, 16, 14, 5, 7]);
        assert_eq!(order(0, 18), [12, 14, 1, 5, 10, 9, 8, 6, 15, 11, 4, 13, 2, 7, 3, 0, 17, 16]);
        let long = order(101, 36);
        assert_eq!(long[..15], [12, 35, 23, 31, 3, 24, 18, 7, 25, 9, 13, 21, 33, 8, 16]);
        assert_eq!(long.len(), 36);
    }

    #[test]
    fn spaces_of_any_size_have_an_order() {
        let len = u64::MAX / 2;
        let mut first: Vec<u64> = RandomOrder::new(7, len).take(100).collect();
        assert!(first.iter().all(|point| *point < len));
        first.sort_unstable();
        first.dedup();
        assert_eq!(first.len(), 100);
        assert!(order(1, 0).is_empty());
    }

    #[test]
    fn what_is_put_back_may_come_again() {
        let sampler = Sampler::Random { seed: 1, with_replacement: true };
        let drawn: Vec<u64> = sampler.order(3).expect("an order").take(30).collect();
        assert!(drawn.iter().all(|point| *point < 3) && drawn.len() == 30);
        let sequential: Vec<u64> = Sampler::Sequential.order(3).expect("an order").collect();
        assert_eq!(sequential, [0, 1, 2]);
        assert!(Sampler::Tpe { seed: 1, multivariate: true, group: true }.order(3).is_none());
    }
}
