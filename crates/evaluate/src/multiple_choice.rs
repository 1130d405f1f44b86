//! Questions with choices: which one the model finds most likely after the question.

use super::{EvaluateError, Item, Subject, Work};
use olive_core::Result;
use olive_core::cancel::CancelFlag;
use olive_decoder::{LanguageModel, Scored, ScoringModel};
use olive_runtime::{Generator, LoadedModel, ModelSequence, SpecialTokens};

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

/// A context with one of its choices, as tokens.
struct Encoded {
    tokens: Vec<u32>,
    /// Tokens of the context.
    context: usize,
}

/// Scores the choices of every question by their log-likelihood, as lm-eval does: of equal ones the first counts. What
/// contexts have in common is computed once, where the model can go back.
///
/// # Errors
/// A question without choices or whose answer is none of them, an empty context or choice, one that the model's context does
/// not hold, a log-likelihood that is no number, a raised flag, or a failed computation.
pub fn multiple_choice(
    subject: &Subject,
    questions: &[Question],
    special: SpecialTokens,
    work: Work<'_>,
) -> Result<Choices> {
    if questions.is_empty() {
        return Err(EvaluateError::Nothing { item: Item::Question }.into());
    }
    let (generator, model) = (subject.generator()?, subject.model());
    let mut sequence = model.new_sequence()?;
    let mut total = Choices { questions: questions.len() as u64, ..Choices::default() };
    work.phase(questions.len(), |index| {
        let question = &questions[index];
        if question.answer >= question.choices.len() {
            let (answer, choices) = (question.answer, question.choices.len());
            return Err(EvaluateError::NoSuchChoice { index, answer, choices }.into());
        }
        let encoded = encode(&generator, question, index, special)?;
        let context = model.context_length();
        if let Some(tokens) =
            encoded.iter().map(|e| e.tokens.len() - 1).max().filter(|longest| *longest > context)
        {
            return Err(EvaluateError::TooLong { item: Item::Question, index, tokens, context }.into());
        }
        let mut likelihoods = Vec::with_capacity(encoded.len());
        for choice in &encoded {
            let value = log_likelihood(model, &mut sequence, choice, work.cancel)?;
            if !value.is_finite() {
                return Err(EvaluateError::NotANumber { item: Item::Question, index, value }.into());
            }
            likelihoods.push(value);
            total.tokens += (choice.tokens.len() - choice.context) as u64;
        }
        let by_bytes =
            likelihoods.iter().zip(&question.choices).map(|(value, text)| value / text.len() as f64);
        total.right_by_bytes += u64::from(first_highest(by_bytes) == question.answer);
        total.right += u64::from(first_highest(likelihoods.iter().copied()) == question.answer);
        Ok(index + 1)
    })?;
    Ok(total)
}

/// Context and choice are encoded as one text and split where the tokens of the context alone end. White space at the end
/// of the context belongs to the choice, whose first token most often begins with it.
fn encode(
    generator: &Generator,
    question: &Question,
    index: usize,
    special: SpecialTokens,
) -> Result<Vec<Encoded>> {
    let context = question.context.trim_end();
    if context.is_empty() {
        return Err(EvaluateError::NoContext { item: Item::Question, index }.into());
    }
    let length = generator.tokens(context.to_owned(), special)?.len();
    let one = |(choice, text): (usize, &String)| {
        let tokens =
            generator.tokens(format!("{}{}{text}", question.context, question.delimiter), special)?;
        if text.is_empty() || length == 0 || tokens.len() <= length {
            return Err(EvaluateError::EmptyChoice { index, choice }.into());
        }
        Ok(Encoded { tokens, context: length })
    };
    question.choices.iter().enumerate().map(one).collect()
}

/// ln p(choice | context).
fn log_likelihood(
    model: &LoadedModel,
    sequence: &mut ModelSequence,
    encoded: &Encoded,
    cancel: &CancelFlag,
) -> Result<f64> {
    let Encoded { tokens, context } = encoded;
    // The last token predicts nothing; the last of the context predicts the first of the choice.
    let given = &tokens[..tokens.len() - 1];
    let held = model.tokens(sequence);
    let common = held.iter().zip(given).take_while(|(a, b)| a == b).count().min(context - 1);
    let kept = if common == held.len() { common } else { model.truncate(sequence, common)? };
    model.reserve(sequence, given.len())?;
    let target = |i: usize| if i < *context { -1 } else { i32::try_from(tokens[i]).unwrap_or(-1) };
    let targets: Vec<i32> = (kept + 1..tokens.len()).map(target).collect();
    let scored = Scored { tokens: &given[kept..], targets: &targets, sequence_length: given.len() };
    Ok(-model.score(sequence, scored, cancel)?)
}

/// The first of the highest values.
fn first_highest(values: impl Iterator<Item = f64>) -> usize {
    let best = values.enumerate().reduce(|best, next| if next.1 > best.1 { next } else { best });
    best.map_or(0, |(index, _)| index)
}
