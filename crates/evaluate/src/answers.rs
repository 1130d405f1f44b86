//! Answers for people to read: what a model says where the data has an answer.

use super::{Exercise, Subject, Work};
use olive_core::Result;
use olive_decoder::SamplingOptions;
use olive_runtime::{Prompt, SpecialTokens};
use serde::{Deserialize, Serialize};

/// A prompt, the answer of the data, and that of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    pub prompt: String,
    pub expected: String,
    pub answer: String,
}

/// Continues every prompt with the most probable tokens, at most `max_new_tokens`. Prompts that the context of the model does
/// not hold are left out.
///
/// # Errors
/// A model without a tokenizer, a raised flag, or a failed computation.
pub fn answers(
    subject: &Subject,
    exercises: &[Exercise],
    special: SpecialTokens,
    max_new_tokens: usize,
    work: Work<'_>,
) -> Result<Vec<Answer>> {
    let generator = subject.generator()?;
    let mut sequence = generator.new_sequence()?;
    let mut answers = Vec::with_capacity(exercises.len());
    work.phase(exercises.len(), |index| {
        let Exercise { prompt, answer: expected } = &exercises[index];
        let asked = match special {
            SpecialTokens::Added => Prompt::Raw(prompt),
            SpecialTokens::InText => Prompt::Marked(prompt),
        };
        if (1..generator.context_length()).contains(&generator.encode(asked)?.len()) {
            let greedy = SamplingOptions::GREEDY;
            let said =
                generator
                    .answer(&mut sequence, asked, &greedy, max_new_tokens, work.cancel, &mut |_| Ok(()))?;
            work.cancel.check()?;
            let (prompt, expected) = (prompt.clone(), expected.clone());
            answers.push(Answer { prompt, expected, answer: said.text });
        }
        Ok(index + 1)
    })?;
    Ok(answers)
}
