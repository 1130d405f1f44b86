//! The user's files to batches of tokens.

pub mod error;
pub mod sample;

pub use error::DataError;
pub use sample::{Dataset, Sample};

use crate::config::canonical::{DataConfig, DataFiles, EvalSize, LoadDataset};
use crate::engine::CancelFlag;
use crate::model::ModelFolder;
use crate::report::EventSink;
use std::path::PathBuf;

/// TEMPORARY, replaced by the real module in the merge: every data file is plain text, cut into blocks.
pub fn prepare(
    config: &DataConfig,
    model: &ModelFolder,
    _: &dyn EventSink,
    cancel: &CancelFlag,
) -> crate::Result<Dataset> {
    cancel.check()?;
    let tokenizer = model.tokenizer()?;
    let mut ids = Vec::new();
    for file in input_files(&config.load)? {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        if let Ok(encoding) = tokenizer.encode(text, false) {
            ids.extend_from_slice(encoding.get_ids());
        }
    }
    let samples = ids.chunks_exact(config.pre_process.max_seq_len).map(|ids| Sample {
        input_ids: ids.to_vec(),
        labels: ids.iter().map(|id| *id as i32).collect(),
        attention_mask: None,
    });
    Ok(Dataset { samples: samples.collect(), rows: 1 })
}

/// TEMPORARY, as above.
pub fn hold_out(
    mut dataset: Dataset,
    size: EvalSize,
    _: u64,
) -> std::result::Result<(Dataset, Dataset), DataError> {
    let n = match size {
        EvalSize::Count(n) => n,
        EvalSize::Fraction(f) => (f * dataset.samples.len() as f64).ceil() as usize,
    };
    let train = dataset.samples.split_off(n);
    Ok((Dataset { samples: train, rows: dataset.rows }, dataset))
}

/// TEMPORARY, as above.
pub fn input_files(load: &LoadDataset) -> crate::Result<Vec<PathBuf>> {
    Ok(match &load.data_files {
        DataFiles::Local(files) => files.iter().map(PathBuf::from).collect(),
        _ => Vec::new(),
    })
}
