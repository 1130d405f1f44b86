//! A prompt with its answer.

/// A prompt and the answer to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerRow {
    pub prompt: String,
    pub answer: String,
}

impl AnswerRow {
    /// `None` if there is no prompt or no answer.
    pub(super) fn with_both(self) -> Option<AnswerRow> {
        (!self.prompt.trim().is_empty() && !self.answer.trim().is_empty()).then_some(self)
    }
}
