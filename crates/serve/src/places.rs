//! The places of one model: its sequences, and the choices that grow in them.

use super::api_error::ApiError;
use super::formats;
use super::job::{Event, Job};
use super::metrics::Metrics;
use super::queue::Queue;
use super::room::Room;
use super::slot::{Slot, Turn, Work};
use super::token_bytes::TokenBytes;
use olive_core::Result;
use olive_core::event::{Event as Message, EventSink};
use olive_decoder::{Feed, LanguageModel};
use olive_runtime::{Generator, ModelSequence, OnnxAdapter};
use std::collections::VecDeque;
use std::sync::Arc;

/// What the places of all models share.
#[derive(Clone, Copy)]
pub(crate) struct Common<'g> {
    pub(crate) queue: &'g Queue,
    pub(crate) metrics: &'g Metrics,
    pub(crate) events: &'g dyn EventSink,
}

/// A model that is served.
pub(crate) struct Served<'g> {
    pub(crate) generator: &'g Generator,
    /// Those beside the model as it was loaded: the first is variant 1.
    pub(crate) adapters: &'g [Arc<OnnxAdapter>],
    pub(crate) room: Room,
}

pub(crate) struct Places<'g> {
    /// Which of the models.
    index: usize,
    model: Served<'g>,
    common: Common<'g>,
    slots: Vec<Slot<'g>>,
    bytes: TokenBytes<'g>,
    /// Choices whose readers take nothing, and whose places others needed.
    parked: VecDeque<Work<'g>>,
    /// Choices that have begun.
    begun: u64,
}

impl<'g> Places<'g> {
    pub(crate) fn new(index: usize, model: Served<'g>, common: Common<'g>) -> Places<'g> {
        let bytes = TokenBytes::new(model.generator.tokenizer());
        Places { index, model, common, slots: Vec::new(), bytes, parked: VecDeque::new(), begun: 0 }
    }

    /// Places where a choice could begin.
    pub(crate) fn free(&self) -> usize {
        self.model.room.sequences - self.busy()
    }

    /// Whether there is nothing to do.
    pub(crate) fn is_idle(&self) -> bool {
        self.busy() == 0 && self.parked.is_empty()
    }

    fn busy(&self) -> usize {
        self.slots.iter().filter(|slot| slot.work.is_some()).count()
    }

    /// The requests of all choices that have begun and not ended.
    pub(crate) fn jobs(&self) -> impl Iterator<Item = &Arc<Job>> {
        self.slots.iter().filter_map(|slot| slot.work.as_ref()).chain(&self.parked).map(Work::job)
    }

    pub(crate) fn begin(&mut self, job: &Arc<Job>, choice: usize) {
        if let Err(error) = self.try_begin(job, choice) {
            self.fail(job, &error);
        }
    }

    fn try_begin(&mut self, job: &Arc<Job>, choice: usize) -> Result<()> {
        let (index, shared) = self.place(job.target.variant, job.prompt(choice))?;
        let slot = &mut self.slots[index];
        let begun =
            slot.begin(self.model.generator, Arc::clone(job), choice, shared, self.model.room.context);
        if begun.is_err() {
            self.slots.remove(index);
        } else {
            self.common.metrics.add_prompt(job.target, job.prompt(choice).len());
        }
        begun
    }

    /// Gives places to choices whose readers take something again.
    pub(crate) fn resume(&mut self) {
        for _ in 0..self.parked.len() {
            let Some(mut work) = self.parked.pop_front() else { return };
            match work.deliver() {
                Turn::Over => {}
                Turn::Ready if self.busy() < self.model.room.sequences => {
                    let job = Arc::clone(work.job());
                    if let Err(error) = self.try_resume(work) {
                        self.fail(&job, &error);
                    }
                }
                Turn::Ready | Turn::Paused => self.parked.push_back(work),
            }
        }
    }

    fn try_resume(&mut self, work: Work<'g>) -> Result<()> {
        let (index, shared) = self.place(work.job().target.variant, work.tokens())?;
        let resumed = self.slots[index].resume(self.model.generator.model(), work, shared);
        if resumed.is_err() {
            self.slots.remove(index);
        }
        resumed
    }

    /// The slot for tokens of a variant, and how many of them it holds: that of the sequence which begins like them, if that
    /// leaves most of what it holds; else a new one, or the one that was not used for longest.
    fn place(&mut self, variant: usize, tokens: &[u32]) -> Result<(usize, usize)> {
        self.begun += 1;
        let (index, shared) = self.choose(variant, tokens)?;
        self.slots[index].used = self.begun;
        Ok((index, shared))
    }

    fn choose(&mut self, variant: usize, tokens: &[u32]) -> Result<(usize, usize)> {
        let model = self.model.generator.model();
        let idle = || self.slots.iter().enumerate().filter(|(_, slot)| slot.work.is_none());
        let alike = idle().filter(|(_, slot)| self.model.room.prefix_cache && slot.variant == variant);
        let best =
            alike.map(|(index, slot)| (index, slot.shared(model, tokens))).max_by_key(|(_, shared)| *shared);
        let full = self.slots.len() >= self.model.room.sequences;
        if let Some((index, shared)) = best
            && shared > 0
            && (full || 2 * shared >= self.slots[index].whole)
        {
            return Ok((index, shared));
        }
        if full && let Some((index, _)) = idle().min_by_key(|(_, slot)| slot.used) {
            if self.slots[index].variant == variant {
                return Ok((index, 0));
            }
            // Its memory goes before there is another.
            self.slots.remove(index);
        }
        let sequence = self.sequence(variant)?;
        self.slots.push(Slot { sequence, variant, whole: 0, used: 0, work: None });
        Ok((self.slots.len() - 1, 0))
    }

    fn sequence(&self, variant: usize) -> Result<ModelSequence> {
        let adapter = variant.checked_sub(1).and_then(|index| self.model.adapters.get(index));
        self.model.generator.model().new_sequence_with(adapter)
    }

    /// Hands out what was said, and frees the places of what is done, or of those who wait for readers while others wait for
    /// places. Paused if nobody has room for more.
    pub(crate) fn settle(&mut self) -> Turn {
        let mut state = if self.parked.is_empty() { Turn::Over } else { Turn::Paused };
        let wanted = self.common.queue.has_ready(self.index) || self.parked.iter().any(Work::keeps_up);
        for slot in &mut self.slots {
            let Some(work) = &mut slot.work else { continue };
            match work.deliver() {
                Turn::Over => slot.work = None,
                Turn::Ready => state = Turn::Ready,
                Turn::Paused => {
                    if wanted && work.is_stalled() {
                        self.parked.extend(slot.work.take());
                    }
                    if state == Turn::Over {
                        state = Turn::Paused;
                    }
                }
            }
        }
        state
    }

    /// A token of every answer whose reader keeps up, and a piece of every prompt.
    pub(crate) fn advance(&mut self) {
        self.read_prompts();
        self.answer();
    }

    /// A piece of everything that is not computed yet but for its last token.
    fn read_prompts(&mut self) {
        let model = self.model.generator.model();
        for index in 0..self.slots.len() {
            let slot = &mut self.slots[index];
            let Some(feed) = slot.is_reading(model).then(|| slot.feed(model)).flatten() else { continue };
            let outcome = model.feed(feed.sequence, feed.tokens);
            self.take(index, outcome);
        }
        self.forget_the_failed();
    }

    /// A token of every answer whose reader keeps up, all at once where the model can.
    fn answer(&mut self) {
        let model = self.model.generator.model();
        let mut places = Vec::new();
        let mut feeds: Vec<Feed<'_, ModelSequence>> = Vec::new();
        for (index, slot) in self.slots.iter_mut().enumerate() {
            let ready = !slot.is_reading(model) && slot.work.as_ref().is_some_and(Work::keeps_up);
            if let Some(feed) = ready.then(|| slot.feed(model)).flatten() {
                places.push(index);
                feeds.push(feed);
            }
        }
        let outcomes = model.feed_all(&mut feeds);
        for (index, outcome) in places.into_iter().zip(outcomes) {
            self.take(index, outcome);
        }
        self.forget_the_failed();
    }

    /// What a sequence holds whose computation failed is not known.
    fn forget_the_failed(&mut self) {
        self.slots.retain(|slot| slot.work.as_ref().is_none_or(|work| !work.has_failed()));
    }

    /// Goes on with a sequence, or gives it up.
    fn take(&mut self, index: usize, outcome: Result<Vec<f32>>) {
        let model = self.model.generator.model();
        let slot = &mut self.slots[index];
        let before = slot.generated();
        let advanced = outcome.and_then(|logits| slot.advance(model, logits, &self.bytes));
        let made = slot.generated() - before;
        let Some(work) = &mut slot.work else { return };
        let job = Arc::clone(work.job());
        self.common.metrics.add_generated(job.target, made);
        if let Err(error) = advanced {
            work.fail();
            self.fail(&job, &error);
        }
    }

    fn fail(&self, job: &Job, error: &olive_core::Error) {
        self.common
            .events
            .emit(Message::Warning { message: format!("an answer failed: {}", error.with_causes()) });
        // A reader with no room for this is told by the end of the channel.
        let told = error.downcast_ref().map_or_else(ApiError::failed, formats::lost);
        let _ = job.events.try_send(Event::Failed(told));
    }
}
