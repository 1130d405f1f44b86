//! The text of every row, by chat template, text template or columns.

use crate::answer_row::AnswerRow;
use crate::chat::Counted;
use crate::chat_template::{ChatTemplate, GenerationPrompt};
use crate::completion;
use crate::error::DataError;
use crate::python_text;
use crate::rows::Rows;
use crate::special_tokens::SpecialTokens;
use crate::template::Template;
use crate::text_model::TextModel;
use crate::value::Value;
use olive_config::canonical::{Era, LossOn, TextColumn, TextGeneration};
use olive_core::Result;
use olive_core::cancel::CancelFlag;
use olive_model::ModelFolder;
use rayon::prelude::*;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A text and the row it was made of.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Text {
    pub row: usize,
    pub text: String,
    /// What of it counts in the loss.
    pub counted: Counted,
    pub framing: Framing,
}

/// What stands around a text when it becomes tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// Nothing.
    AsItIs,
    /// The special tokens that the tokenizer puts around every text.
    ByTokenizer,
}

/// The texts of `rows`, with special tokens if asked for. Since Olive 0.7, texts that are empty even then are left
/// out; so are rows without a value for their template, where only what follows a marker counts.
pub(super) fn texts(
    rows: &Rows,
    source: &PlainSource<'_>,
    options: &TextGeneration,
    tokens: &SpecialTokens,
    model: &ModelFolder,
    cancel: &CancelFlag,
) -> Result<Vec<Text>> {
    let source = CompiledSource::new(rows, source, tokens, model)?;
    // A chat template inserts what it needs itself.
    let add = options.add_special_tokens && !matches!(source, CompiledSource::Chat { .. });
    let text = |row: usize| -> std::result::Result<Option<Text>, DataError> {
        // `None` would be what is learned.
        if options.loss_on == Some(LossOn::Completion) && source.lacks_value(rows, row) {
            return Ok(None);
        }
        let text = source.text(rows, row)?;
        let text = if add { surround(text, tokens) } else { text };
        if options.era != Era::Old && text.is_empty() {
            return Ok(None);
        }
        let counted = match (options.loss_on, &options.response_template) {
            (None | Some(LossOn::All), _) => Counted::All,
            (Some(LossOn::Completion), Some(marker)) => Counted::Reaching(completion::after(&text, marker)),
            (Some(LossOn::Completion | LossOn::Assistant | LossOn::Last), _) => {
                return Err(DataError::Options(
                    "what counts in the loss is not said",
                    "give `response_template`, or `format` for conversations",
                ));
            }
        };
        Ok(Some(Text { row, text, counted, framing: Framing::AsItIs }))
    };
    // Rows before one that fails are still looked at, so that the error is the first row's, whichever thread is faster.
    let failed = AtomicUsize::new(usize::MAX);
    let text = |row: usize| {
        if row > failed.load(Ordering::Relaxed) || cancel.is_raised() {
            return None;
        }
        let text = text(row);
        if text.is_err() {
            failed.fetch_min(row, Ordering::Relaxed);
        }
        text.transpose()
    };
    let texts: Vec<_> = (0..rows.len()).into_par_iter().filter_map(text).collect();
    cancel.check()?;
    Ok(texts.into_iter().collect::<std::result::Result<_, _>>()?)
}

/// The texts of some rows as prompts with their answers, until there are `most`: what comes before the last part that
/// `response_template` marks, with the special token that begins texts, and that part. Without it, the last field of a text
/// template is taken for the answer, or the last of several columns.
pub(super) fn prompts(
    rows: &Rows,
    source: &PlainSource<'_>,
    options: &TextGeneration,
    model: &TextModel<'_>,
    most: usize,
) -> Result<Vec<AnswerRow>> {
    let source = CompiledSource::new(rows, source, &model.special, model.folder)?;
    let bos = model.special.bos.as_deref().filter(|_| options.add_special_tokens);
    let mut prompts = Vec::new();
    for row in 0..rows.len() {
        if prompts.len() == most {
            break;
        }
        let text = source.text(rows, row)?;
        let answer = match &options.response_template {
            Some(marker) => completion::after(&text, marker).pop(),
            None => source.answer(rows, row, &text)?,
        };
        let Some(answer) = answer else { continue };
        let prompt: Vec<&str> = bos.into_iter().chain([&text[..answer.start]]).collect();
        prompts.extend(AnswerRow { prompt: prompt.join(" "), answer: text[answer].to_owned() }.with_both());
    }
    Ok(prompts)
}

/// How many of the texts have one of the special tokens around them twice, as their rows bring it themselves.
pub(super) fn doubly_marked(texts: &[Text], tokens: &SpecialTokens) -> usize {
    let begins =
        |text: &str, bos: &str| text.strip_prefix(bos).is_some_and(|rest| rest.trim_start().starts_with(bos));
    let ends =
        |text: &str, eos: &str| text.strip_suffix(eos).is_some_and(|rest| rest.trim_end().ends_with(eos));
    let doubly = |text: &&Text| {
        tokens.bos.as_ref().is_some_and(|bos| begins(&text.text, bos))
            || tokens.eos.as_ref().is_some_and(|eos| ends(&text.text, eos))
    };
    texts.iter().filter(doubly).count()
}

/// A source of texts that are not conversations.
#[derive(Debug, Clone, Copy)]
pub(super) enum PlainSource<'o> {
    /// Messages as they are: Olive's own chat option.
    ChatTemplate {
        source: Option<&'o str>,
        message_col: &'o str,
    },
    Template(&'o str),
    Columns(&'o [String]),
    /// The one column that is taken where nothing is said.
    TextColumn,
}

impl PlainSource<'_> {
    /// The columns that texts are made of, and who needs them.
    ///
    /// # Errors
    /// [`DataError::Template`].
    pub(super) fn columns(&self) -> std::result::Result<Vec<(String, &'static str)>, DataError> {
        let (names, wanted_by) = match self {
            PlainSource::ChatTemplate { message_col, .. } => {
                (vec![(*message_col).to_owned()], "the chat template")
            }
            PlainSource::Template(text) => {
                let template = Template::parse(text)?;
                (template.columns().into_iter().map(str::to_owned).collect(), "the text template")
            }
            PlainSource::Columns(names) => (names.to_vec(), "`text_cols`"),
            PlainSource::TextColumn => (vec![TextColumn::NAME.to_owned()], "`text_cols`"),
        };
        Ok(names.into_iter().map(|name| (name, wanted_by)).collect())
    }
}

/// The chat template of this source, or the tokenizer's own.
pub(super) fn chat_template(
    source: Option<&str>,
    tokens: &SpecialTokens,
    model: &ModelFolder,
) -> Result<ChatTemplate> {
    let own = || DataError::NoChatTemplate { dir: model.dir.clone() };
    match source {
        Some(source) => Ok(ChatTemplate::new(source, tokens)?),
        None => ChatTemplate::from_folder(model)?.ok_or_else(|| own().into()),
    }
}

/// Olive puts the tokens' texts around the row's, with spaces between; a token that the tokenizer lacks is skipped.
fn surround(text: String, tokens: &SpecialTokens) -> String {
    let parts = [tokens.bos.as_deref(), Some(text.as_str()), tokens.eos.as_deref()];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// The value of a column that a template names, whose place is perhaps known.
fn value<'v>(
    rows: &'v Rows,
    row: usize,
    places: &[(String, usize)],
    name: &str,
) -> std::result::Result<&'v Value, DataError> {
    let place = match places.iter().find(|(known, _)| known == name) {
        Some(&(_, place)) => place,
        None => rows.require(name, "the text template")?,
    };
    Ok(&rows.values(row)[place])
}

/// A [`PlainSource`] whose template is parsed and whose columns are found.
enum CompiledSource {
    Chat { template: Box<ChatTemplate>, column: usize },
    Template { template: Template, places: Vec<(String, usize)> },
    Columns(Vec<usize>),
}

impl CompiledSource {
    fn new(
        rows: &Rows,
        source: &PlainSource<'_>,
        tokens: &SpecialTokens,
        model: &ModelFolder,
    ) -> Result<CompiledSource> {
        let columns = |names: &mut dyn Iterator<Item = &str>| -> std::result::Result<_, DataError> {
            let places = names.map(|name| rows.require(name, "`text_cols`"));
            Ok(CompiledSource::Columns(places.collect::<std::result::Result<_, _>>()?))
        };
        Ok(match source {
            PlainSource::ChatTemplate { source, message_col } => {
                let template = chat_template(*source, tokens, model)?;
                let column = rows.require(message_col, "the chat template")?;
                CompiledSource::Chat { template: Box::new(template), column }
            }
            PlainSource::Template(text) => {
                let template = Template::parse(text)?;
                let places = template
                    .columns()
                    .into_iter()
                    .map(|name| Ok((name.to_owned(), rows.require(name, "the text template")?)))
                    .collect::<std::result::Result<_, DataError>>()?;
                CompiledSource::Template { template, places }
            }
            PlainSource::Columns(names) => columns(&mut names.iter().map(String::as_str))?,
            PlainSource::TextColumn => columns(&mut std::iter::once(TextColumn::NAME))?,
        })
    }

    /// Bytes of `text`, which is that of this row, that answer what stands before them, as far as the source tells.
    fn answer(
        &self,
        rows: &Rows,
        row: usize,
        text: &str,
    ) -> std::result::Result<Option<Range<usize>>, DataError> {
        match self {
            CompiledSource::Chat { .. } => Ok(None),
            CompiledSource::Template { template, places } => {
                let column = |name: &str| value(rows, row, places, name);
                template.last_field(&column, &|| rows.location(row))
            }
            CompiledSource::Columns(places) => Ok(match &places[..] {
                [_, .., last] => {
                    // With the space before it, which is part of its first token.
                    let length = python_text::str(&rows.values(row)[*last]).len() + 1;
                    Some(text.len().saturating_sub(length)..text.len())
                }
                _ => None,
            }),
        }
    }

    /// Whether a column of a text template has no value in this row.
    fn lacks_value(&self, rows: &Rows, row: usize) -> bool {
        let CompiledSource::Template { places, .. } = self else { return false };
        places.iter().any(|(_, place)| rows.values(row)[*place] == Value::None)
    }

    fn text(&self, rows: &Rows, row: usize) -> std::result::Result<String, DataError> {
        let values = rows.values(row);
        let wrong = |column: usize, expected| DataError::ColumnType {
            location: rows.location(row),
            column: rows.columns[column].clone(),
            found: values[column].kind(),
            expected,
        };
        match self {
            CompiledSource::Chat { template, column } => {
                if !matches!(values[*column], Value::List(_)) {
                    return Err(wrong(*column, "a list of messages"));
                }
                template.render_value(&values[*column], GenerationPrompt::Omit).map_err(|error| match error {
                    DataError::Render { file, reason, .. } => {
                        DataError::Render { file, location: Some(rows.location(row)), reason }
                    }
                    other => other,
                })
            }
            CompiledSource::Template { template, places } => {
                let column = |name: &str| value(rows, row, places, name);
                template.format(&column, &|| rows.location(row))
            }
            CompiledSource::Columns(places) => {
                let mut texts = Vec::with_capacity(places.len());
                for &place in places {
                    let Value::Str(text) = &values[place] else { return Err(wrong(place, "text")) };
                    texts.push(text.as_str());
                }
                Ok(texts.join(" "))
            }
        }
    }
}
