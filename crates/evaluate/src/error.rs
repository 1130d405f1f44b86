//! What can go wrong in an evaluation.

/// A fault of an evaluation or of its samples. Samples, questions and exercises are counted from 0.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    #[error("there is nothing to evaluate: no {what} are given")]
    Nothing { what: &'static str },
    #[error("nothing was measured: {repeat} repetitions with {new_tokens} new tokens")]
    NothingMeasured { new_tokens: usize, repeat: usize },
    #[error("{what} {index} has {tokens} tokens, and the model's context holds {context}")]
    TooLong { what: &'static str, index: usize, tokens: usize, context: usize },
}

impl olive_core::Fault for EvaluateError {
    fn hint(&self) -> Option<String> {
        match self {
            EvaluateError::Nothing { .. } => {
                Some("look at the data of the metric: its files may be empty".into())
            }
            EvaluateError::NothingMeasured { .. } => {
                Some("ask for one repetition or more, and for two new tokens or more".into())
            }
            EvaluateError::TooLong { .. } => {
                Some("lower `max_seq_len` of the data, or shorten this row".into())
            }
        }
    }
}
