//! `pre_process_data_config`: how rows become token blocks.

use super::data::{Components, RowUse};
use crate::data::{ChatSource, LossOn, RowFormat, Strategy, TextColumn, TextGeneration, TextSource};
use crate::findings::Findings;
use crate::origin::Era;
use crate::values::Values;

/// The pre-processing that is Olive's own, and not somebody's Python.
const PRE_PROCESSING: [&str; 2] = ["text_generation_huggingface_pre_process", "huggingface_pre_process"];

impl Components<'_> {
    pub(super) fn text_generation(
        &self,
        values: &mut Values,
        rows: RowUse,
        era: Era,
        findings: &mut Findings,
    ) -> Option<TextGeneration> {
        if let Some(found) = self.pre.found("type") {
            let name = found.node.as_text().unwrap_or_default();
            if !PRE_PROCESSING.contains(&name.to_lowercase().as_str()) {
                let message = format!("there is no pre-processing `{name}`");
                let hint = "leave the type out for text generation";
                findings.error(found.node.at, &found.path, message, Some(hint.into()));
            }
        }
        let source = match rows {
            RowUse::Text => self.source(values, era, findings),
            RowUse::Columns => Some(TextSource::Columns(Vec::new())),
        };
        if matches!(source, Some(TextSource::Chat(_))) && !values.given("strategy") {
            // A conversation that is cut anywhere has answers without their questions.
            values.set("strategy", "pack".into());
        }
        let strategy: Strategy = values.choice("strategy").unwrap_or(Strategy::Join);
        let by_line = matches!(strategy, Strategy::LineByLine | Strategy::LineByLineRandom);
        let packs = strategy == Strategy::Pack;
        if rows == RowUse::Text {
            check_loss(values, source.as_ref(), findings);
        }
        let random = matches!(strategy, Strategy::LineByLineRandom | Strategy::JoinRandom);
        check_padding(values, by_line, findings);
        if random {
            self.check_draws(values, era, findings);
        }
        self.check_stride(values, strategy, findings);
        // Defaults without a meaning here would only clutter the plan.
        if by_line || packs {
            values.hide(&["joiner"]);
        }
        if !by_line {
            values.hide(&["pad_to_max_len", "padding_side", "drop_short_sequences"]);
        }
        if !random {
            values.hide(&["random_seed", "random_retries"]);
        }
        if !matches!(source, Some(TextSource::ChatTemplate { .. })) {
            values.hide(&["message_col"]);
        }
        if !matches!(source, Some(TextSource::Chat(_) | TextSource::Undescribed(_))) {
            values.hide(&["bad_rows"]);
            let given = ["answers_by", "bad_rows", "chat_template_kwargs", "template_date"];
            for name in given.into_iter().filter(|name| values.given(name)) {
                let message = format!("`{name}` is not used: it is an option of conversations, see `format`");
                values.warn(name, message, findings);
            }
        }
        values.attach("text_template", source?);
        Some(TextGeneration { era, ..TextGeneration::read(values)? })
    }

    /// Random strategies say how much they draw, and by which seed.
    fn check_draws(&self, values: &Values, era: Era, findings: &mut Findings) {
        if self.pre.lacks("max_samples") {
            let message = "a random strategy needs `max_samples`";
            values.error(
                "strategy",
                message,
                Some("`max_samples`: how many blocks to draw".into()),
                findings,
            );
        }
        if self.pre.lacks("random_seed") {
            match era {
                Era::Old => values.error("strategy", "a random strategy needs `random_seed`", None, findings),
                Era::New => {
                    values.warn("strategy", "without `random_seed` the draws are those of seed 0", findings)
                }
            }
        }
    }

    fn check_stride(&self, values: &Values, strategy: Strategy, findings: &mut Findings) {
        let max_seq_len = values.usize("max_seq_len");
        let stride = values.positive("stride");
        match (strategy, stride) {
            (Strategy::JoinSlidingWindow, None) if self.pre.lacks("stride") => {
                let hint = "`stride`: by how many tokens the window moves, at most the block length";
                values.error("strategy", "a sliding window needs `stride`", Some(hint.into()), findings);
            }
            (Strategy::JoinSlidingWindow, Some(stride)) if max_seq_len > 0 && stride > max_seq_len => {
                let message = format!("the stride {stride} is longer than a block ({max_seq_len} tokens)");
                values.error("stride", message, None, findings);
            }
            _ => {}
        }
        if strategy != Strategy::JoinSlidingWindow && values.given("stride") {
            values.warn(
                "stride",
                "`stride` is not used: it belongs to the strategy join-sliding-window",
                findings,
            );
        }
    }

    fn source(&self, values: &mut Values, era: Era, findings: &mut Findings) -> Option<TextSource> {
        let chat = chat_asked_for(values);
        let template = match &values.get("chat_template").json {
            serde_json::Value::Null | serde_json::Value::Bool(false) => None,
            serde_json::Value::Bool(true) => Some(None),
            serde_json::Value::String(source) => Some(Some(source.clone())),
            _ => {
                values.error("chat_template", "expected true or a Jinja template", None, findings);
                return None;
            }
        };
        let message_col = values.text("message_col").unwrap_or_default().to_owned();
        match (template, chat) {
            (Some(source), None) => return Some(TextSource::ChatTemplate { source, message_col }),
            (Some(template), Some(ChatAsked::ByFormat(format))) => {
                let message_col = values.given("message_col").then_some(message_col);
                return Some(TextSource::Chat(ChatSource { format, template, message_col }));
            }
            (Some(template), Some(ChatAsked::ByLoss)) => {
                let (format, message_col) = (RowFormat::Messages, Some(message_col));
                return Some(TextSource::Chat(ChatSource { format, template, message_col }));
            }
            (None, _) => {}
        }
        if let Some(ChatAsked::ByFormat(format)) = chat {
            for name in ["text_template", "text_cols"].into_iter().filter(|name| values.given(name)) {
                let message = format!("`{name}` is not used: `format` says that rows are conversations");
                values.warn(name, message, findings);
            }
            return Some(self.conversations(values, format));
        }
        if let Some(template) = values.text("text_template").map(str::to_owned) {
            if template.trim().is_empty() {
                values.error("text_template", "the template is empty", None, findings);
            }
            // A template makes the default of `text_cols` meaningless.
            if !values.given("text_cols") {
                values.set("text_cols", serde_json::Value::Null);
            }
            return Some(TextSource::Template(template));
        }
        match values.texts("text_cols") {
            Some(_) if !values.given("text_cols") && chat.is_some() => {
                Some(self.conversations(values, RowFormat::Auto))
            }
            Some(_) if !values.given("text_cols") => Some(TextSource::Undescribed(TextColumn)),
            Some(columns) if !columns.is_empty() => Some(TextSource::Columns(columns)),
            _ => {
                if era == Era::Old && self.pre.lacks("text_cols") && self.pre.lacks("text_template") {
                    let message = "the text of a row is not described";
                    let hint = "give `text_template`, for example \"{Question} {Answer}\", or `text_cols`";
                    findings.error(self.pre.at, &self.pre.path, message, Some(hint.into()));
                } else if values.given("text_cols") {
                    values.error("text_cols", "there is no column in the list", None, findings);
                }
                None
            }
        }
    }

    /// Conversations with the tokenizer's own template.
    fn conversations(&self, values: &mut Values, format: RowFormat) -> TextSource {
        if !values.given("text_cols") {
            values.set("text_cols", serde_json::Value::Null);
        }
        let message_col = values.given("message_col").then(|| values.text("message_col")).flatten();
        TextSource::Chat(ChatSource { format, template: None, message_col: message_col.map(str::to_owned) })
    }
}

/// What says that rows are conversations.
#[derive(Clone, Copy)]
enum ChatAsked {
    ByFormat(RowFormat),
    /// There is something that only conversations have.
    ByLoss,
}

fn chat_asked_for(values: &Values) -> Option<ChatAsked> {
    let loss_on = values.choice("loss_on");
    let marked = values.text("response_template").is_some_and(|text| !text.is_empty());
    match (values.choice("format"), loss_on) {
        (Some(format), _) => Some(ChatAsked::ByFormat(format)),
        (None, Some(LossOn::Assistant | LossOn::Last)) => Some(ChatAsked::ByLoss),
        (None, Some(LossOn::Completion)) if !marked => Some(ChatAsked::ByLoss),
        (None, _) => None,
    }
}

/// Whether it can be told what counts.
fn check_loss(values: &Values, source: Option<&TextSource>, findings: &mut Findings) {
    let loss_on: Option<LossOn> = values.choice("loss_on");
    let marked = values.text("response_template").is_some_and(|text| !text.is_empty());
    let plain = matches!(source, Some(TextSource::Template(_) | TextSource::Columns(_)));
    match loss_on {
        Some(LossOn::Completion) if !marked && plain => {
            let message = "where a completion begins is not said";
            let hint =
                "give `response_template`, for example \"### Answer:\", or use `format` for conversations";
            values.error("loss_on", message, Some(hint.into()), findings);
        }
        Some(LossOn::Assistant | LossOn::Last) if plain => {
            let message = "only conversations have an assistant, and these rows are plain texts";
            let hint =
                "leave `text_template` and `text_cols` out; `format` says what the conversations look like";
            values.error("loss_on", message, Some(hint.into()), findings);
        }
        Some(LossOn::Completion) => {}
        Some(LossOn::All | LossOn::Assistant | LossOn::Last) | None if marked => {
            let message = "`response_template` is not used: `loss_on` is not `completion`";
            values.warn("response_template", message, findings);
        }
        Some(LossOn::All | LossOn::Assistant | LossOn::Last) | None => {}
    }
}

/// Whether padding goes with the other options.
fn check_padding(values: &Values, by_line: bool, findings: &mut Findings) {
    if by_line && values.bool("pad_to_max_len") && !values.bool("use_attention_mask") {
        let hint = "set `pad_to_max_len` to false, or leave `use_attention_mask` on";
        let message = "padded rows need an attention mask, and `use_attention_mask` is false";
        values.error("use_attention_mask", message, Some(hint.into()), findings);
    }
    if values.bool("drop_short_sequences")
        && values.bool("pad_to_max_len")
        && (by_line || values.given("pad_to_max_len"))
    {
        let message = "short rows cannot be both dropped and padded";
        let hint = "set `pad_to_max_len` to false";
        values.error("drop_short_sequences", message, Some(hint.into()), findings);
    }
}
