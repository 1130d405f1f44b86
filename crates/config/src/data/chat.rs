//! Rows that are conversations: what they look like, what of them counts, and what becomes of those that are broken.

use crate::choice;
use crate::options;
use crate::origin::Era;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use std::collections::BTreeMap;

options! {
    #[derive(Debug, Clone, PartialEq, Default, Serialize)]
    pub struct ChatOptions {
        CHAT {
            /// Rows are conversations in this format; `auto` finds it in the columns. Without it they are if there is no
            /// column `text`, and nothing else says what a row's text is.
            - "format" = <RowFormat as crate::OptionValue>::KIND, only(Era::New);
            /// What becomes of conversations that cannot be trained on exactly: they stop the run, or are left out.
            #[serde(skip_serializing_if = "is_default")]
            pub bad_rows: BadRows, only(Era::New), default("\"stop\"");
            /// How answers are told from prompts: by the template's `generation` marks, or by what it prints before and with
            /// every answer (`prefix`); null is by marks where the template has them.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub answers_by: Option<AnswersBy>, only(Era::New);
            /// Variables of the chat template: `{"enable_thinking": false}`. A row's own `chat_template_kwargs` come first.
            #[serde(skip_serializing_if = "BTreeMap::is_empty")]
            pub template_variables as "chat_template_kwargs": BTreeMap<String, Json>, only(Era::New);
            /// The day, as `2026-03-07`, that chat templates take for today.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub template_date: Option<String>, only(Era::New);
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What the columns of conversations are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum RowFormat {
    /// Told from the columns.
    #[default]
    Auto,
    /// Lists of messages with `role` and `content`.
    Messages,
    /// Lists of messages with `from` and `value`.
    ShareGpt,
    /// `instruction`, `input`, `output`, `system`, `history`.
    Alpaca,
    /// `prompt` and `completion`: texts, or lists of messages.
    #[serde(rename = "prompt-completion")]
    PromptCompletion,
}

choice!(RowFormat: "auto", "messages", "sharegpt", "alpaca", "prompt-completion");

impl RowFormat {
    /// As configurations have it.
    pub fn name(self) -> &'static str {
        match self {
            RowFormat::Auto => "auto",
            RowFormat::Messages => "messages",
            RowFormat::ShareGpt => "sharegpt",
            RowFormat::Alpaca => "alpaca",
            RowFormat::PromptCompletion => "prompt-completion",
        }
    }
}

/// What becomes of conversations that cannot be trained on exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum BadRows {
    #[default]
    Stop,
    Skip,
}

choice!(BadRows: "stop", "skip");

/// How answers are told from prompts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AnswersBy {
    /// What stands between the template's `generation` marks.
    Marks,
    /// From where the prompt for an answer ends to where the conversation up to it does.
    Prefix,
}

choice!(AnswersBy: "marks", "prefix");

/// Rows that are conversations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub struct ChatSource {
    pub format: RowFormat,
    /// A Jinja template; `None` is the tokenizer's own.
    pub template: Option<String>,
    /// The column with the list of messages, if it is not one of the usual names.
    pub message_col: Option<String>,
}
