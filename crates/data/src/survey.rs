//! What a data configuration comes to: for people who want to see it before they train.

use crate::chat_texts::ChatFacts;
use crate::checks::check;
use crate::error::Location;
use crate::prepare::{Preparation, rows_of};
use crate::row_fault::RowFault;
use crate::row_texts::RowTexts;
use crate::sample::{Dataset, IGNORED, Sample};
use crate::text_model::{TextModel, tokenizer_error};
use olive_config::canonical::{BadRows, DataConfig};
use olive_core::Result;
use olive_core::cancel::CancelFlag;
use olive_core::event::EventSink;
use olive_model::ModelFolder;
use std::ops::Range;
use tokenizers::Tokenizer;

/// What will be trained on.
#[derive(Debug)]
pub struct Survey {
    /// Rows read, after slicing and filtering.
    pub rows: usize,
    /// `None`: the rows are plain texts.
    pub chat: Option<ChatFacts>,
    /// Rows that cannot be trained on exactly.
    pub bad: Vec<(Location, RowFault)>,
    /// Tokens of every other row, before it is cut.
    pub lengths: Vec<usize>,
    /// How many of these tokens count in the loss.
    pub counted: usize,
    /// What is made of them; empty where no row is left.
    pub dataset: Dataset,
    /// The first rows of it, as the model sees them.
    pub examples: Vec<Vec<Piece>>,
}

/// A part of a text of which all tokens count alike.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    pub text: String,
    /// Factor on the loss of its tokens; 0: they do not count.
    pub weight: f32,
}

/// Makes of `config` what [`prepare`](crate::prepare()) makes, and looks at it. Bad rows are left out, whatever the options
/// say. `examples` is how many rows are to be shown.
///
/// # Errors
/// As [`prepare`](crate::prepare()), but for bad rows.
pub fn survey(
    config: &DataConfig,
    model: &ModelFolder,
    examples: usize,
    events: &dyn EventSink,
    cancel: &CancelFlag,
) -> Result<Survey> {
    let mut options = config.pre_process.clone();
    options.chat.bad_rows = BadRows::Skip;
    check(&options)?;
    let rows = rows_of(config)?;
    let model = TextModel::open(model)?;
    let texts = RowTexts::of(&rows, &options, &model, events, cancel)?;
    let preparation =
        Preparation { rows: &rows, options: &options, model: &model, texts: &texts, events, cancel };
    let (mut lengths, mut counted) = (Vec::with_capacity(texts.texts.len()), 0);
    let quiet = Preparation { events: &(), ..preparation };
    quiet.corpus()?.for_batches(options.processing_batch_size, |batch| {
        for row in batch {
            lengths.push(row.len());
            counted += row.iter().filter(|token| token.counts()).count();
        }
        Ok(true)
    })?;
    let dataset = match texts.texts.is_empty() {
        true => Dataset { rows: rows.len(), ..Dataset::default() },
        false => preparation.dataset()?,
    };
    let shown = documents(&dataset).take(examples);
    let shown =
        shown.map(|(sample, place)| pieces(sample, place, &model.tokenizer)).collect::<Result<_, String>>();
    let examples = shown.map_err(|reason| tokenizer_error(model.folder, &reason))?;
    let bad = texts.bad.into_iter().map(|(row, fault)| (rows.location(row), fault)).collect();
    Ok(Survey { rows: rows.len(), chat: texts.chat, bad, lengths, counted, dataset, examples })
}

/// Everything that the model sees apart from the rest.
fn documents(dataset: &Dataset) -> impl Iterator<Item = (&Sample, Range<usize>)> {
    dataset
        .samples
        .iter()
        .flat_map(|sample| sample.document_ranges().into_iter().map(move |range| (sample, range)))
}

/// The text of a document in runs of tokens that count alike, without padding.
fn pieces(sample: &Sample, document: Range<usize>, tokenizer: &Tokenizer) -> Result<Vec<Piece>, String> {
    let real = |place: &usize| sample.attention_mask.as_ref().is_none_or(|mask| mask[*place] != 0);
    let places: Vec<usize> = document.filter(real).collect();
    let weight = |place: usize| match (sample.labels[place], &sample.weights) {
        (IGNORED, _) => 0.0,
        (_, Some(weights)) => weights[place],
        (_, None) => 1.0,
    };
    let (mut pieces, mut before) = (Vec::new(), String::new());
    let mut end = 0;
    for run in places.chunk_by(|a, b| weight(*a) == weight(*b)) {
        end += run.len();
        // Decoded together: what a token prints may depend on the one before it.
        let ids: Vec<u32> = places[..end].iter().map(|place| sample.input_ids[*place]).collect();
        let text = tokenizer.decode(&ids, false).map_err(|e| e.to_string())?;
        let own = text.strip_prefix(before.as_str()).map(str::to_owned);
        let own = match own {
            Some(own) => own,
            // A letter whose bytes are in tokens that count and in others.
            None => tokenizer.decode(&ids[end - run.len()..], false).map_err(|e| e.to_string())?,
        };
        pieces.push(Piece { text: own, weight: weight(run[0]) });
        before = text;
    }
    Ok(pieces)
}
