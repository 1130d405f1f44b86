//! A data configuration to a dataset.

use crate::chat_texts::ChatFacts;
use crate::checks::{check, check_padding};
use crate::corpus::{self, Corpus, JoinerLoss};
use crate::error::DataError;
use crate::joining;
use crate::lines::{self, RowLengths, Truncation};
use crate::mixing;
use crate::packing;
use crate::row_texts::{RowTexts, warn};
use crate::rows::{Rows, load_rows};
use crate::sample::{Dataset, IGNORED, Sample};
use crate::special_tokens::SpecialTokens;
use crate::strategy::Sampler;
use crate::text_model::{TextModel, tokenizer_error};
use olive_config::canonical::{AnswersBy, DataConfig, LossOn, MixedData, Strategy, TextGeneration};
use olive_core::Result;
use olive_core::cancel::CancelFlag;
use olive_core::event::{Event, EventSink};
use olive_core::python_random::PythonRandom;
use olive_model::ModelFolder;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Reads the rows of `config`, makes their texts, tokenises these with the tokenizer of `model` and cuts samples; then the
/// same for what is mixed into it.
///
/// # Errors
/// What is wrong with the options, the files, a row or the amount of data; see [`DataError`].
pub fn prepare(
    config: &DataConfig,
    model: &ModelFolder,
    events: &dyn EventSink,
    cancel: &CancelFlag,
) -> Result<Dataset> {
    let model = TextModel::open(model)?;
    let mut dataset = prepare_part(config, &model, events, cancel)?;
    for MixedData { config, weight } in &config.mix {
        mixing::add(&mut dataset, prepare_part(config, &model, events, cancel)?, *weight);
    }
    Ok(dataset)
}

fn prepare_part(
    config: &DataConfig,
    model: &TextModel<'_>,
    events: &dyn EventSink,
    cancel: &CancelFlag,
) -> Result<Dataset> {
    let options = &config.pre_process;
    check(options)?;
    let rows = &rows_of(config)?;
    cancel.check()?;
    let texts = &RowTexts::of(rows, options, model, events, cancel)?;
    Preparation { rows, options, model, texts, events, cancel }.dataset()
}

/// The rows of `config`, which errors name.
pub(crate) fn rows_of(config: &DataConfig) -> Result<Rows> {
    load_rows(&config.load).map_err(|error| match error.downcast_ref() {
        Some(DataError::Remote { kind, description, .. }) => DataError::Remote {
            name: Some(config.name.clone()),
            kind: kind.clone(),
            description: description.clone(),
        }
        .into(),
        Some(DataError::InAzureMl { place, address, .. }) => {
            DataError::InAzureMl { name: Some(config.name.clone()), place, address: address.clone() }.into()
        }
        _ => error,
    })
}

/// Texts that become samples.
pub(super) struct Preparation<'a> {
    pub rows: &'a Rows,
    pub options: &'a TextGeneration,
    pub model: &'a TextModel<'a>,
    pub texts: &'a RowTexts,
    pub events: &'a dyn EventSink,
    pub cancel: &'a CancelFlag,
}

impl Preparation<'_> {
    /// The texts, and what makes tokens of them.
    ///
    /// # Errors
    /// The joiner cannot be tokenised.
    pub(super) fn corpus(&self) -> Result<Corpus<'_>> {
        let (options, tokenizer) = (self.options, &self.model.tokenizer);
        let joiner = match &options.joiner {
            Some(text) => {
                let counts = self.texts.chat.is_none() && matches!(options.loss_on, None | Some(LossOn::All));
                let loss = if counts { JoinerLoss::Counts } else { JoinerLoss::Ignored };
                corpus::joiner(tokenizer, text, loss).map_err(|e| tokenizer_error(self.model.folder, &e))?
            }
            None => Vec::new(),
        };
        Ok(Corpus {
            rows: self.rows,
            texts: &self.texts.texts,
            tokenizer,
            vocabulary: self.model.vocabulary(),
            joiner,
            straddling: AtomicUsize::new(0),
            events: self.events,
            cancel: self.cancel,
        })
    }

    /// # Errors
    /// What is wrong with a text or the amount of data.
    pub(super) fn dataset(&self) -> Result<Dataset> {
        let Preparation { rows, options, model, texts, events, .. } = *self;
        if texts.texts.is_empty() {
            return Err(DataError::AllEmpty { rows: rows.len() }.into());
        }
        let pad_id = model.special.pad_id(&model.tokenizer);
        let padding =
            options.pad_to_max_len.then(|| options.padding_side.unwrap_or(model.special.padding_side));
        check_padding(options, pad_id, model.folder)?;
        let corpus = self.corpus()?;
        let mut samples = Vec::new();
        let mut sampler = Sampler {
            samples: &mut samples,
            era: options.era,
            length: options.max_seq_len,
            limit: options.max_samples,
            pad_id,
            use_attention_mask: options.use_attention_mask,
            padding,
        };
        cut(&corpus, &mut sampler, options, &model.special, texts.chat.as_ref())?;
        let straddling = corpus.straddling.load(Ordering::Relaxed);
        let is_masked = texts.chat.is_some() || options.loss_on == Some(LossOn::Completion);
        let mute = if is_masked { MuteSamples::LeftOut } else { MuteSamples::Kept };
        let samples = with_labels(samples, options, mute, events)?;
        let dataset = Dataset { samples, rows: rows.len() };
        if let Some(facts) = &texts.chat {
            if straddling > 0 {
                let message = "answers begin inside a token of their prompt, which is not learned";
                warn(events, format!("{straddling} {message}"));
            }
            events.emit(Event::Info { message: describe(facts, &dataset, texts.texts.len()) });
        }
        Ok(dataset)
    }
}

/// `messages, 1204 rows, loss on assistant (38 % of the tokens)`.
fn describe(facts: &ChatFacts, dataset: &Dataset, rows: usize) -> String {
    let tokens: usize = dataset.samples.iter().map(Sample::real_tokens).sum();
    let labels =
        dataset.samples.iter().flat_map(|sample| &sample.labels).filter(|label| **label != IGNORED).count();
    let by = match facts.answers_by {
        Some(AnswersBy::Marks) => " by the template's marks",
        Some(AnswersBy::Prefix) | None => "",
    };
    let share = 100.0 * labels as f64 / tokens.max(1) as f64;
    let (format, loss_on) = (facts.found.format.name(), facts.loss_on.name());
    format!("{format}, {rows} rows, loss on {loss_on}{by} ({share:.0} % of the tokens)")
}

/// What becomes of samples of which nothing counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MuteSamples {
    Kept,
    LeftOut,
}

/// Where only completions count, leaves out the samples without one.
///
/// # Errors
/// [`DataError::NoLabels`]: no sample has a label that counts.
fn with_labels(
    mut samples: Vec<Sample>,
    options: &TextGeneration,
    mute: MuteSamples,
    events: &dyn EventSink,
) -> Result<Vec<Sample>> {
    let all = samples.len();
    if let Some(wanted) = options.max_samples.filter(|&n| all < n) {
        warn(events, format!("{all} samples instead of `max_samples` {wanted}: the data gives no more"));
    }
    // The first label of a sample is never predicted.
    let counts = |sample: &Sample| sample.labels.iter().skip(1).any(|&label| label != IGNORED);
    if mute == MuteSamples::LeftOut {
        samples.retain(counts);
        let mute = all - samples.len();
        if mute > 0 && mute < all {
            let message = "samples have no completion, or none within `max_seq_len`, and are left out";
            warn(events, format!("{mute} of {all} {message}"));
        }
    }
    if !samples.iter().any(counts) {
        return Err(DataError::NoLabels { samples: samples.len() }.into());
    }
    Ok(samples)
}

/// Cuts samples by the strategy of `options`.
fn cut(
    corpus: &Corpus<'_>,
    sampler: &mut Sampler<'_>,
    options: &TextGeneration,
    tokens: &SpecialTokens,
    chat: Option<&ChatFacts>,
) -> Result<()> {
    let (rows, block) = (corpus.rows.len(), options.max_seq_len);
    let batch = options.processing_batch_size;
    let samples = options.max_samples.unwrap_or(0);
    let mut random = PythonRandom::new(options.random_seed.unwrap_or(0));
    let truncation = Truncation {
        side: tokens.truncation_side,
        drop_short: options.drop_short_sequences,
        drop_mute: chat.is_some(),
    };
    let joined = |tokens: usize, sampler: &Sampler<'_>| match &sampler.samples[..] {
        [] => Err(DataError::TooFewTokens { rows, tokens, block }.into()),
        [_, ..] => Ok(()),
    };
    let lengths = match options.strategy {
        Strategy::Join => return joined(joining::join(corpus, sampler, block, batch)?, sampler),
        Strategy::JoinSlidingWindow => {
            let step = options.stride.unwrap_or(block);
            return joined(joining::join(corpus, sampler, step, batch)?, sampler);
        }
        Strategy::JoinRandom => {
            let retries = options.random_retries;
            let tokens = joining::join_random(corpus, sampler, samples, &mut random, retries, batch)?;
            return joined(tokens, sampler);
        }
        Strategy::Pack => packing::pack(corpus, sampler, &truncation, batch)?,
        Strategy::LineByLine => lines::in_order(corpus, sampler, &truncation, batch)?,
        Strategy::LineByLineRandom => {
            lines::at_random(corpus, sampler, &truncation, samples, &mut random, options)?
        }
    };
    warn_of_lengths(&lengths, options, chat, corpus.events);
    match (sampler.samples.is_empty(), lengths.longest) {
        (false, _) => Ok(()),
        (true, 1..) if lengths.mute > 0 => Err(DataError::NoLabels { samples: rows }.into()),
        (true, 0) => Err(DataError::AllEmpty { rows }.into()),
        (true, longest) => Err(DataError::AllShort { rows, block, longest }.into()),
    }
}

/// What was lost of rows that are empty or too long.
fn warn_of_lengths(
    lengths: &RowLengths,
    options: &TextGeneration,
    chat: Option<&ChatFacts>,
    events: &dyn EventSink,
) {
    let RowLengths { rows, longest, cut, empty, mute, answers_cut } = *lengths;
    if empty > 0 {
        warn(events, format!("{empty} samples have not a single token and are left out"));
    }
    if mute > 0 {
        warn(
            events,
            format!("{mute} of {rows} rows have no answer, or none within `max_seq_len`, and are left out"),
        );
    }
    if cut > 0 {
        let what = if options.strategy == Strategy::Pack { "rows" } else { "samples" };
        let limit = options.max_seq_len;
        let answers = match chat {
            Some(_) => format!(" ({answers_cut} answers lose their end, or are lost)"),
            None => String::new(),
        };
        let lost = format!(
            "longer than `max_seq_len` ({limit}) and are cut{answers}; the longest has {longest} tokens"
        );
        warn(events, format!("{cut} of {rows} {what} are {lost}"));
    }
}
