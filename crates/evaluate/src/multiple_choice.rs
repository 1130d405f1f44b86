//! Questions with choices: which one the model finds most likely after the question.

use super::{Subject, Work};
use olive_core::Result;

/// A question, its choices, and which of them is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// What stands before a choice.
    pub context: String,
    /// What may follow the context, as the model should say it.
    pub choices: Vec<String>,
    /// What stands between the context and any choice, most often a space. It does not count as part of a choice's length.
    pub delimiter: String,
    /// The right choice, from 0.
    pub answer: usize,
}

/// Whether the tokenizer puts its special tokens around a context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SpecialTokens {
    /// As the tokenizer is set up.
    #[default]
    Add,
    Omit,
}

/// How many questions were answered rightly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Choices {
    pub questions: u64,
    /// The right choice has the highest log-likelihood.
    pub right: u64,
    /// The right choice has the highest log-likelihood per byte of its text.
    pub right_by_bytes: u64,
    /// Tokens of all choices.
    pub tokens: u64,
}

impl Choices {
    /// Share of the questions, in 0..=1.
    pub fn acc(&self) -> f64 {
        self.right as f64 / self.questions as f64
    }

    /// As [`Choices::acc`], with log-likelihoods divided by bytes.
    pub fn acc_norm(&self) -> f64 {
        self.right_by_bytes as f64 / self.questions as f64
    }
}

/// Scores the choices of every question by their log-likelihood, as lm-eval does.
///
/// # Errors
/// A question without choices or whose answer is none of them, one that the context does not hold, a log-likelihood that is
/// no number, a raised flag, or a failed computation.
#[expect(clippy::todo, reason = "a skeleton")]
pub fn multiple_choice(
    subject: &Subject,
    questions: &[Question],
    special: SpecialTokens,
    what: &str,
    work: Work<'_>,
) -> Result<Choices> {
    todo!("{:?} {questions:?} {special:?} {what} {}", subject.handle(), work.cancel.is_raised())
}
