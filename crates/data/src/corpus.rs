//! Texts that become tokens, batch by batch, in parallel.

use crate::error::DataError;
use crate::rows::Rows;
use crate::strategy::Token;
use crate::texts::Text;
use olive_config::canonical::LossOn;
use olive_core::Result;
use olive_core::cancel::CancelFlag;
use olive_core::event::{Event, EventSink, Unit};
use rayon::prelude::*;
use std::ops::Range;
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
            let tokens = tokens_of(self.tokenizer, text)
                .map_err(|reason| DataError::Tokenise { location: self.rows.location(text.row), reason })?;
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

/// The tokens of what stands between joined rows: these count where all tokens of a text do.
pub(crate) fn joiner(
    tokenizer: &Tokenizer,
    text: &str,
    loss_on: LossOn,
) -> std::result::Result<Vec<Token>, String> {
    Ok(tokens(&encode(tokenizer, text)?, loss_on))
}

/// The tokens of a text as it is: special tokens only where their texts stand in it.
fn tokens_of(tokenizer: &Tokenizer, text: &Text) -> std::result::Result<Vec<Token>, String> {
    let Some(completions) = &text.completions else {
        return Ok(tokens(&encode(tokenizer, &text.text)?, LossOn::All));
    };
    let encoding = tokenizer.encode(text.text.as_str(), false).map_err(|e| e.to_string())?;
    let places = encoding.get_ids().iter().zip(encoding.get_offsets());
    // A token that begins before the completion counts if it reaches into it; one that reaches past its end does not.
    let counts =
        |start: usize, end: usize| completions.iter().any(|c| end > c.start && end <= c.end && start < c.end);
    Ok(places.map(|(&id, &(start, end))| Token { id, counts: counts(start, end) }).collect())
}

/// A text as it is, without special tokens around it.
fn encode(tokenizer: &Tokenizer, text: &str) -> std::result::Result<Encoding, String> {
    tokenizer.encode_fast(text, false).map_err(|e| e.to_string())
}

fn tokens(encoding: &Encoding, loss_on: LossOn) -> Vec<Token> {
    let counts = loss_on == LossOn::All;
    encoding.get_ids().iter().map(|&id| Token { id, counts }).collect()
}
