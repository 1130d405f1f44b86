//! The text of every row, by chat template, text template or columns.

use crate::chat_template::{ChatTemplate, GenerationPrompt};
use crate::completion;
use crate::conversation;
use crate::error::DataError;
use crate::rows::Rows;
use crate::special_tokens::SpecialTokens;
use crate::template::Template;
use crate::value::Value;
use olive_config::canonical::{Era, LossOn, TextGeneration, TextSource};
use olive_core::Result;
use olive_core::cancel::CancelFlag;
use olive_model::ModelFolder;
use rayon::prelude::*;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A text and the row it was made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text {
    pub row: usize,
    pub text: String,
    /// Bytes that count in the loss; `None`: all.
    pub completions: Option<Vec<Range<usize>>>,
}

/// The texts of `rows`, with special tokens if asked for. Since Olive 0.7, texts that are empty even then are left out.
pub(super) fn texts(
    rows: &Rows,
    options: &TextGeneration,
    tokens: &SpecialTokens,
    model: &ModelFolder,
    cancel: &CancelFlag,
) -> Result<Vec<Text>> {
    let source = CompiledSource::new(rows, &options.source, tokens, model)?;
    // A chat template inserts what it needs itself.
    let add = options.add_special_tokens && !matches!(source, CompiledSource::Chat { .. });
    let text = |row: usize| -> std::result::Result<Option<Text>, DataError> {
        let text = source.text(rows, row)?;
        let text = if add { surround(text, tokens) } else { text };
        if options.era != Era::Old && text.is_empty() {
            return Ok(None);
        }
        let completions = match (options.loss_on, &options.response_template) {
            (LossOn::All, _) => None,
            (LossOn::Completion, Some(marker)) => Some(completion::after(&text, marker)),
            (LossOn::Completion, None) => Some(source.completions(rows, row, &text)?),
        };
        Ok(Some(Text { row, text, completions }))
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

/// The columns that texts are made of, and who needs them.
///
/// # Errors
/// [`DataError::Template`].
pub(super) fn columns(source: &TextSource) -> std::result::Result<Vec<(String, &'static str)>, DataError> {
    let (names, wanted_by) = match source {
        TextSource::ChatTemplate { message_col, .. } => (vec![message_col.clone()], "the chat template"),
        TextSource::Template(text) => {
            let template = Template::parse(text)?;
            (template.columns().into_iter().map(str::to_owned).collect(), "the text template")
        }
        TextSource::Columns(names) => (names.clone(), "`text_cols`"),
    };
    Ok(names.into_iter().map(|name| (name, wanted_by)).collect())
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

/// A [`TextSource`] whose template is parsed and whose columns are found.
enum CompiledSource {
    Chat { template: Box<ChatTemplate>, column: usize },
    Template { template: Template, places: Vec<(String, usize)> },
    Columns(Vec<usize>),
}

impl CompiledSource {
    fn new(
        rows: &Rows,
        source: &TextSource,
        tokens: &SpecialTokens,
        model: &ModelFolder,
    ) -> Result<CompiledSource> {
        Ok(match source {
            TextSource::ChatTemplate { source, message_col } => {
                let template = chat_template(source.as_deref(), tokens, model)?;
                let column = rows.require(message_col, "the chat template")?;
                CompiledSource::Chat { template: Box::new(template), column }
            }
            TextSource::Template(text) => {
                let template = Template::parse(text)?;
                let places = template
                    .columns()
                    .into_iter()
                    .map(|name| Ok((name.to_owned(), rows.require(name, "the text template")?)))
                    .collect::<std::result::Result<_, DataError>>()?;
                CompiledSource::Template { template, places }
            }
            TextSource::Columns(names) => CompiledSource::Columns(
                names
                    .iter()
                    .map(|n| rows.require(n, "`text_cols`"))
                    .collect::<std::result::Result<_, _>>()?,
            ),
        })
    }

    /// Byte ranges of `text` that count in the loss where no `response_template` tells: what the assistant says.
    fn completions(
        &self,
        rows: &Rows,
        row: usize,
        text: &str,
    ) -> std::result::Result<Vec<Range<usize>>, DataError> {
        let CompiledSource::Chat { template, column } = self else {
            return Err(DataError::Options(
                "`loss_on` is `completion`, and where it begins is not said",
                "give `response_template`, or use `chat_template`",
            ));
        };
        let Value::List(messages) = conversation::prepared(&rows.values(row)[*column]) else {
            return Ok(Vec::new());
        };
        completion::assistant(template, &messages, text)
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
                let column = |name: &str| match places.iter().find(|(n, _)| n == name) {
                    Some(&(_, place)) => Ok(&values[place]),
                    None => rows.require(name, "the text template").map(|place| &values[place]),
                };
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
