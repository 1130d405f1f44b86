//! `strategy: "pack"`, and that padding costs nothing.

use crate::support::training::{gradients, plain_options, relative_all, sample};
use crate::support::trajectory::Trajectory;
use olive_data::{MicroBatch, Sample};

/// Documents of these lengths in one sample.
fn packed(documents: &[Sample]) -> Sample {
    Sample {
        input_ids: documents.iter().flat_map(|d| d.input_ids.clone()).collect(),
        labels: documents.iter().flat_map(|d| d.labels.clone()).collect(),
        documents: Some(documents.iter().map(|d| d.input_ids.len()).collect()),
        ..Sample::default()
    }
}

fn documents() -> Vec<Sample> {
    let ids = |seed: u32, n: u32| (0..n).map(|i| (i * i * 7 + seed * 31 + i) % 93 + 3).collect();
    vec![sample(ids(1, 20)), sample(ids(2, 33)), sample(ids(3, 2)), sample(ids(4, 41))]
}

#[test]
fn packed_documents_have_the_losses_and_gradients_of_single_ones() {
    let documents = documents();
    for case in ["rslora", "dora"] {
        let mut trainer = Trajectory::of_fixtures(case).trainer(plain_options());
        let together = [MicroBatch::new([(0, &packed(&documents))])];
        let apart: Vec<MicroBatch> = documents.iter().map(|d| MicroBatch::new([(0, d)])).collect();
        let (loss, got) = gradients(&mut trainer, &together);
        let (want_loss, want) = gradients(&mut trainer, &apart);
        assert!((loss - want_loss).abs() < 1e-5, "{loss} not {want_loss}");
        assert!(relative_all(&got, &want) < 1e-5, "{}", relative_all(&got, &want));
        // Without the borders it is another thing.
        let joined = Sample { documents: None, ..packed(&documents) };
        let (joined_loss, _) = gradients(&mut trainer, &[MicroBatch::new([(0, &joined)])]);
        assert!((joined_loss - want_loss).abs() > 1e-3);
    }
}

#[test]
fn no_token_of_padding_is_computed() {
    let documents = documents();
    let pad = |sample: &Sample, left: bool| {
        let missing = 64 - sample.input_ids.len();
        let (mut ids, mut labels) = (sample.input_ids.clone(), sample.labels.clone());
        let mut mask = vec![1; ids.len()];
        let at = if left { 0 } else { ids.len() };
        ids.splice(at..at, std::iter::repeat_n(0, missing));
        labels.splice(at..at, std::iter::repeat_n(-100, missing));
        mask.splice(at..at, std::iter::repeat_n(0, missing));
        Sample { input_ids: ids, labels, attention_mask: Some(mask), ..Sample::default() }
    };
    let mut trainer = Trajectory::of_fixtures("rslora").trainer(plain_options());
    let plain = MicroBatch::new(documents.iter().enumerate());
    let real: usize = documents.iter().map(|d| d.input_ids.len()).sum();
    // The last token of a row predicts nothing, so that it is not computed either.
    assert_eq!(plain.tokens.ids.len(), real - documents.len());
    let (loss, got) = gradients(&mut trainer, std::slice::from_ref(&plain));
    for left in [true, false] {
        let rows: Vec<Sample> = documents.iter().map(|d| pad(d, left)).collect();
        assert_eq!(rows.iter().map(|r| r.input_ids.len()).sum::<usize>(), 256);
        let batch = MicroBatch::new(rows.iter().enumerate());
        assert_eq!(batch.tokens.ids, plain.tokens.ids);
        assert_eq!((batch.real_tokens, batch.labels), (real, real - documents.len()));
        assert_eq!(gradients(&mut trainer, &[batch]), (loss, got.clone()));
    }
}
