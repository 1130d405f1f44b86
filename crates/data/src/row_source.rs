//! Whether rows are texts or conversations.

use crate::chat::looks_like_chat;
use crate::rows::Rows;
use crate::texts::PlainSource;
use olive_config::canonical::{ChatSource, TextColumn, TextSource};
use std::borrow::Cow;

/// What rows are, once their columns are known.
pub(super) enum RowSource<'o> {
    Plain(PlainSource<'o>),
    Chat(Cow<'o, ChatSource>),
}

impl RowSource<'_> {
    /// What these rows are by what the options say.
    pub(super) fn of<'o>(source: &'o TextSource, rows: &Rows) -> RowSource<'o> {
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
