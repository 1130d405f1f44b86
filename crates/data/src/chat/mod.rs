//! Conversations: from rows of any of the usual formats to texts of which the answers count.

mod answers;
mod conversation;
mod format;
mod json_text;
mod messages;
mod presence;
mod reader;
mod spans;
mod tools;

pub(crate) use answers::Answers;
pub use conversation::{Conversation, Role, Turn};
pub use format::FoundFormat;
pub(crate) use format::looks_like_chat;
pub use reader::{ChatReader, ChatRow};
pub use spans::{Counted, Span};
