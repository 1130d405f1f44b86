//! Why a conversation cannot be trained on exactly. Messages count from 1.

/// What is wrong with a row.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RowFault {
    #[error("there are no messages")]
    NoMessages,
    #[error("`{column}` holds {found} where a list of messages is needed")]
    NotMessages { column: String, found: &'static str },
    #[error("the text in `{column}` is not JSON: {reason}")]
    NotJson { column: String, reason: String },
    #[error("message {message} is {found}, not an object")]
    NotAMessage { message: usize, found: &'static str },
    #[error("message {message} has no role")]
    NoRole { message: usize },
    #[error("message {message} has the role `{role}`, which is not known")]
    UnknownRole { message: usize, role: String },
    #[error("message {message} has no content")]
    NoContent { message: usize },
    #[error("message {message} has {found} for its content")]
    NotText { message: usize, found: &'static str },
    #[error("message {message} is an empty answer")]
    EmptyAnswer { message: usize },
    #[error("there is no message of the assistant")]
    NoAnswer,
    #[error("message {message} has {found} for its `{key}`")]
    Weight { message: usize, key: &'static str, found: String },
    #[error("message {message} has a weight, and is not the assistant's")]
    WeightOfOther { message: usize },
    #[error("the tool calls of message {message} cannot be read: {reason}")]
    ToolCalls { message: usize, reason: String },
    #[error("`tools` cannot be read: {reason}")]
    Tools { reason: String },
    #[error("`chat_template_kwargs` holds {found} where an object is needed")]
    Variables { found: &'static str },
    #[error("`{column}` holds {found} where text is needed")]
    Column { column: &'static str, found: &'static str },
    #[error("`{column}` is empty")]
    Empty { column: &'static str },
    #[error("`history` is not a list of pairs of texts")]
    History,
    #[error("`prompt` holds {prompt} and `completion` {completion}: both must be texts or lists of messages")]
    TwoKinds { prompt: &'static str, completion: &'static str },
    #[error("the last message is not the assistant's")]
    LastIsNoAnswer,
    #[error("the chat template refuses it: {reason}")]
    Refused { reason: String },
    #[error("the chat template cannot begin with the assistant: {reason}")]
    NoPrompt { reason: String },
    #[error(
        "what stands before message {message} is another text once the message follows: {wanted:?} becomes {found:?}"
    )]
    PromptChanges { message: usize, wanted: String, found: String },
    #[error("message {message} is another text once later ones follow: {wanted:?} becomes {found:?}")]
    TurnChanges { message: usize, wanted: String, found: String },
    #[error("the chat template prints nothing for message {message}")]
    Silent { message: usize },
    #[error("{part} of message {message} does not appear in the text")]
    Vanishes { part: &'static str, message: usize },
    #[error("the tools do not appear in the text")]
    ToolsVanish,
    #[error("the template marks {found} answers of {answers}")]
    Marks { found: usize, answers: usize },
}

impl RowFault {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            RowFault::NoMessages | RowFault::NoAnswer | RowFault::EmptyAnswer { .. } => {
                "there is nothing to learn from it"
            }
            RowFault::NotMessages { .. } | RowFault::NotJson { .. } | RowFault::NotAMessage { .. } => {
                "a conversation is a list of objects with `role` and `content`, or such a list as JSON text"
            }
            RowFault::NoRole { .. } | RowFault::UnknownRole { .. } => {
                "roles are `system`, `developer`, `user`, `assistant` and `tool`, and what ShareGPT calls them"
            }
            RowFault::NoContent { .. } | RowFault::NotText { .. } => {
                "a content is a text, or a list of parts of the type `text`; with tool calls it may be missing"
            }
            RowFault::Weight { .. } => {
                "`weight` is a number from 0 on, `train`, `training` and `loss` are true or false"
            }
            RowFault::WeightOfOther { .. } => "only what the assistant says is learned",
            RowFault::ToolCalls { .. } => {
                "a call has a name, and arguments that are an object or its JSON text"
            }
            RowFault::Tools { .. } => "tools are a list of JSON schemas, or its JSON text",
            RowFault::Variables { .. } => "these are variables of the chat template, by name",
            RowFault::Column { .. } | RowFault::Empty { .. } | RowFault::TwoKinds { .. } => {
                "every row needs a text to learn"
            }
            RowFault::History => {
                "`history` is a list of questions with answers: [[\"question\", \"answer\"]]"
            }
            RowFault::LastIsNoAnswer => "`loss_on` is `last`; `assistant` learns the answers before it",
            RowFault::Refused { .. } | RowFault::NoPrompt { .. } => {
                "change the row, or take another template with `chat_template`"
            }
            RowFault::PromptChanges { .. } | RowFault::TurnChanges { .. } | RowFault::Silent { .. } => {
                "the template rewrites what was said before: use `loss_on: last`, make a row of every answer, or take a \
                 template that keeps the past with `chat_template`"
            }
            RowFault::Vanishes { .. } => {
                "the model would not see it: take a template that prints it with `chat_template`, or leave it out of the data"
            }
            RowFault::ToolsVanish => {
                "the model would not see them: take a template that prints tools with `chat_template`, or leave them out of \
                 the data"
            }
            RowFault::Marks { .. } => "use `answers_by: prefix`",
        }
    }
}
