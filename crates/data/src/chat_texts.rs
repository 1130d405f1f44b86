//! The texts of rows that are conversations.

use crate::chat::{Answers, ChatReader, ChatRow, Conversation, Counted, FoundFormat};
use crate::chat_template::ChatTemplate;
use crate::completion;
use crate::error::DataError;
use crate::row_fault::RowFault;
use crate::rows::Rows;
use crate::text_model::TextModel;
use crate::texts::{Framing, Text, chat_template};
use crate::value::Value;
use chrono::NaiveDate;
use olive_config::canonical::{AnswersBy, BadRows, ChatSource, LossOn, RowFormat, TextGeneration};
use olive_core::Result;
use olive_core::cancel::CancelFlag;
use rayon::prelude::*;

/// What became of the rows.
#[derive(Debug)]
pub(super) struct ChatTexts {
    pub texts: Vec<Text>,
    /// Rows that cannot be trained on exactly.
    pub bad: Vec<(usize, RowFault)>,
    pub facts: ChatFacts,
}

/// What was found, and what was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatFacts {
    pub found: FoundFormat,
    pub loss_on: LossOn,
    /// How answers are told, where that is asked.
    pub answers_by: Option<AnswersBy>,
    /// Rows in which somebody says the text of a special token, which becomes that token.
    pub saying_marks: usize,
    /// The chat template prints the day on which it runs.
    pub depends_on_the_day: bool,
}

/// Where the texts come from.
pub(super) struct ChatInput<'a> {
    pub rows: &'a Rows,
    pub source: &'a ChatSource,
    pub options: &'a TextGeneration,
    pub model: &'a TextModel<'a>,
    pub cancel: &'a CancelFlag,
}

impl ChatInput<'_> {
    /// The texts of all rows that have one.
    ///
    /// # Errors
    /// The columns fit no format, the template cannot be used, or rows are bad and not to be skipped.
    pub(super) fn texts(&self) -> Result<ChatTexts> {
        let made = self.all()?;
        stop_at(&made.bad, self.rows, self.options)?;
        Ok(made)
    }

    /// The same, whatever is to become of bad rows.
    ///
    /// # Errors
    /// The columns fit no format, or the template cannot be used.
    pub(super) fn all(&self) -> Result<ChatTexts> {
        let reader = ChatReader::new(self.rows, self.source)?;
        let template = self.template(reader.found.format)?;
        let loss_on = self.loss_on(reader.found.format);
        let answers_by = answers_by(self.options, loss_on, template.as_ref())?;
        let variables = &self.options.chat.template_variables;
        let variables: Vec<_> =
            variables.iter().map(|(name, value)| (name.clone(), Value::from(value))).collect();
        let marks = self.model.special.marks(&self.model.tokenizer);
        let rendering = Rendering {
            answers: template.as_ref().map(|template| Answers {
                template,
                loss_on: if self.options.response_template.is_some() { LossOn::All } else { loss_on },
                by: answers_by.unwrap_or(AnswersBy::Prefix),
                marks: &marks,
                variables: &variables,
            }),
            loss_on,
            input: self,
        };
        let row = |row: usize| {
            if self.cancel.is_raised() {
                return None;
            }
            Some(reader.read(row).and_then(|read| {
                let says_marks =
                    read.contents().any(|content| marks.iter().any(|mark| content.contains(mark.as_str())));
                Ok((rendering.text(row, read)?, says_marks))
            }))
        };
        let all: Vec<_> = (0..self.rows.len()).into_par_iter().filter_map(row).collect();
        self.cancel.check()?;
        let (mut texts, mut bad, mut saying_marks) = (Vec::with_capacity(all.len()), Vec::new(), 0);
        for (row, outcome) in all.into_iter().enumerate() {
            match outcome {
                Ok((text, says_marks)) => {
                    saying_marks += usize::from(says_marks);
                    texts.push(text);
                }
                Err(fault) => bad.push((row, fault)),
            }
        }
        let depends_on_the_day = template.as_ref().is_some_and(|template| template.asks_the_date);
        let facts = ChatFacts { found: reader.found, loss_on, answers_by, saying_marks, depends_on_the_day };
        Ok(ChatTexts { texts, bad, facts })
    }

    /// What counts where nothing is said.
    fn loss_on(&self, format: RowFormat) -> LossOn {
        let usual = match format {
            RowFormat::PromptCompletion => LossOn::Completion,
            RowFormat::Auto | RowFormat::Messages | RowFormat::ShareGpt | RowFormat::Alpaca => {
                LossOn::Assistant
            }
        };
        self.options.loss_on.unwrap_or(usual)
    }

    /// The template; texts with a completion need none.
    fn template(&self, format: RowFormat) -> Result<Option<ChatTemplate>> {
        let template =
            match chat_template(self.source.template.as_deref(), &self.model.special, self.model.folder) {
                Err(error)
                    if format == RowFormat::PromptCompletion
                        && matches!(error.downcast_ref(), Some(DataError::NoChatTemplate { .. })) =>
                {
                    return Ok(None);
                }
                template => template?,
            };
        Ok(Some(match template_date(self.options)? {
            None => template,
            Some(day) => template.on(day),
        }))
    }
}

/// Whether the rows are conversations, as far as that can be said without a template.
///
/// # Errors
/// The columns fit no format, or [`DataError::BadRow`].
pub(super) fn check_without_model(rows: &Rows, source: &ChatSource, options: &TextGeneration) -> Result<()> {
    let reader = ChatReader::new(rows, source)?;
    let faults = (0..rows.len()).into_par_iter().filter_map(|row| Some((row, reader.read(row).err()?)));
    let bad: Vec<(usize, RowFault)> = faults.collect();
    stop_at(&bad, rows, options)
}

/// The format of rows that are conversations.
///
/// # Errors
/// The columns fit none, or several.
pub(super) fn format(rows: &Rows, source: &ChatSource) -> Result<RowFormat> {
    Ok(ChatReader::new(rows, source)?.found.format)
}

/// # Errors
/// [`DataError::BadRow`]: some are bad, and not to be skipped.
fn stop_at(bad: &[(usize, RowFault)], rows: &Rows, options: &TextGeneration) -> Result<()> {
    match (bad.first(), options.chat.bad_rows) {
        (Some((row, fault)), BadRows::Stop) => Err(DataError::BadRow {
            location: rows.location(*row),
            fault: fault.clone(),
            bad: bad.len(),
            rows: rows.len(),
        }
        .into()),
        (None, _) | (_, BadRows::Skip) => Ok(()),
    }
}

/// The day that templates take for today, if it is given.
///
/// # Errors
/// [`DataError::TemplateDate`].
pub(super) fn template_date(options: &TextGeneration) -> std::result::Result<Option<NaiveDate>, DataError> {
    let Some(date) = &options.chat.template_date else { return Ok(None) };
    let day = NaiveDate::parse_from_str(date, "%Y-%m-%d");
    day.map(Some).map_err(|_| DataError::TemplateDate { date: date.clone() })
}

/// How answers are told from prompts.
fn answers_by(
    options: &TextGeneration,
    loss_on: LossOn,
    template: Option<&ChatTemplate>,
) -> std::result::Result<Option<AnswersBy>, DataError> {
    let Some(template) = template.filter(|_| loss_on == LossOn::Assistant) else { return Ok(None) };
    match options.chat.answers_by {
        None if template.has_marks() => Ok(Some(AnswersBy::Marks)),
        None => Ok(Some(AnswersBy::Prefix)),
        Some(AnswersBy::Marks) if !template.has_marks() => Err(DataError::Options(
            "`answers_by` is `marks`, and the chat template has none",
            "leave it out, or give a template with `{% generation %}` in `chat_template`",
        )),
        asked => Ok(asked),
    }
}

impl ChatRow {
    fn contents(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        match self {
            ChatRow::Conversation(Conversation { turns, .. }) => {
                Box::new(turns.iter().map(|turn| turn.content.as_str()))
            }
            // These have no marks of turns that somebody could put into them.
            ChatRow::Pair { .. } => Box::new(std::iter::empty()),
        }
    }
}

/// What makes texts of what rows say.
struct Rendering<'a> {
    /// `None`: there is no template.
    answers: Option<Answers<'a>>,
    loss_on: LossOn,
    input: &'a ChatInput<'a>,
}

impl Rendering<'_> {
    fn text(&self, row: usize, read: ChatRow) -> std::result::Result<Text, RowFault> {
        let mut text = match read {
            ChatRow::Conversation(conversation) => {
                let answers = self
                    .answers
                    .as_ref()
                    .ok_or_else(|| RowFault::Refused { reason: "the tokenizer has none".into() })?;
                let (text, counted) = answers.of(&conversation)?;
                Text { row, text, counted, framing: Framing::AsItIs }
            }
            ChatRow::Pair { prompt, completion } => self.pair(row, prompt, &completion),
        };
        if let Some(marker) = &self.input.options.response_template
            && self.loss_on == LossOn::Completion
        {
            text.counted = Counted::Reaching(completion::after(&text.text, marker));
        }
        Ok(text)
    }

    /// Prompt and completion one after the other, with the end of text that the model is to learn.
    fn pair(&self, row: usize, prompt: String, completion: &str) -> Text {
        let asked = prompt.len();
        let mut text = prompt + completion;
        let framing =
            if self.input.options.add_special_tokens { Framing::ByTokenizer } else { Framing::AsItIs };
        if let Some(eos) = self.input.model.special.eos.as_deref().filter(|_| framing == Framing::ByTokenizer)
            && !text.ends_with(eos)
        {
            text.push_str(eos);
        }
        let counted = match self.loss_on {
            LossOn::All => Counted::All,
            LossOn::Completion | LossOn::Assistant | LossOn::Last => {
                Counted::with_weights(std::iter::once(asked..text.len()), &[])
            }
        };
        Text { row, text, counted, framing }
    }
}
