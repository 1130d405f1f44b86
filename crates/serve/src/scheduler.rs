//! The thread that owns the model: every sequence gets a token in its turn.

use super::job::{Event, Job};
use super::metrics::Metrics;
use super::queue::{Next, Queue};
use super::room::Room;
use super::slot::{Slot, Turn, Work};
use super::token_bytes::TokenBytes;
use olive_core::Result;
use olive_core::event::{Event as Message, EventSink};
use olive_decoder::{Feed, LanguageModel};
use olive_runtime::{Generator, ModelSequence, OnnxAdapter};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// How long to wait for readers, when all that are served take nothing.
const REST: Duration = Duration::from_millis(5);

/// Which sequences are worked on.
pub(crate) struct Scheduler<'g> {
    generator: &'g Generator,
    /// Those beside the model as it was loaded: the first is variant 1.
    adapters: &'g [Arc<OnnxAdapter>],
    room: Room,
    queue: &'g Queue,
    metrics: &'g Metrics,
    events: &'g dyn EventSink,
    slots: Vec<Slot<'g>>,
    bytes: TokenBytes<'g>,
    /// Choices whose readers take nothing, and whose places others needed.
    parked: VecDeque<Work<'g>>,
    /// Choices that have begun.
    begun: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    /// All is done, and nothing will come.
    Closed,
}

impl<'g> Scheduler<'g> {
    pub(crate) fn new(
        generator: &'g Generator,
        adapters: &'g [Arc<OnnxAdapter>],
        room: Room,
        queue: &'g Queue,
        metrics: &'g Metrics,
        events: &'g dyn EventSink,
    ) -> Scheduler<'g> {
        let bytes = TokenBytes::new(generator.tokenizer());
        Scheduler {
            generator,
            adapters,
            room,
            queue,
            metrics,
            events,
            slots: Vec::new(),
            bytes,
            parked: VecDeque::new(),
            begun: 0,
        }
    }

    /// Works until the queue is closed and all is done.
    pub(crate) fn run(mut self) {
        loop {
            self.resume();
            if self.fill() == Flow::Closed {
                return;
            }
            match self.settle() {
                Turn::Ready => {
                    self.read_prompts();
                    self.answer();
                }
                Turn::Paused => std::thread::sleep(REST),
                Turn::Over => {}
            }
        }
    }

    /// Begins choices while there are places. Waits for one if there is nothing else to do.
    fn fill(&mut self) -> Flow {
        loop {
            let busy = self.busy();
            let free = self.room.sequences - busy;
            let idle = busy == 0 && self.parked.is_empty();
            if free == 0 {
                break;
            }
            match if idle { self.queue.wait(free) } else { self.queue.poll(free) } {
                Next::Choice(job, choice) => self.begin(&job, choice),
                Next::Closed if idle => return Flow::Closed,
                Next::Nothing | Next::Closed => break,
            }
            self.count();
        }
        Flow::On
    }

    fn busy(&self) -> usize {
        self.slots.iter().filter(|slot| slot.work.is_some()).count()
    }

    /// Requests under way, for the metrics.
    fn count(&self) {
        let jobs = self.slots.iter().filter_map(|slot| slot.work.as_ref()).chain(&self.parked);
        let jobs: BTreeSet<*const Job> = jobs.map(|work| Arc::as_ptr(work.job())).collect();
        self.metrics.set_running(jobs.len());
    }

    fn begin(&mut self, job: &Arc<Job>, choice: usize) {
        if let Err(error) = self.try_begin(job, choice) {
            self.fail(job, &error);
        }
    }

    fn try_begin(&mut self, job: &Arc<Job>, choice: usize) -> Result<()> {
        let (index, shared) = self.place(job.variant, job.prompt(choice))?;
        let slot = &mut self.slots[index];
        let begun = slot.begin(self.generator, Arc::clone(job), choice, shared, self.room.context);
        if begun.is_err() {
            self.slots.remove(index);
        } else {
            self.metrics.add_prompt(job.prompt(choice).len());
        }
        begun
    }

    /// Gives places to choices whose readers take something again.
    fn resume(&mut self) {
        for _ in 0..self.parked.len() {
            let Some(mut work) = self.parked.pop_front() else { return };
            match work.deliver() {
                Turn::Over => {}
                Turn::Ready if self.busy() < self.room.sequences => {
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
        let (index, shared) = self.place(work.job().variant, work.tokens())?;
        let resumed = self.slots[index].resume(self.generator.model(), work, shared);
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
        let model = self.generator.model();
        let idle = || self.slots.iter().enumerate().filter(|(_, slot)| slot.work.is_none());
        let alike = idle().filter(|(_, slot)| self.room.prefix_cache && slot.variant == variant);
        let best =
            alike.map(|(index, slot)| (index, slot.shared(model, tokens))).max_by_key(|(_, shared)| *shared);
        let full = self.slots.len() >= self.room.sequences;
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
        let adapter = variant.checked_sub(1).and_then(|index| self.adapters.get(index));
        self.generator.model().new_sequence_with(adapter)
    }

    /// Hands out what was said, and frees the places of what is done, or of those who wait for readers while others wait for
    /// places. Paused if nobody has room for more.
    fn settle(&mut self) -> Turn {
        let mut state = if self.parked.is_empty() { Turn::Over } else { Turn::Paused };
        let wanted = self.queue.has_ready() || self.parked.iter().any(Work::keeps_up);
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
        self.count();
        state
    }

    /// A piece of everything that is not computed yet but for its last token.
    fn read_prompts(&mut self) {
        let model = self.generator.model();
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
        let model = self.generator.model();
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
        let model = self.generator.model();
        let slot = &mut self.slots[index];
        let before = slot.generated();
        let advanced = outcome.and_then(|logits| slot.advance(model, logits, &self.bytes));
        self.metrics.add_generated(slot.generated() - before);
        if let Err(error) = advanced
            && let Some(work) = &mut slot.work
        {
            work.fail();
            let job = Arc::clone(work.job());
            self.fail(&job, &error);
        }
    }

    fn fail(&self, job: &Job, error: &olive_core::Error) {
        self.events.emit(Message::Warning { message: format!("an answer failed: {}", error.with_causes()) });
        // A reader with no room for this is told by the end of the channel.
        let _ = job.events.try_send(Event::Failed);
    }
}
