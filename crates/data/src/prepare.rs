//! A data configuration to a dataset.

use crate::chat::looks_like_chat;
use crate::chat_texts::{self, ChatFacts, ChatInput};
use crate::corpus::{self, Corpus, JoinerLoss};
use crate::error::DataError;
use crate::files::inputs;
use crate::joining;
use crate::lines::{self, RowLengths, Truncation};
use crate::packing;
use crate::rows::{Rows, load_rows};
use crate::sample::{Dataset, IGNORED, Sample};
use crate::special_tokens::SpecialTokens;
use crate::strategy::Sampler;
use crate::template::Template;
use crate::texts::{self, PlainSource, Text};
use olive_arch::MOST_POSITIONS;
use olive_config::canonical::{
    AnswersBy, ChatSource, DataConfig, Era, LossOn, Strategy, TextColumn, TextGeneration, TextSource,
};
use olive_core::cancel::CancelFlag;
use olive_core::event::{Event, EventSink};
use olive_core::python_random::PythonRandom;
use olive_core::{Error, Result};
use olive_model::ModelFolder;
use std::borrow::Cow;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokenizers::Tokenizer;

/// Reads the rows of `config`, makes their texts, tokenises these with the tokenizer of `model` and cuts samples.
///
/// # Errors
/// What is wrong with the options, the files, a row or the amount of data; see [`DataError`].
pub fn prepare(
    config: &DataConfig,
    model: &ModelFolder,
    events: &dyn EventSink,
    cancel: &CancelFlag,
) -> Result<Dataset> {
    check(&config.pre_process)?;
    let rows = rows_of(config)?;
    cancel.check()?;
    prepare_rows(&rows, &config.pre_process, model, events, cancel)
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

/// Checks the options, before anything is read.
///
/// # Errors
/// [`DataError::Options`] or [`DataError::Template`].
pub fn check(options: &TextGeneration) -> std::result::Result<(), DataError> {
    let fail = |problem, hint| Err(DataError::Options(problem, hint));
    let lines = matches!(options.strategy, Strategy::LineByLine | Strategy::LineByLineRandom);
    let random = matches!(options.strategy, Strategy::LineByLineRandom | Strategy::JoinRandom);
    if options.max_seq_len == 0 {
        return fail("`max_seq_len` is 0", "give the length of a block in tokens");
    }
    if options.strategy == Strategy::JoinSlidingWindow {
        match options.stride {
            None => {
                return fail(
                    "the strategy join-sliding-window needs `stride`",
                    "give the number of tokens from the beginning of a block to that of the next",
                );
            }
            Some(stride) if stride == 0 || stride > options.max_seq_len => {
                return fail(
                    "`stride` must lie between 1 and `max_seq_len`",
                    "half of `max_seq_len` is usual",
                );
            }
            Some(_) => {}
        }
    }
    if random && options.max_samples.is_none() {
        return fail("the random strategies need `max_samples`", "give the number of samples to draw");
    }
    if random && options.random_seed.is_none() && options.era == Era::Old {
        return fail("the random strategies need `random_seed`", "give any whole number, for example 42");
    }
    if lines && options.pad_to_max_len && options.drop_short_sequences {
        return fail(
            "`pad_to_max_len` and `drop_short_sequences` cannot both be true",
            "set `pad_to_max_len` to false to drop short rows",
        );
    }
    if lines && options.pad_to_max_len && options.max_seq_len > MOST_POSITIONS {
        return fail(
            "`pad_to_max_len` fills every row to `max_seq_len`, which is longer than the context of any model",
            "set `max_seq_len` to at most the model's context, or `pad_to_max_len` to false",
        );
    }
    if lines && options.pad_to_max_len && !options.use_attention_mask {
        return fail(
            "`pad_to_max_len` needs `use_attention_mask`",
            "set `use_attention_mask` to true, or `pad_to_max_len` to false",
        );
    }
    if let TextSource::Template(text) = &options.source {
        Template::parse(text)?;
    }
    chat_texts::template_date(options)?;
    Ok(())
}

/// What rows are, once their columns are known.
enum RowSource<'o> {
    Plain(PlainSource<'o>),
    Chat(Cow<'o, ChatSource>),
}

impl RowSource<'_> {
    fn of<'o>(source: &'o TextSource, rows: &Rows) -> RowSource<'o> {
        RowSource::Plain(match source {
            TextSource::Chat(chat) => return RowSource::Chat(Cow::Borrowed(chat)),
            TextSource::Undescribed(_)
                if rows.column(TextColumn::NAME).is_none() && looks_like_chat(rows) =>
            {
                return RowSource::Chat(Cow::Owned(ChatSource::default()));
            }
            TextSource::Undescribed(_) => PlainSource::TextColumn,
            TextSource::ChatTemplate { source, message_col } => {
                PlainSource::ChatTemplate { source: source.as_deref(), message_col }
            }
            TextSource::Template(text) => PlainSource::Template(text),
            TextSource::Columns(names) => PlainSource::Columns(names),
        })
    }
}

/// Whether the rows have the columns that the options name, and where they are conversations, whether all can be trained on
/// exactly. Without a model it is not looked at what its template makes of them. Files that are not there are not looked for.
///
/// # Errors
/// [`DataError::MissingColumn`], [`DataError::BadRow`], or a file that cannot be read.
pub fn check_rows(config: &DataConfig, model: Option<&ModelFolder>) -> Result<()> {
    if inputs(&config.load).is_err() {
        return Ok(());
    }
    let rows = load_rows(&config.load)?;
    let options = &config.pre_process;
    match RowSource::of(&options.source, &rows) {
        RowSource::Plain(source) => {
            for (column, wanted_by) in source.columns()? {
                rows.require(&column, wanted_by)?;
            }
            Ok(())
        }
        RowSource::Chat(source) => match model {
            None => chat_texts::check_without_model(&rows, &source, options),
            Some(model) => {
                let (tokenizer, tokens) = (model.tokenizer()?, SpecialTokens::from_folder(model)?);
                let (source, tokenizer, tokens) = (&*source, &tokenizer, &tokens);
                let cancel = &CancelFlag::default();
                ChatInput { rows: &rows, source, options, tokens, tokenizer, model, cancel }.texts().map(drop)
            }
        },
    }
}

/// The format that rows are in, if they are conversations. `None` also where files are not there or fit no format.
pub fn row_format(config: &DataConfig) -> Option<&'static str> {
    let is_chat = matches!(config.pre_process.source, TextSource::Chat(_) | TextSource::Undescribed(_));
    if !is_chat || inputs(&config.load).is_err() {
        return None;
    }
    let rows = load_rows(&config.load).ok()?;
    match RowSource::of(&config.pre_process.source, &rows) {
        RowSource::Plain(_) => None,
        RowSource::Chat(source) => Some(chat_texts::format(&rows, &source).ok()?.name()),
    }
}

/// Whether the model can make tokens of texts: its tokenizer, its chat template if that is asked for, what it pads with.
///
/// # Errors
/// The tokenizer is missing or cannot be used so.
pub fn check_model(options: &TextGeneration, model: &ModelFolder) -> Result<()> {
    let tokenizer = model.tokenizer()?;
    let tokens = SpecialTokens::from_folder(model)?;
    if let TextSource::ChatTemplate { source, .. } = &options.source {
        texts::chat_template(source.as_deref(), &tokens, model)?;
    }
    check_padding(options, tokens.pad_id(&tokenizer), model)
}

/// Padded rows need a token to pad with.
fn check_padding(options: &TextGeneration, pad_id: Option<u32>, model: &ModelFolder) -> Result<()> {
    let by_line = matches!(options.strategy, Strategy::LineByLine | Strategy::LineByLineRandom);
    if by_line && options.pad_to_max_len && pad_id.is_none() {
        let reason = "it has neither a padding token nor an end of text to pad with";
        return Err(tokenizer_error(model, reason));
    }
    Ok(())
}

/// The texts of rows, and what was found out about conversations.
struct Made {
    texts: Vec<Text>,
    chat: Option<ChatFacts>,
}

/// Makes texts of rows, and tells what is odd about them.
fn make_texts(
    rows: &Rows,
    options: &TextGeneration,
    (model, tokenizer, tokens): (&ModelFolder, &Tokenizer, &SpecialTokens),
    events: &dyn EventSink,
    cancel: &CancelFlag,
) -> Result<Made> {
    match RowSource::of(&options.source, rows) {
        RowSource::Chat(source) => {
            let source = &*source;
            let made = ChatInput { rows, source, options, tokens, tokenizer, model, cancel }.texts()?;
            if let Some((row, fault)) = made.bad.first() {
                let (bad, location) = (made.bad.len(), rows.location(*row));
                let message =
                    format!("{bad} of {} rows are left out; the first is {location}: {fault}", rows.len());
                warn(events, message);
            }
            warn_of_chat(&made.facts, options, events);
            Ok(Made { texts: made.texts, chat: Some(made.facts) })
        }
        RowSource::Plain(source) => {
            let texts = texts::texts(rows, &source, options, tokens, model, cancel)?;
            let left_out = rows.len() - texts.len();
            if left_out > 0 && !texts.is_empty() {
                warn(
                    events,
                    format!("{left_out} of {} rows have an empty text and are left out", rows.len()),
                );
            }
            let doubly_marked = texts::doubly_marked(&texts, tokens);
            if options.add_special_tokens && doubly_marked > 0 {
                let (bos, eos) = (tokens.bos.as_deref().unwrap_or(""), tokens.eos.as_deref().unwrap_or(""));
                let message = format!(
                    "{doubly_marked} of {} texts begin with `{bos}` or end with `{eos}` already, and `add_special_tokens` puts \
                     these around every text once more: set it to false, or leave them out of the text",
                    texts.len()
                );
                warn(events, message);
            }
            if matches!(options.source, TextSource::Undescribed(_)) && looks_like_chat(rows) {
                let message = "the column `text` is trained on; the conversations beside it are not, unless `format` says so";
                warn(events, message.into());
            }
            Ok(Made { texts, chat: None })
        }
    }
}

/// What is odd about conversations.
fn warn_of_chat(facts: &ChatFacts, options: &TextGeneration, events: &dyn EventSink) {
    if facts.found.ignores_text {
        warn(events, "the column `text` is not used: the rows are conversations".into());
    }
    if facts.saying_marks > 0 {
        let rows = facts.saying_marks;
        warn(
            events,
            format!("in {rows} rows somebody says the text of a special token, which becomes that token"),
        );
    }
    if facts.depends_on_the_day {
        let message = "the chat template prints today's date: give `template_date`, so that rows are the same every day";
        warn(events, message.into());
    }
    if !matches!(options.strategy, Strategy::Pack | Strategy::LineByLine | Strategy::LineByLineRandom) {
        let message = "conversations are joined and cut anywhere, so that answers lose their questions: `strategy: pack` keeps \
                       them whole";
        warn(events, message.into());
    }
}

fn prepare_rows(
    rows: &Rows,
    options: &TextGeneration,
    model: &ModelFolder,
    events: &dyn EventSink,
    cancel: &CancelFlag,
) -> Result<Dataset> {
    let tokenizer = model.tokenizer()?;
    let tokens = SpecialTokens::from_folder(model)?;
    let Made { texts, chat } = make_texts(rows, options, (model, &tokenizer, &tokens), events, cancel)?;
    if texts.is_empty() {
        return Err(DataError::AllEmpty { rows: rows.len() }.into());
    }
    let joiner = match &options.joiner {
        Some(text) => {
            let counts = chat.is_none() && matches!(options.loss_on, None | Some(LossOn::All));
            let loss = if counts { JoinerLoss::Counts } else { JoinerLoss::Ignored };
            corpus::joiner(&tokenizer, text, loss).map_err(|e| tokenizer_error(model, &e))?
        }
        None => Vec::new(),
    };
    let pad_id = tokens.pad_id(&tokenizer);
    let padding = options.pad_to_max_len.then(|| options.padding_side.unwrap_or(tokens.padding_side));
    check_padding(options, pad_id, model)?;

    let vocabulary = [&model.config["vocab_size"], &model.config["text_config"]["vocab_size"]]
        .into_iter()
        .find_map(|size| usize::try_from(size.as_u64()?).ok());
    let straddling = AtomicUsize::new(0);
    let corpus =
        Corpus { rows, texts: &texts, tokenizer: &tokenizer, vocabulary, joiner, straddling, events, cancel };
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
    cut(&corpus, &mut sampler, options, &tokens, chat.as_ref())?;
    let straddling = corpus.straddling.load(Ordering::Relaxed);
    let masked = chat.is_some() || matches!(options.loss_on, Some(LossOn::Completion));
    let samples = with_labels(samples, options, masked, events)?;
    let dataset = Dataset { samples, rows: rows.len() };
    if let Some(facts) = chat {
        if straddling > 0 {
            let message = "answers begin inside a token of their prompt, which is not learned";
            warn(events, format!("{straddling} {message}"));
        }
        events.emit(Event::Info { message: describe(&facts, &dataset, texts.len()) });
    }
    Ok(dataset)
}

/// `messages, 1204 rows, loss on assistant (38 % of the tokens)`.
fn describe(facts: &ChatFacts, dataset: &Dataset, rows: usize) -> String {
    let real = |sample: &Sample| {
        sample
            .attention_mask
            .as_ref()
            .map_or(sample.labels.len(), |mask| mask.iter().filter(|real| **real != 0).count())
    };
    let tokens: usize = dataset.samples.iter().map(real).sum();
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

/// Where only completions count, leaves out the samples without one.
///
/// # Errors
/// [`DataError::NoLabels`]: no sample has a label that counts.
fn with_labels(
    mut samples: Vec<Sample>,
    options: &TextGeneration,
    masked: bool,
    events: &dyn EventSink,
) -> Result<Vec<Sample>> {
    let all = samples.len();
    if let Some(wanted) = options.max_samples.filter(|&n| all < n) {
        warn(events, format!("{all} samples instead of `max_samples` {wanted}: the data gives no more"));
    }
    // The first label of a sample is never predicted.
    let counts = |sample: &Sample| sample.labels.iter().skip(1).any(|&label| label != IGNORED);
    if masked {
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

fn warn(events: &dyn EventSink, message: String) {
    events.emit(Event::Warning { message });
}

fn tokenizer_error(model: &ModelFolder, reason: &str) -> Error {
    olive_model::ModelError::Tokenizer { path: model.dir.clone(), reason: reason.to_owned() }.into()
}
