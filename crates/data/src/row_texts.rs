//! The texts of rows of any kind, and what is odd about them.

use crate::chat::looks_like_chat;
use crate::chat_texts::{ChatFacts, ChatInput};
use crate::row_fault::RowFault;
use crate::row_source::RowSource;
use crate::rows::Rows;
use crate::text_model::TextModel;
use crate::texts::{self, PlainSource, Text};
use olive_config::canonical::{Strategy, TextGeneration, TextSource};
use olive_core::Result;
use olive_core::cancel::CancelFlag;
use olive_core::event::{Event, EventSink};

/// The texts of rows, and what was found out about conversations.
pub(super) struct RowTexts {
    pub texts: Vec<Text>,
    pub chat: Option<ChatFacts>,
    /// Rows that cannot be trained on exactly, and are left out.
    pub bad: Vec<(usize, RowFault)>,
}

impl RowTexts {
    /// Makes the texts of all rows.
    ///
    /// # Errors
    /// What is wrong with a row or with the template.
    pub(super) fn of(
        rows: &Rows,
        options: &TextGeneration,
        model: &TextModel<'_>,
        events: &dyn EventSink,
        cancel: &CancelFlag,
    ) -> Result<RowTexts> {
        match RowSource::of(&options.source, rows) {
            RowSource::Chat(source) => {
                let made = ChatInput { rows, source: &source, options, model, cancel }.texts()?;
                if let Some((row, fault)) = made.bad.first() {
                    let (bad, location) = (made.bad.len(), rows.location(*row));
                    let left_out = format!("{bad} of {} rows are left out", rows.len());
                    warn(events, format!("{left_out}; the first is {location}: {fault}"));
                }
                warn_of_chat(&made.facts, options, events);
                Ok(RowTexts { texts: made.texts, chat: Some(made.facts), bad: made.bad })
            }
            RowSource::Plain(source) => {
                let texts = plain_texts(rows, &source, options, model, events, cancel)?;
                Ok(RowTexts { texts, chat: None, bad: Vec::new() })
            }
        }
    }
}

fn plain_texts(
    rows: &Rows,
    source: &PlainSource<'_>,
    options: &TextGeneration,
    model: &TextModel<'_>,
    events: &dyn EventSink,
    cancel: &CancelFlag,
) -> Result<Vec<Text>> {
    let tokens = &model.special;
    let texts = texts::texts(rows, source, options, tokens, model.folder, cancel)?;
    let left_out = rows.len() - texts.len();
    if left_out > 0 && !texts.is_empty() {
        let what = "have an empty text, or no value for their template, and are left out";
        warn(events, format!("{left_out} of {} rows {what}", rows.len()));
    }
    let doubly_marked = texts::doubly_marked(&texts, tokens);
    if options.add_special_tokens && doubly_marked > 0 {
        let (bos, eos) = (tokens.bos.as_deref().unwrap_or(""), tokens.eos.as_deref().unwrap_or(""));
        let message = format!(
            "{doubly_marked} of {} texts begin with `{bos}` or end with `{eos}` already, and `add_special_tokens` puts these \
             around every text once more: set it to false, or leave them out of the text",
            texts.len()
        );
        warn(events, message);
    }
    if matches!(options.source, TextSource::Undescribed(_)) && looks_like_chat(rows) {
        let message =
            "the column `text` is trained on; the conversations beside it are not, unless `format` says so";
        warn(events, message.into());
    }
    Ok(texts)
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

pub(super) fn warn(events: &dyn EventSink, message: String) {
    events.emit(Event::Warning { message });
}
