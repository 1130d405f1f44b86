//! A place for one sequence, and the choice that grows in it.

use super::answer_text::{AnswerText, Flow, Piece};
use super::grammar::{Constraint, Document, Grammar};
use super::job::{Counts, Event, Form, Job, Reason};
use super::logprobs::{Distribution, Place};
use super::token_bytes::TokenBytes;
use olive_core::Result;
use olive_decoder::{Continuation, Feed, Finish, LanguageModel, Limits, SamplingOptions, TextStream};
use olive_runtime::{Generator, LoadedModel, ModelSequence};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::error::TrySendError;

/// Prompts are computed in pieces that end at multiples of this: others have their turn between them, and a piece gives the
/// same numbers whatever of the prompt was there already.
pub(crate) const CHUNK: usize = 64;

/// How long a reader may take nothing before its place goes to others.
const PATIENCE: Duration = Duration::from_secs(1);

/// A sequence that is kept when its answer is done: the next prompt may begin like it.
pub(crate) struct Slot<'g> {
    pub(crate) sequence: ModelSequence,
    /// The adapter that reads the sequence.
    pub(crate) variant: usize,
    /// So many of its tokens were computed as whole chunks of prompts.
    pub(crate) whole: usize,
    /// When its last answer began.
    pub(crate) used: u64,
    pub(crate) work: Option<Work<'g>>,
}

/// A choice under way.
pub(crate) struct Work<'g> {
    job: Arc<Job>,
    choice: usize,
    continuation: Continuation,
    /// Where the answer is in the grammar that it keeps to.
    constraint: Option<Constraint>,
    text: AnswerText<'g>,
    /// How often each token was generated.
    said: BTreeMap<u32, u32>,
    counts: Counts,
    /// What the reader has not taken yet.
    outbox: VecDeque<Event>,
    /// Since its reader takes nothing.
    paused: Option<Instant>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// All was said.
    Ended,
    Failed,
}

/// What is left of a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Tokens.
    Ready,
    /// Its reader takes nothing.
    Paused,
    /// Nothing.
    Over,
}

impl<'g> Slot<'g> {
    /// Tokens at the beginning of `prompt` that need not be computed.
    pub(crate) fn shared(&self, model: &LoadedModel, prompt: &[u32]) -> usize {
        let held = model.tokens(&self.sequence);
        let common = held.iter().zip(prompt).take_while(|(a, b)| a == b).count();
        let common = common.min(self.whole).min(prompt.len() - 1);
        common - common % CHUNK
    }

    /// Begins a choice, whose prompt shares its first `shared` tokens with the sequence.
    ///
    /// # Errors
    /// There is no memory for it.
    pub(crate) fn begin(
        &mut self,
        generator: &'g Generator,
        job: Arc<Job>,
        choice: usize,
        shared: usize,
        context: usize,
    ) -> Result<()> {
        let (model, prompt) = (generator.model(), job.prompt(choice));
        self.whole = model.truncate(&mut self.sequence, shared)?;
        let limits = Limits {
            max_new_tokens: job.generation.max_tokens.unwrap_or(context),
            context_length: context,
            stop: job.generation.stop_tokens.clone(),
        };
        let sampling = SamplingOptions { seed: job.seed(choice), ..job.generation.sampling };
        let continuation = Continuation::begin(model, &mut self.sequence, prompt, &sampling, limits)?;
        let stream = match job.form {
            Form::Chat => TextStream::new(generator.tokenizer()),
            Form::Text => TextStream::after(generator.tokenizer(), prompt),
        };
        let counts = Counts { prompt: prompt.len(), cached: continuation.reused_tokens(), generated: 0 };
        self.work = Some(Work {
            text: AnswerText::new(stream, job.generation.stop.clone()),
            constraint: job.grammar.as_ref().map(Grammar::begin),
            job,
            choice,
            continuation,
            said: BTreeMap::new(),
            counts,
            outbox: VecDeque::new(),
            paused: None,
            state: State::Open,
        });
        Ok(())
    }

    /// Goes on with a choice that had given up its place; what the sequence does not share with it is computed again.
    ///
    /// # Errors
    /// There is no memory for it.
    pub(crate) fn resume(&mut self, model: &LoadedModel, work: Work<'g>, shared: usize) -> Result<()> {
        self.whole = model.truncate(&mut self.sequence, shared)?;
        self.work = Some(work);
        Ok(())
    }

    /// Whether there is more to be fed than the last token.
    pub(crate) fn is_reading(&self, model: &LoadedModel) -> bool {
        let held = model.tokens(&self.sequence).len();
        let pending = self.work.as_ref().and_then(|work| work.continuation.pending_after(held));
        pending.is_some_and(|pending| pending.len() > 1) || self.generated() == 0
    }

    /// What the model is to be fed next: a piece of the prompt, or the last token.
    pub(crate) fn feed(&mut self, model: &LoadedModel) -> Option<Feed<'_, ModelSequence>> {
        let work = self.work.as_ref().filter(|work| work.state == State::Open)?;
        let held = model.tokens(&self.sequence).len();
        let tokens = work.continuation.pending_after(held)?;
        let tokens = &tokens[..tokens.len().min(CHUNK - held % CHUNK)];
        Some(Feed { sequence: &mut self.sequence, tokens })
    }

    /// Tokens of the answer so far.
    pub(crate) fn generated(&self) -> usize {
        self.work.as_ref().map_or(0, |work| work.counts.generated)
    }

    /// Goes on with the logits after what was fed.
    ///
    /// # Errors
    /// Logits that are not numbers, a token that the tokenizer does not know.
    pub(crate) fn advance(
        &mut self,
        model: &LoadedModel,
        logits: Vec<f32>,
        bytes: &TokenBytes<'_>,
    ) -> Result<()> {
        let Some(work) = &mut self.work else { return Ok(()) };
        let held = model.tokens(&self.sequence).len();
        if held <= work.counts.prompt && held.is_multiple_of(CHUNK) {
            self.whole = held;
        }
        match work.continuation.pending_after(held) {
            Some([]) => work.take(logits, bytes),
            _ => Ok(()),
        }
    }
}

impl Work<'_> {
    pub(crate) fn job(&self) -> &Arc<Job> {
        &self.job
    }

    /// All tokens, of prompt and answer.
    pub(crate) fn tokens(&self) -> &[u32] {
        self.continuation.pending_after(0).unwrap_or_default()
    }

    /// Whether its reader has taken nothing for so long that others go first.
    pub(crate) fn is_stalled(&self) -> bool {
        self.paused.is_some_and(|since| since.elapsed() > PATIENCE)
    }

    /// Whether the reader has taken all that there was.
    pub(crate) fn keeps_up(&self) -> bool {
        self.outbox.is_empty()
    }

    pub(crate) fn fail(&mut self) {
        self.state = State::Failed;
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.state == State::Failed
    }

    /// Gives the reader what it has room for.
    pub(crate) fn deliver(&mut self) -> Turn {
        if self.job.is_abandoned() {
            return Turn::Over;
        }
        while let Some(event) = self.outbox.pop_front() {
            match self.job.events.try_send(event) {
                Ok(()) => {}
                Err(TrySendError::Full(event)) => {
                    self.outbox.push_front(event);
                    self.paused.get_or_insert_with(Instant::now);
                    return Turn::Paused;
                }
                Err(TrySendError::Closed(_)) => return Turn::Over,
            }
        }
        self.paused = None;
        if self.state == State::Open { Turn::Ready } else { Turn::Over }
    }

    fn take(&mut self, mut logits: Vec<f32>, bytes: &TokenBytes<'_>) -> Result<()> {
        let generation = &self.job.generation;
        let distribution = generation.alternatives.map(|count| (count, Distribution::of(&logits)));
        if let Some(constraint) = &mut self.constraint {
            constraint.mask(&mut logits, &generation.stop_tokens)?;
        }
        generation.changes.apply(&mut logits, &self.said, generation.sampling.temperature);
        let Some(token) = self.continuation.advance(logits)? else {
            return self.end(Reason::Stop);
        };
        let constraint = self.constraint.as_mut();
        let document = constraint.map(|constraint| constraint.take(token)).transpose()?;
        let first = self.counts.generated == 0 && self.job.form == Form::Chat;
        let place = if first { Place::First } else { Place::Later };
        let logprob = distribution.map(|(count, distribution)| distribution.tell(token, count, bytes, place));
        self.counts.generated += 1;
        *self.said.entry(token).or_default() += 1;
        let (piece, flow) = self.text.push(token, logprob)?;
        self.give(piece);
        match (flow, self.continuation.finish()) {
            (Flow::Stopped, _) => {
                self.close(Reason::Stop);
                Ok(())
            }
            (Flow::On, _) if document == Some(Document::Whole) => self.end(Reason::Stop),
            (Flow::On, None) => Ok(()),
            (Flow::On, Some(Finish::Stop)) => self.end(Reason::Stop),
            (Flow::On, Some(Finish::Length | Finish::Context | Finish::Interrupted)) => {
                self.end(Reason::Length)
            }
        }
    }

    /// No more tokens come.
    fn end(&mut self, reason: Reason) -> Result<()> {
        let (piece, flow) = self.text.finish()?;
        self.give(piece);
        self.close(if flow == Flow::Stopped { Reason::Stop } else { reason });
        Ok(())
    }

    fn give(&mut self, piece: Piece) {
        if !piece.text.is_empty() || !piece.tokens.is_empty() {
            self.outbox.push_back(Event::Piece { choice: self.choice, piece });
        }
    }

    fn close(&mut self, reason: Reason) {
        self.state = State::Ended;
        self.outbox.push_back(Event::Finished { choice: self.choice, reason, counts: self.counts });
    }
}
