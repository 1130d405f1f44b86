//! Texts that become tokens, batch by batch, in parallel.

use crate::chat::Counted;
use crate::error::DataError;
use crate::rows::Rows;
use crate::strategy::Token;
use crate::texts::{Framing, Text};
use olive_core::Result;
use olive_core::cancel::CancelFlag;
use olive_core::event::{Event, EventSink, Unit};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokenizers::{Encoding, Tokenizer};

/// The texts of a dataset, and what is needed to turn them into tokens.
pub(super) struct Corpus<'a> {
    pub rows: &'a Rows,
    pub texts: &'a [Text],
    pub tokenizer: &'a Tokenizer,
    /// Rows of the model's embedding, if its configuration tells.
    pub vocabulary: Option<usize>,
    /// After every row of the joining strategies.
    pub joiner: Vec<Token>,
    /// Answers whose first letter is in a token of the prompt, among the texts that were looked at.
    pub straddling: AtomicUsize,
    pub events: &'a dyn EventSink,
    pub cancel: &'a CancelFlag,
}

const PHASE: &str = "tokenise";

impl Corpus<'_> {
    /// Calls `each` with the tokens of up to `size` texts at a time, until it returns false.
    ///
    /// # Errors
    /// A text cannot be tokenised, `each` fails, or the work is cancelled.
    pub(super) fn for_batches(
        &self,
        size: usize,
        mut each: impl FnMut(Vec<Vec<Token>>) -> Result<bool>,
    ) -> Result<()> {
        let total = self.texts.len();
        self.events.emit(Event::PhaseStarted {
            phase: PHASE.into(),
            total: Some(total as u64),
            unit: Unit::Rows,
        });
        let mut start = 0;
        while start < total {
            self.cancel.check()?;
            let end = total.min(start.saturating_add(size.max(1)));
            let go_on = each(self.encode(start..end)?)?;
            self.events.emit(Event::PhaseProgress { done: end as u64 });
            start = if go_on { end } else { total };
        }
        self.events.emit(Event::PhaseFinished { phase: PHASE.into() });
        Ok(())
    }

    /// The tokens of all texts.
    pub(super) fn all(&self, size: usize) -> Result<Vec<Vec<Token>>> {
        let mut all = Vec::with_capacity(self.texts.len());
        self.for_batches(size, |batch| {
            all.extend(batch);
            Ok(true)
        })?;
        Ok(all)
    }

    fn encode(&self, range: Range<usize>) -> Result<Vec<Vec<Token>>> {
        let encode = |text: &Text| -> Result<Vec<Token>> {
            // One text can take long: patterns of tokenizers are tried in many ways.
            self.cancel.check()?;
            let (tokens, straddling) = tokens_of(self.tokenizer, text)
                .map_err(|reason| DataError::Tokenise { location: self.rows.location(text.row), reason })?;
            self.straddling.fetch_add(straddling, Ordering::Relaxed);
            self.check_vocabulary(text, &tokens)?;
            Ok(tokens)
        };
        let encoded: Vec<_> = self.texts[range].par_iter().map(encode).collect();
        encoded.into_iter().collect()
    }

    /// Refuses a token that the model has no embedding for.
    fn check_vocabulary(&self, text: &Text, tokens: &[Token]) -> std::result::Result<(), DataError> {
        let Some(vocabulary) = self.vocabulary else { return Ok(()) };
        match tokens.iter().find(|token| token.id as usize >= vocabulary) {
            None => Ok(()),
            Some(&Token { id, .. }) => Err(DataError::BeyondVocabulary {
                location: self.rows.location(text.row),
                token: self.tokenizer.id_to_token(id).unwrap_or_default(),
                id,
                vocabulary,
            }),
        }
    }
}

/// What the tokens of the text between joined rows count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JoinerLoss {
    /// As those of the rows do.
    Counts,
    Ignored,
}

/// The tokens of what stands between joined rows.
pub(super) fn joiner(
    tokenizer: &Tokenizer,
    text: &str,
    loss: JoinerLoss,
) -> std::result::Result<Vec<Token>, String> {
    let weight = if loss == JoinerLoss::Counts { 1.0 } else { 0.0 };
    Ok(tokens(&encode(tokenizer, text)?, weight))
}

/// The tokens of a text, and how many spans that count begin inside one. Special tokens are only where their texts stand in
/// it, unless the tokenizer is to add its own.
fn tokens_of(tokenizer: &Tokenizer, text: &Text) -> std::result::Result<(Vec<Token>, usize), String> {
    let add_special = text.framing == Framing::ByTokenizer;
    if text.counted == Counted::All && !add_special {
        return Ok((tokens(&encode(tokenizer, &text.text)?, 1.0), 0));
    }
    let encoding = tokenizer.encode(text.text.as_str(), add_special).map_err(|e| e.to_string())?;
    let places = || encoding.get_offsets().iter().map(|&(start, end)| Range { start, end });
    let token = |(&id, place)| Token { id, weight: text.counted.weight(place) };
    let straddling = places().filter(|place| text.counted.begins_inside(place.clone())).count();
    Ok((encoding.get_ids().iter().zip(places()).map(token).collect(), straddling))
}

/// A text as it is, without special tokens around it.
fn encode(tokenizer: &Tokenizer, text: &str) -> std::result::Result<Encoding, String> {
    tokenizer.encode_fast(text, false).map_err(|e| e.to_string())
}

fn tokens(encoding: &Encoding, weight: f32) -> Vec<Token> {
    encoding.get_ids().iter().map(|&id| Token { id, weight }).collect()
}
