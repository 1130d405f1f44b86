//! Opening models, and losses by their definition.

use crate::support::runtime::library;
use olive_core::cancel::CancelFlag;
use olive_core::device::Device;
use olive_core::handle::ModelHandle;
use olive_data::{Dataset, IGNORED, Sample};
use olive_evaluate::{Opening, Subject, TokenLosses, Work, losses};
use olive_model::QuantisedBase;
use olive_runtime::ActiveAdapter;
use std::path::Path;

pub(crate) fn open(handle: &ModelHandle) -> Subject {
    open_with(handle, None)
}

pub(crate) fn open_with(handle: &ModelHandle, quantised: Option<&QuantisedBase>) -> Subject {
    let (adapter, device) = (ActiveAdapter::default(), &Device::Cpu);
    let opening = Opening { adapter, quantised, device, library: &|| Ok(library()) };
    Subject::open(handle, &opening).unwrap_or_else(|e| panic!("{handle:?}: {}", e.with_causes()))
}

pub(crate) fn float(dir: &Path) -> Subject {
    open(&ModelHandle::Hf { dir: dir.to_owned() })
}

pub(crate) fn onnx(dir: &Path) -> Subject {
    open(&ModelHandle::Onnx { dir: dir.to_owned() })
}

pub(crate) fn dataset(samples: impl IntoIterator<Item = Sample>) -> Dataset {
    let samples: Vec<Sample> = samples.into_iter().collect();
    Dataset { rows: samples.len(), samples }
}

pub(crate) fn quietly(subject: &Subject, dataset: &Dataset) -> olive_core::Result<TokenLosses> {
    losses(subject, dataset, Work { name: "test", events: &(), cancel: &CancelFlag::default() })
}

pub(crate) fn measured(subject: &Subject, dataset: &Dataset) -> TokenLosses {
    quietly(subject, dataset).unwrap_or_else(|e| panic!("{}", e.with_causes()))
}

/// Sum of the losses of `labels`, not shifted, by the logits `[labels, vocab]` in f64, and their number.
pub(crate) fn by_definition(logits: &[f32], labels: &[i32]) -> (f64, u64) {
    let vocab = logits.len() / labels.len();
    let (mut sum, mut count) = (0.0, 0);
    for (row, label) in logits.chunks(vocab).zip(&labels[1..]).filter(|(_, label)| **label != IGNORED) {
        let top = row.iter().fold(f64::MIN, |top, x| top.max(f64::from(*x)));
        let total: f64 = row.iter().map(|x| (f64::from(*x) - top).exp()).sum();
        sum += top + total.ln() - f64::from(row[*label as usize]);
        count += 1;
    }
    (sum, count)
}

/// Fails where the sums differ by more than `tolerance`, relatively.
pub(crate) fn assert_close(got: f64, want: f64, tolerance: f64, case: &str) {
    let error = (got / want - 1.0).abs();
    assert!(error < tolerance, "{case}: {got} instead of {want}, off by {error:.1e}");
}
