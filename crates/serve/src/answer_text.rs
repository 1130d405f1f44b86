//! The text of one choice as it grows: whole characters only, and nothing of a stop string.

use super::logprobs::TokenLogprob;
use super::stop_strings::{Released, StopStrings};
use olive_core::Result;
use olive_decoder::TextStream;

pub(crate) struct AnswerText<'t> {
    stream: TextStream<'t>,
    stops: StopStrings,
    /// Tokens whose text is not given out yet.
    waiting: Vec<TokenLogprob>,
}

/// What can be given out.
#[derive(Debug, Default)]
pub(crate) struct Piece {
    pub(crate) text: String,
    pub(crate) tokens: Vec<TokenLogprob>,
}

/// Whether the answer goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    On,
    /// A stop string came.
    Stopped,
}

impl<'t> AnswerText<'t> {
    pub(crate) fn new(stream: TextStream<'t>, stops: Vec<String>) -> AnswerText<'t> {
        AnswerText { stream, stops: StopStrings::new(stops), waiting: Vec::new() }
    }

    /// Takes a token, with its probability where that is wanted.
    ///
    /// # Errors
    /// The tokenizer cannot decode it.
    pub(crate) fn push(&mut self, id: u32, logprob: Option<TokenLogprob>) -> Result<(Piece, Flow)> {
        self.waiting.extend(logprob);
        let text = self.stream.push(id)?;
        Ok(self.take(&text))
    }

    /// What is left when the tokens end: half a character becomes U+FFFD, and may complete a stop string.
    ///
    /// # Errors
    /// As [`AnswerText::push`].
    pub(crate) fn finish(&mut self) -> Result<(Piece, Flow)> {
        let text = self.stream.finish()?;
        let (mut piece, flow) = self.take(&text);
        if flow == Flow::On {
            piece.text.push_str(&self.stops.finish());
            piece.tokens.append(&mut self.waiting);
        }
        Ok((piece, flow))
    }

    fn take(&mut self, text: &str) -> (Piece, Flow) {
        match self.stops.push(text) {
            Released::Last(text) => {
                // Tokens that stand after the cut are no part of the answer.
                let mut before = 0;
                self.waiting.retain(|token| {
                    let inside = before < text.len();
                    before += token.token.bytes.len();
                    inside
                });
                (Piece { text, tokens: std::mem::take(&mut self.waiting) }, Flow::Stopped)
            }
            Released::Text(text) if text.is_empty() => (Piece::default(), Flow::On),
            Released::Text(text) => (Piece { text, tokens: std::mem::take(&mut self.waiting) }, Flow::On),
        }
    }
}
