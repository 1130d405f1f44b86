//! Configurations of data: files of rows, and how they become tokens.

use olive_config::canonical::{
    DataFiles, Era, LoadDataset, PaddingSide, Strategy, TextGeneration, TextSource,
};
use std::collections::BTreeMap;

pub fn load(data_name: &str, files: &[&str]) -> LoadDataset {
    LoadDataset {
        data_name: data_name.into(),
        subset: None,
        split: "train".into(),
        data_dir: None,
        data_files: DataFiles::Local(files.iter().map(|f| (*f).to_owned()).collect()),
        col_filters: BTreeMap::new(),
        field: None,
        reader: Default::default(),
    }
}

pub fn options(era: Era, strategy: Strategy, length: usize, template: &str) -> TextGeneration {
    TextGeneration {
        era,
        source: TextSource::Template(template.into()),
        strategy,
        max_seq_len: length,
        joiner: None,
        stride: None,
        pad_to_max_len: false,
        padding_side: if era == Era::New { Some(PaddingSide::Right) } else { None },
        drop_short_sequences: false,
        add_special_tokens: false,
        use_attention_mask: true,
        max_samples: None,
        processing_batch_size: 1024,
        random_seed: None,
        random_retries: 10,
        loss_on: Default::default(),
        response_template: None,
        chat: Default::default(),
    }
}
