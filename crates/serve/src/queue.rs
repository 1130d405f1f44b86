//! Requests that wait for the model.

use super::job::Job;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often to look whether readers take something again.
const READERS: Duration = Duration::from_millis(5);

/// A bounded queue between many that ask and one that works.
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    limit: usize,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    /// Choices that the one who works would begin at once.
    free: usize,
    closed: bool,
}

/// A request, of which the choices before `next` are under way.
struct Waiting {
    job: Arc<Job>,
    next: usize,
}

/// Why a request was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    Full,
    Closed,
}

/// What there is to do.
pub(crate) enum Next {
    /// A choice of a request.
    Choice(Arc<Job>, usize),
    Nothing,
    /// Nothing, and nothing will come.
    Closed,
}

impl Queue {
    pub(crate) fn new(limit: usize) -> Queue {
        Queue { state: Mutex::default(), changed: Condvar::new(), limit }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a request in.
    pub(crate) fn push(&self, job: Job) -> Result<(), Refused> {
        let mut state = self.lock();
        if state.closed {
            return Err(Refused::Closed);
        }
        state.forget_the_abandoned();
        if state.not_begun() >= self.limit.saturating_add(state.free) {
            return Err(Refused::Full);
        }
        state.waiting.push_back(Waiting { job: Arc::new(job), next: 0 });
        self.changed.notify_one();
        Ok(())
    }

    /// The next choice to begin, if there is one now and a place is free.
    pub(crate) fn poll(&self, free: usize) -> Next {
        self.lock().next(free)
    }

    /// The next choice to begin, when there is one.
    pub(crate) fn wait(&self, free: usize) -> Next {
        let mut state = self.lock();
        loop {
            match state.next(free) {
                Next::Nothing if state.waiting.is_empty() => {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                // Nobody says when a reader takes something, or goes.
                Next::Nothing => {
                    let woken = self.changed.wait_timeout(state, READERS);
                    state = woken.unwrap_or_else(PoisonError::into_inner).0;
                }
                next => return next,
            }
        }
    }

    /// Whether there is a choice that could begin.
    pub(crate) fn has_ready(&self) -> bool {
        self.lock().ready().is_some()
    }

    /// Requests of which nothing has begun.
    pub(crate) fn len(&self) -> usize {
        let mut state = self.lock();
        state.forget_the_abandoned();
        state.not_begun()
    }

    /// Takes nothing more in.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }
}

impl State {
    fn next(&mut self, free: usize) -> Next {
        self.forget_the_abandoned();
        self.free = free;
        let Some(mut first) = self.ready().and_then(|place| self.waiting.remove(place)) else {
            return if self.closed && self.waiting.is_empty() { Next::Closed } else { Next::Nothing };
        };
        let (job, choice) = (Arc::clone(&first.job), first.next);
        first.next += 1;
        if first.next < job.choices() {
            // One of many choices takes its turn with the requests behind it.
            self.waiting.push_back(first);
        }
        self.free = free.saturating_sub(1);
        Next::Choice(job, choice)
    }

    /// The first request whose reader takes something.
    fn ready(&self) -> Option<usize> {
        self.waiting.iter().position(|waiting| waiting.job.events.capacity() > 0)
    }

    fn not_begun(&self) -> usize {
        self.waiting.iter().filter(|waiting| waiting.next == 0).count()
    }

    fn forget_the_abandoned(&mut self) {
        self.waiting.retain(|waiting| !waiting.job.is_abandoned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::Fields;
    use crate::generation::{Facts, Generation};
    use crate::job::{Event, Form};
    use olive_decoder::SamplingOptions;
    use serde_json::json;
    use tokio::sync::mpsc;

    /// A request with a prompt of this token and some choices, and who waits for its answer.
    fn job(token: u32, choices: usize) -> (Job, mpsc::Receiver<Event>) {
        let object = json!({ "n": choices }).as_object().unwrap().clone();
        let (defaults, stop_tokens) = (SamplingOptions::GREEDY, [].into());
        let facts = Facts { vocabulary: 9, defaults, stop_tokens: &stop_tokens, choices };
        let generation = Generation::read(Fields::of(&object), &facts).unwrap();
        let (events, receiver) = mpsc::channel(1);
        (Job { variant: 0, form: Form::Text, prompts: vec![vec![token]], generation, events }, receiver)
    }

    fn next(queue: &Queue) -> Option<(u32, usize)> {
        match queue.poll(1) {
            Next::Choice(job, choice) => Some((job.prompts[0][0], choice)),
            Next::Nothing | Next::Closed => None,
        }
    }

    #[test]
    fn choices_take_turns_and_stalled_readers_wait() {
        let queue = Queue::new(9);
        let ((one, mut reader), (two, _other)) = (job(1, 3), job(2, 1));
        let events = one.events.clone();
        queue.push(one).unwrap();
        queue.push(two).unwrap();
        assert_eq!((next(&queue), next(&queue), queue.len()), (Some((1, 0)), Some((2, 0)), 0));
        events.try_send(Event::Failed).unwrap();
        assert!(!queue.has_ready() && next(&queue).is_none(), "its reader takes nothing");
        reader.try_recv().unwrap();
        assert_eq!((next(&queue), next(&queue), next(&queue)), (Some((1, 1)), Some((1, 2)), None));
    }

    #[test]
    fn who_can_begin_at_once_does_not_wait() {
        let queue = Queue::new(1);
        assert!(matches!(queue.poll(2), Next::Nothing));
        let (jobs, _readers): (Vec<Job>, Vec<_>) = (0..4).map(|token| job(token, 1)).unzip();
        let taken: Vec<bool> = jobs.into_iter().map(|job| queue.push(job).is_ok()).collect();
        assert_eq!(taken, [true, true, true, false]);
    }

    #[test]
    fn the_place_of_who_went_away_is_free() {
        let queue = Queue::new(1);
        let ((one, reader), (two, _other), (three, _third)) = (job(1, 1), job(2, 1), job(3, 1));
        queue.push(one).unwrap();
        assert_eq!((queue.push(two).err(), queue.len()), (Some(Refused::Full), 1));
        drop(reader);
        queue.push(three).unwrap();
        assert_eq!((next(&queue), next(&queue)), (Some((3, 0)), None));
        queue.close();
        assert!(matches!(queue.poll(1), Next::Closed));
        assert_eq!(queue.push(job(4, 1).0).err(), Some(Refused::Closed));
    }
}
