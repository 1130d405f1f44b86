//! Prompts whose answers must be right word by word.

use super::{Subject, Work};
use olive_core::Result;

/// A prompt and what should come of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exercise {
    pub prompt: String,
    pub answer: String,
}

/// Whether `A` is another letter than `a`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LetterCase {
    #[default]
    Counts,
    Ignored,
}

/// How many answers were right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Matches {
    pub exercises: u64,
    pub right: u64,
    /// Tokens that were generated.
    pub tokens: u64,
}

impl Matches {
    /// Share of the exercises, in 0..=1.
    pub fn exact_match(&self) -> f64 {
        self.right as f64 / self.exercises as f64
    }
}

/// Continues every prompt as it stands with the most probable tokens, at most `max_new_tokens`, and compares the text with
/// the answer, both without white space around them.
///
/// # Errors
/// No exercise, a prompt that is empty or that the context does not hold, a raised flag, or a failed computation.
#[expect(clippy::todo, reason = "a skeleton")]
pub fn exact_match(
    subject: &Subject,
    exercises: &[Exercise],
    max_new_tokens: usize,
    case: LetterCase,
    what: &str,
    work: Work<'_>,
) -> Result<Matches> {
    todo!("{:?} {exercises:?} {max_new_tokens} {case:?} {what} {}", subject.handle(), work.cancel.is_raised())
}
