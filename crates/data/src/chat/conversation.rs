//! A conversation, whatever format its row has.

use crate::value::Value;

/// Who says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    System,
    Developer,
    User,
    Assistant,
    /// What a tool gave back.
    Tool,
}

impl Role {
    /// As templates have it.
    pub fn name(self) -> &'static str {
        match self {
            Role::System => "system",
            Role::Developer => "developer",
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::Tool => "tool",
        }
    }
}

/// One message.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    pub role: Role,
    pub content: String,
    /// What the assistant thought before it answered.
    pub reasoning: Option<String>,
    /// Calls of tools, with arguments as values.
    pub tool_calls: Vec<Value>,
    /// What else the message has, for the template: `name`, `tool_call_id`, …
    pub other: Vec<(String, Value)>,
    /// `from` and `value` as the row has them, for templates that were written for such rows.
    pub share_gpt: Vec<(String, Value)>,
    /// How much its tokens count in the loss; `None`: as `loss_on` says.
    pub weight: Option<f32>,
}

impl Turn {
    /// A message that is its content.
    pub fn plain(role: Role, content: impl Into<String>) -> Turn {
        Turn {
            role,
            content: content.into(),
            reasoning: None,
            tool_calls: Vec::new(),
            other: Vec::new(),
            share_gpt: Vec::new(),
            weight: None,
        }
    }

    /// As templates get it.
    fn to_value(&self) -> Value {
        let mut entries = vec![
            ("role".to_owned(), Value::Str(self.role.name().into())),
            ("content".to_owned(), Value::Str(self.content.clone())),
        ];
        entries
            .extend(self.reasoning.iter().map(|text| ("reasoning_content".into(), Value::Str(text.clone()))));
        if !self.tool_calls.is_empty() {
            entries.push(("tool_calls".into(), Value::List(self.tool_calls.clone())));
        }
        entries.extend(self.other.iter().chain(&self.share_gpt).cloned());
        Value::Dict(entries)
    }
}

/// Messages, and what a template gets beside them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Conversation {
    pub turns: Vec<Turn>,
    /// Schemas of the tools that there are.
    pub tools: Vec<Value>,
    /// Variables of the template.
    pub variables: Vec<(String, Value)>,
    /// How many messages are the prompt, where the row says what is the completion.
    pub prompt: Option<usize>,
}

impl Conversation {
    /// The first messages as templates get them.
    pub(crate) fn messages(&self, count: usize) -> Value {
        Value::List(self.turns[..count].iter().map(Turn::to_value).collect())
    }

    /// The places of what the assistant says.
    pub(crate) fn answers(&self) -> impl DoubleEndedIterator<Item = usize> + '_ {
        self.turns.iter().enumerate().filter(|(_, turn)| turn.role == Role::Assistant).map(|(place, _)| place)
    }
}
