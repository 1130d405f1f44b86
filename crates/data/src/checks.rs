//! What can be said of a data configuration before anything is made of it.

use crate::chat_texts::{self, ChatInput};
use crate::error::DataError;
use crate::files::inputs;
use crate::row_source::RowSource;
use crate::rows::load_rows;
use crate::special_tokens::SpecialTokens;
use crate::template::Template;
use crate::text_model::{TextModel, tokenizer_error};
use crate::texts;
use olive_arch::MOST_POSITIONS;
use olive_config::canonical::{DataConfig, Era, Strategy, TextGeneration, TextSource};
use olive_core::Result;
use olive_core::cancel::CancelFlag;
use olive_model::ModelFolder;

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
            Some(folder) => {
                let (source, model, cancel) = (&*source, &TextModel::open(folder)?, &CancelFlag::default());
                ChatInput { rows: &rows, source, options, model, cancel }.texts().map(drop)
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
pub(super) fn check_padding(
    options: &TextGeneration,
    pad_id: Option<u32>,
    model: &ModelFolder,
) -> Result<()> {
    let by_line = matches!(options.strategy, Strategy::LineByLine | Strategy::LineByLineRandom);
    if by_line && options.pad_to_max_len && pad_id.is_none() {
        let reason = "it has neither a padding token nor an end of text to pad with";
        return Err(tokenizer_error(model, reason));
    }
    Ok(())
}
