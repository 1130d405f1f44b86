//! Where in the text of a conversation its answers stand.

use super::conversation::Conversation;
use super::presence;
use super::spans::{Counted, Span};
use crate::chat_template::{Beside, ChatTemplate, GenerationPrompt, MarkedText};
use crate::error::DataError;
use crate::row_fault::RowFault;
use olive_config::canonical::{AnswersBy, LossOn};
use std::ops::Range;

/// Renders conversations, and tells what of them counts.
#[derive(Debug)]
pub(crate) struct Answers<'a> {
    pub template: &'a ChatTemplate,
    pub loss_on: LossOn,
    pub by: AnswersBy,
    /// Texts of special tokens, with which templates end whole conversations.
    pub marks: &'a [String],
    /// Variables of the template beside those of rows.
    pub variables: &'a [(String, crate::value::Value)],
}

/// The bytes of an answer, by the place of its message.
type Answer = (usize, Range<usize>);

impl Answers<'_> {
    /// The text of a conversation and what of it counts.
    ///
    /// # Errors
    /// Why it cannot be trained on exactly.
    pub(crate) fn of(&self, conversation: &Conversation) -> Result<(String, Counted), RowFault> {
        let variables: Vec<_> = conversation.variables.iter().chain(self.variables).cloned().collect();
        let beside = Beside { tools: &conversation.tools, variables: &variables };
        let rendering = Rendering { answers: self, conversation, beside };
        let text = rendering.up_to(conversation.turns.len(), GenerationPrompt::Omit)?;
        match (self.loss_on, conversation.prompt) {
            (LossOn::All, _) => rendering.whole(text, 0),
            (LossOn::Completion, Some(asked)) => {
                let prompt = rendering.prompt(asked, &text)?.len();
                rendering.whole(text, prompt)
            }
            (LossOn::Completion | LossOn::Assistant, _) => rendering.every_answer(text),
            (LossOn::Last, _) => {
                let last = conversation.answers().next_back();
                let last = last.filter(|place| place + 1 == conversation.turns.len());
                let place = last.ok_or(RowFault::LastIsNoAnswer)?;
                let answer = (place, rendering.answer(place, &text)?);
                presence::check(conversation, &text, std::slice::from_ref(&answer))?;
                let weighted = rendering.weighted(std::slice::from_ref(&answer));
                Ok((text, Counted::with_weights([answer.1], &weighted)))
            }
        }
    }
}

/// One conversation at work.
struct Rendering<'a> {
    answers: &'a Answers<'a>,
    conversation: &'a Conversation,
    beside: Beside<'a>,
}

impl Rendering<'_> {
    /// The text of the first messages.
    fn up_to(&self, count: usize, prompt: GenerationPrompt) -> Result<String, RowFault> {
        let messages = self.conversation.messages(count);
        self.answers.template.render_with(&messages, self.beside, prompt).map_err(refused)
    }

    /// What the model gets before it says the message at this place.
    fn prompt(&self, place: usize, text: &str) -> Result<String, RowFault> {
        let prompt = self.up_to(place, GenerationPrompt::Add).map_err(|fault| match fault {
            RowFault::Refused { reason } if place == 0 => RowFault::NoPrompt { reason },
            other => other,
        })?;
        if text.starts_with(&prompt) {
            return Ok(prompt);
        }
        let (wanted, found) = difference(&prompt, text);
        Err(RowFault::PromptChanges { message: place + 1, wanted, found })
    }

    /// The bytes of an answer: from where the prompt for it ends to where the conversation up to it does.
    fn answer(&self, place: usize, text: &str) -> Result<Range<usize>, RowFault> {
        let start = self.prompt(place, text)?.len();
        let end = if place + 1 == self.conversation.turns.len() {
            text.len()
        } else {
            let up_to = self.up_to(place + 1, GenerationPrompt::Omit)?;
            self.end(&up_to, text).ok_or_else(|| {
                let (wanted, found) = difference(&up_to, text);
                RowFault::TurnChanges { message: place + 1, wanted, found }
            })?
        };
        if start < end { Ok(start..end) } else { Err(RowFault::Silent { message: place + 1 }) }
    }

    /// How much of a text the conversation up to an answer is: all of it, or all but a mark that only ends of
    /// conversations have, which is then the end of the text, too.
    fn end(&self, up_to: &str, text: &str) -> Option<usize> {
        if text.starts_with(up_to) {
            return Some(up_to.len());
        }
        let without = |mark: &String| {
            let body = up_to.trim_end().strip_suffix(mark.as_str())?;
            (text.starts_with(body) && text.ends_with(&up_to[body.len()..])).then_some(body.len())
        };
        self.answers.marks.iter().find_map(without)
    }

    fn every_answer(&self, text: String) -> Result<(String, Counted), RowFault> {
        match self.answers.by {
            AnswersBy::Marks => self.marked(),
            AnswersBy::Prefix => {
                // What has no weight is context, which may change as it does when the model is asked.
                let counts = |place: &usize| self.conversation.turns[*place].weight != Some(0.0);
                let places = self.conversation.answers().filter(counts);
                let answers: Vec<Answer> = places
                    .map(|place| Ok((place, self.answer(place, &text)?)))
                    .collect::<Result<_, RowFault>>()?;
                presence::check(self.conversation, &text, &answers)?;
                let weighted = self.weighted(&answers);
                let ranges = answers.into_iter().map(|(_, bytes)| bytes);
                Ok((text, Counted::with_weights(ranges, &weighted)))
            }
        }
    }

    /// What the template marks, which is also in texts that the prefix rule cannot follow.
    fn marked(&self) -> Result<(String, Counted), RowFault> {
        let messages = self.conversation.messages(self.conversation.turns.len());
        let marked = self.answers.template.render_marked(&messages, self.beside).map_err(refused)?;
        let places: Vec<usize> = self.conversation.answers().collect();
        let unmatched = |found: usize| RowFault::Marks { found, answers: places.len() };
        let MarkedText { text, ranges } = marked.ok_or_else(|| unmatched(0))?;
        if ranges.len() != places.len() {
            return Err(unmatched(ranges.len()));
        }
        let answers: Vec<Answer> = places.iter().copied().zip(ranges.iter().cloned()).collect();
        presence::check(self.conversation, &text, &answers)?;
        let weighted = self.weighted(&answers);
        Ok((text, Counted::with_weights(ranges, &weighted)))
    }

    /// Everything from a place on, in which answers may have weights of their own.
    fn whole(&self, text: String, start: usize) -> Result<(String, Counted), RowFault> {
        let of_turn =
            |place: &usize| self.conversation.turns[*place].weight.is_some_and(|weight| weight != 1.0);
        let places = self.conversation.answers().filter(of_turn);
        let answers: Vec<Answer> =
            places.map(|place| Ok((place, self.answer(place, &text)?))).collect::<Result<_, RowFault>>()?;
        let everything: Vec<Answer> =
            self.conversation.answers().map(|place| (place, 0..text.len())).collect();
        presence::check(self.conversation, &text, &everything)?;
        let whole = std::iter::once(start..text.len());
        let counted = Counted::with_weights(whole, &self.weighted(&answers));
        Ok((text, counted))
    }

    fn weighted(&self, answers: &[Answer]) -> Vec<Span> {
        let span = |(place, bytes): &Answer| {
            Some(Span { bytes: bytes.clone(), weight: self.conversation.turns[*place].weight? })
        };
        answers.iter().filter_map(span).collect()
    }
}

fn refused(error: DataError) -> RowFault {
    match error {
        DataError::Render { reason, .. } => RowFault::Refused { reason },
        other => RowFault::Refused { reason: other.to_string() },
    }
}

/// What follows what two texts have in common, in a few words.
fn difference(wanted: &str, found: &str) -> (String, String) {
    const SHOWN: usize = 40;
    let same = wanted.chars().zip(found.chars()).take_while(|(a, b)| a == b).count();
    let part = |text: &str| text.chars().skip(same).take(SHOWN).collect();
    (part(wanted), part(found))
}
