//! Token ids to text, as they come.

use super::GenerateError;
use olive_core::Result;
use tokenizers::Tokenizer;

/// Turns a growing list of ids into text that can be printed at once: never half of a UTF-8 character, and spaces
/// as the tokenizer writes them between words.
///
/// A token's text depends on its neighbours, so a window is decoded twice, without and with what is new; the
/// difference is the new text.
pub struct TextStream<'a> {
    tokenizer: &'a Tokenizer,
    ids: Vec<u32>,
    /// Start of the window.
    window: usize,
    /// Ids before this one have been given out as text.
    printed: usize,
}

impl<'a> TextStream<'a> {
    /// A text that follows the text of `before`, which is not repeated: a space between the two is kept.
    pub fn after(tokenizer: &'a Tokenizer, before: &[u32]) -> TextStream<'a> {
        // Enough neighbours for any decoder; more would be decoded again for every token.
        let ids = before[before.len().saturating_sub(8)..].to_vec();
        let printed = ids.len();
        TextStream { tokenizer, ids, window: 0, printed }
    }

    /// A text of its own: a leading space that stands for "a word begins" is dropped.
    pub fn new(tokenizer: &'a Tokenizer) -> TextStream<'a> {
        TextStream { tokenizer, ids: Vec::new(), window: 0, printed: 0 }
    }

    /// The text that `id` completes; empty while a character is incomplete.
    ///
    /// # Errors
    /// The tokenizer cannot decode the id.
    pub fn push(&mut self, id: u32) -> Result<String> {
        self.ids.push(id);
        self.advance(false)
    }

    /// What is left, an incomplete character as U+FFFD.
    ///
    /// # Errors
    /// As [`TextStream::push`].
    pub fn finish(&mut self) -> Result<String> {
        self.advance(true)
    }

    fn advance(&mut self, last: bool) -> Result<String> {
        let old = self.decode(self.window, self.printed)?;
        let new = self.decode(self.window, self.ids.len())?;
        if new.len() <= old.len() || (!last && new.ends_with('\u{fffd}')) {
            return Ok(String::new());
        }
        // `old` can end in an incomplete character that `new` completes; only whole text is given out, so the two
        // agree up to there.
        let Some(text) = new.get(old.len()..) else { return Ok(String::new()) };
        let text = text.to_owned();
        self.window = self.printed;
        self.printed = self.ids.len();
        Ok(text)
    }

    fn decode(&self, from: usize, to: usize) -> Result<String> {
        Ok(self
            .tokenizer
            .decode(&self.ids[from..to], true)
            .map_err(|e| GenerateError::Tokenizer(e.to_string()))?)
    }
}
