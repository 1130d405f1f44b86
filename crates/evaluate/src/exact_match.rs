//! Prompts whose answers must be right word by word.

use super::{EvaluateError, Item, Subject, Work};
use olive_core::Result;
use olive_decoder::SamplingOptions;
use olive_runtime::Prompt;

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

impl LetterCase {
    fn matches(self, said: &str, answer: &str) -> bool {
        let (said, answer) = (said.trim(), answer.trim());
        match self {
            LetterCase::Counts => said == answer,
            LetterCase::Ignored => said.to_lowercase() == answer.to_lowercase(),
        }
    }
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
pub fn exact_match(
    subject: &Subject,
    exercises: &[Exercise],
    max_new_tokens: usize,
    case: LetterCase,
    work: Work<'_>,
) -> Result<Matches> {
    if exercises.is_empty() {
        return Err(EvaluateError::Nothing { item: Item::Exercise }.into());
    }
    let generator = subject.generator()?;
    let mut sequence = generator.new_sequence()?;
    let mut total = Matches { exercises: exercises.len() as u64, ..Matches::default() };
    work.phase(exercises.len(), |index| {
        let Exercise { prompt, answer } = &exercises[index];
        let tokens = generator.encode(Prompt::Raw(prompt))?.len();
        let context = generator.context_length();
        match tokens {
            0 => return Err(EvaluateError::NoContext { item: Item::Exercise, index }.into()),
            _ if tokens >= context => {
                return Err(EvaluateError::TooLong { item: Item::Exercise, index, tokens, context }.into());
            }
            _ => {}
        }
        let greedy = SamplingOptions::GREEDY;
        let said = generator.answer(
            &mut sequence,
            Prompt::Raw(prompt),
            &greedy,
            max_new_tokens,
            work.cancel,
            &mut |_| Ok(()),
        )?;
        work.cancel.check()?;
        total.tokens += said.generation.ids.len() as u64;
        total.right += u64::from(case.matches(&said.text, answer));
        Ok(index + 1)
    })?;
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::LetterCase::{Counts, Ignored};

    #[test]
    fn white_space_around_a_text_does_not_count_and_case_does() {
        assert!(Counts.matches(" 42\n", "42 "));
        assert!(!Counts.matches("Paris", "paris") && Ignored.matches("PARIS ", "paris"));
        assert!(!Ignored.matches("4 2", "42"));
    }
}
