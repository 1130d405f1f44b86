//! The samples that are kept for evaluation.

use crate::error::DataError;
use crate::permutation::permutation;
use crate::sample::Dataset;
use olive_config::canonical::EvalSize;

/// Splits a dataset as Olive does: a permutation by numpy's generator, whose first samples are for evaluation and whose
/// other ones are for training. Fractions are rounded up.
///
/// # Errors
/// [`DataError::HoldOut`]: nothing would be left to train on.
pub fn hold_out(dataset: Dataset, size: EvalSize, data_seed: u64) -> Result<(Dataset, Dataset), DataError> {
    let samples = dataset.samples.len();
    let eval = match size {
        EvalSize::Count(count) => count,
        EvalSize::Fraction(fraction) => (fraction * samples as f64).ceil() as usize,
    };
    if eval >= samples {
        return Err(DataError::HoldOut { eval, samples });
    }
    let mut all: Vec<_> = dataset.samples.into_iter().map(Some).collect();
    let mut in_order: Vec<_> =
        permutation(data_seed, samples).into_iter().filter_map(|i| all[i].take()).collect();
    let train = in_order.split_off(eval);
    let rows = dataset.rows;
    Ok((Dataset { samples: train, rows }, Dataset { samples: in_order, rows }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sample;

    fn numbered(n: u32) -> Dataset {
        let sample = |i| Sample { input_ids: vec![i], labels: vec![i as i32], ..Sample::default() };
        Dataset { samples: (0..n).map(sample).collect(), rows: n as usize }
    }

    fn ids(dataset: &Dataset) -> Vec<u32> {
        dataset.samples.iter().map(|s| s.input_ids[0]).collect()
    }

    #[test]
    fn takes_the_first_of_the_permutation_for_evaluation() {
        let (train, eval) = hold_out(numbered(10), EvalSize::Fraction(0.25), 42).unwrap();
        assert_eq!(ids(&eval), [5, 6, 0]);
        assert_eq!(ids(&train), [7, 3, 2, 4, 9, 1, 8]);
        let (train, eval) = hold_out(numbered(10), EvalSize::Count(1), 42).unwrap();
        assert_eq!((ids(&eval), train.samples.len()), (vec![5], 9));
    }

    #[test]
    fn leaves_something_to_train_on() {
        assert!(hold_out(numbered(1), EvalSize::Fraction(0.1), 0).is_err());
        assert!(hold_out(numbered(3), EvalSize::Count(3), 0).is_err());
        assert!(hold_out(numbered(0), EvalSize::Count(0), 0).is_err());
    }
}
