//! Datasets that are trained on together.

use crate::permutation::permutation;
use crate::sample::{Dataset, Sample};

/// The samples that are chosen where a weight is no whole number do not change from run to run.
const SEED: u64 = 0;

/// Adds the samples of another dataset, each as often as `weight` says: the whole of it is how often all are taken, the rest
/// the share of them that is taken once more. Samples keep their order, which training shuffles.
pub(super) fn add(dataset: &mut Dataset, part: Dataset, weight: f64) {
    let count = part.samples.len();
    // A share of samples is rounded to a whole number of them.
    let wanted = (weight * count as f64).round() as usize;
    let times = wanted.checked_div(count).unwrap_or(0);
    let mut chosen = permutation(SEED, count);
    chosen.truncate(wanted - times * count);
    chosen.sort_unstable();
    let more: Vec<Sample> = chosen.into_iter().map(|place| part.samples[place].clone()).collect();
    for _ in 0..times {
        dataset.samples.extend_from_slice(&part.samples);
    }
    dataset.samples.extend(more);
    dataset.rows += part.rows;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_taken_as_often_as_the_weight_says() {
        let numbered = |ids: std::ops::Range<u32>| Dataset {
            rows: ids.len(),
            samples: ids.map(|id| Sample { input_ids: vec![id], ..Sample::default() }).collect(),
        };
        let mixed = |weight: f64| {
            let mut dataset = numbered(100..102);
            add(&mut dataset, numbered(0..4), weight);
            assert_eq!(dataset.rows, 6);
            dataset.samples.iter().map(|sample| sample.input_ids[0]).collect::<Vec<u32>>()
        };
        assert_eq!(mixed(1.0), [100, 101, 0, 1, 2, 3]);
        assert_eq!(mixed(2.0), [100, 101, 0, 1, 2, 3, 0, 1, 2, 3]);
        assert_eq!(mixed(0.1), [100, 101]);
        let (half, more) = (mixed(0.5), mixed(1.5));
        assert_eq!((half.len(), more.len()), (4, 8));
        assert_eq!((&half[2..], &more[2..6]), (&more[6..], &[0, 1, 2, 3][..]));
        assert!(half[2] < half[3], "in their order");
    }
}
