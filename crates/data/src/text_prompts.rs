//! Texts as prompts with the answers to them.

use crate::answer_row::AnswerRow;
use crate::chat::Counted;
use crate::chat_texts::ChatInput;
use crate::prepare::rows_of;
use crate::row_source::RowSource;
use crate::text_model::TextModel;
use crate::texts::{self, Framing, Text};
use olive_config::canonical::{
    BadRows, ChatOptions, ChatSource, DataConfig, LossOn, RowFormat, TextGeneration, TextSource,
};
use olive_core::Result;
use olive_core::cancel::CancelFlag;
use olive_model::ModelFolder;
use std::borrow::Cow;

/// The first `most` texts of a data configuration that are prompts with answers to them. The texts are those of training, up to
/// the answer, and spell their special tokens out. Where neither a conversation nor `response_template` tells what the answer
/// is, it is the last field of a text template, or the last of several columns.
///
/// # Errors
/// What is wrong with a file or a row.
pub fn text_prompts(config: &DataConfig, model: &ModelFolder, most: usize) -> Result<Vec<AnswerRow>> {
    let (rows, model) = (rows_of(config)?, TextModel::open(model)?);
    let options = &config.pre_process;
    let source = match &options.source {
        TextSource::ChatTemplate { source, message_col } => Cow::Owned(TextSource::Chat(ChatSource {
            format: RowFormat::Messages,
            template: source.clone(),
            message_col: Some(message_col.clone()),
        })),
        source => Cow::Borrowed(source),
    };
    match RowSource::of(&source, &rows) {
        RowSource::Plain(source) => texts::prompts(&rows, &source, options, &model, most),
        RowSource::Chat(source) => {
            let options = TextGeneration {
                // What is trained on whole has answers as well.
                loss_on: options.loss_on.filter(|loss_on| *loss_on != LossOn::All),
                chat: ChatOptions { bad_rows: BadRows::Skip, ..options.chat.clone() },
                ..options.clone()
            };
            let cancel = CancelFlag::default();
            let input =
                ChatInput { rows: &rows, source: &source, options: &options, model: &model, cancel: &cancel };
            let texts = input.all()?.texts;
            let bos = model.special.bos.as_deref();
            Ok(texts.iter().filter_map(|text| first_answer(text, bos)).take(most).collect())
        }
    }
}

/// What stands before the first part of a text that counts, and that part.
fn first_answer(text: &Text, bos: Option<&str>) -> Option<AnswerRow> {
    let answer = match &text.counted {
        Counted::All => None,
        Counted::Reaching(ranges) => ranges.first().cloned(),
        Counted::Beginning(spans) => spans.first().map(|span| span.bytes.clone()),
    }?;
    let bos = bos.filter(|_| text.framing == Framing::ByTokenizer).unwrap_or_default();
    let prompt = format!("{bos}{}", &text.text[..answer.start]);
    AnswerRow { prompt, answer: text.text[answer].to_owned() }.with_both()
}
