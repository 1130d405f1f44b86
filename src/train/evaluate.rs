//! Loss on held-out samples.

use super::TrainError;
use crate::Result;
use crate::cancel::CancelFlag;
use crate::data::{Dataset, MicroBatch};
use crate::decoder::Decoder;

/// Mean cross-entropy over all labels of a dataset, and their number.
///
/// # Errors
/// No label at all, a raised `cancel`, or a device error.
pub fn evaluate(
    decoder: &Decoder,
    dataset: &Dataset,
    batch_size: usize,
    cancel: &CancelFlag,
) -> Result<(f64, usize)> {
    let (mut sum, mut labels) = (0.0, 0);
    let numbered: Vec<_> = dataset.samples.iter().enumerate().collect();
    for part in numbered.chunks(batch_size.max(1)) {
        cancel.check()?;
        let batch = MicroBatch::new(part.iter().copied());
        if batch.labels > 0 {
            let loss = decoder.loss(&batch.tokens, &batch.targets)?;
            sum += loss.sum;
            labels += loss.count;
        }
    }
    if labels == 0 {
        return Err(TrainError::NoEvaluationLabels { samples: dataset.samples.len() }.into());
    }
    Ok((sum / labels as f64, labels))
}
