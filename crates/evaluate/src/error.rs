//! What can go wrong in an evaluation.

use std::fmt;

/// What is counted, from 0, in the messages of an evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item {
    Sample,
    Question,
    Exercise,
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Item::Sample => "sample",
            Item::Question => "question",
            Item::Exercise => "exercise",
        })
    }
}

/// A fault of an evaluation or of its samples.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    #[error("there is nothing to evaluate: not a single {item} is given")]
    Nothing { item: Item },
    #[error("there is nothing to evaluate: none of {samples} samples has a label that counts")]
    NoLabels { samples: usize },
    #[error("{item} {index} has {tokens} tokens, and the model's context holds {context}")]
    TooLong { item: Item, index: usize, tokens: usize, context: usize },
    #[error(
        "{past} tokens in the cache and {tokens} after them are more than the {context} that the model's context holds"
    )]
    DummyTooLong { past: usize, tokens: usize, context: usize },
    #[error("the loss of {item} {index} is {value}: the model's logits are not numbers")]
    NotANumber { item: Item, index: usize, value: f64 },
    #[error("{item} {index} has no text before the answer")]
    NoContext { item: Item, index: usize },
    #[error("choice {choice} of question {index} adds no token to the question")]
    EmptyChoice { index: usize, choice: usize },
    #[error("question {index} has {choices} choices, and its answer is number {answer}, counted from 0")]
    NoSuchChoice { index: usize, answer: usize, choices: usize },
    #[error("nothing was measured: no repetition is asked for")]
    NoRepetition,
    #[error("nothing was measured: {repeat} repetitions with {new_tokens} new tokens")]
    NothingMeasured { new_tokens: usize, repeat: usize },
}

impl olive_core::Fault for EvaluateError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            EvaluateError::Nothing { .. } => "look at the data of the metric: its files may be empty",
            EvaluateError::NoLabels { .. } => {
                "look at the data of the metric: samples of one token have no label, nor have those whose completion is cut off"
            }
            EvaluateError::DummyTooLong { .. } => "lower `past_seq_len` or `seq_len` of the metric's data",
            EvaluateError::TooLong { item: Item::Sample, .. } => "lower `max_seq_len` of the metric's data",
            EvaluateError::TooLong { .. } => "shorten this row, or leave it out",
            EvaluateError::NotANumber { .. } => {
                "the weights are damaged, or the model overflows in its type: for float16, try bfloat16 or float32"
            }
            EvaluateError::NoContext { .. } => "give every row a question, and check the name of its column",
            EvaluateError::EmptyChoice { .. } => "give every choice a text that is not empty",
            EvaluateError::NoSuchChoice { .. } => "the answer is the place of a choice in their list",
            EvaluateError::NoRepetition => "set `repeat_test_num` to 1 or more",
            EvaluateError::NothingMeasured { .. } => {
                "ask for one repetition or more, and for two new tokens or more"
            }
        };
        Some(hint.into())
    }
}
