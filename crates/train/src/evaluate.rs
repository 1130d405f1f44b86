//! Loss on held-out samples.

use olive_core::Result;
use olive_core::cancel::CancelFlag;
use olive_data::{DataError, Dataset, MicroBatch};
use olive_decoder::Decoder;

/// Mean cross-entropy over all labels of a dataset, by their weights, and their number.
///
/// # Errors
/// No label at all, a raised `cancel`, or a device error.
pub fn evaluate(
    decoder: &Decoder,
    dataset: &Dataset,
    batch_size: usize,
    cancel: &CancelFlag,
) -> Result<(f64, usize)> {
    let (mut sum, mut labels, mut weight) = (0.0, 0, 0.0);
    let numbered: Vec<_> = dataset.samples.iter().enumerate().collect();
    for part in numbered.chunks(batch_size.max(1)) {
        cancel.check()?;
        let batch = MicroBatch::new(part.iter().copied());
        if batch.labels > 0 {
            let loss = decoder.loss(&batch.tokens, batch.loss_targets())?;
            sum += loss.sum;
            labels += loss.count;
            weight += batch.weight;
        }
    }
    if labels == 0 {
        return Err(DataError::NoEvaluationLabels { samples: dataset.samples.len() }.into());
    }
    Ok((sum / weight, labels))
}
