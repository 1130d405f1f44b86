//! Requests that wait for a model.

use super::job::Job;
use std::collections::{BTreeSet, VecDeque};
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
    /// Choices of each model that the one who works would begin at once.
    free: Vec<usize>,
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
        if state.would_wait(&job) && state.waits() >= self.limit {
            return Err(Refused::Full);
        }
        state.waiting.push_back(Waiting { job: Arc::new(job), next: 0 });
        self.changed.notify_one();
        Ok(())
    }

    /// The next choice to begin, if there is one now for a model with a free place.
    pub(crate) fn poll(&self, free: &[usize]) -> Next {
        self.lock().next(free)
    }

    /// The next choice to begin, when there is one.
    pub(crate) fn wait(&self, free: &[usize]) -> Next {
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

    /// Whether there is a choice that could begin if this model had a place.
    pub(crate) fn has_ready(&self, model: usize) -> bool {
        self.lock().waiting.iter().any(|waiting| waiting.job.target.model == model && waiting.is_read())
    }

    /// Requests of which nothing has begun.
    pub(crate) fn len(&self) -> usize {
        let mut state = self.lock();
        state.forget_the_abandoned();
        state.waiting.iter().filter(|waiting| waiting.next == 0).count()
    }

    /// Takes nothing more in.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }
}

impl Waiting {
    /// Whether its reader takes something.
    fn is_read(&self) -> bool {
        self.job.events.capacity() > 0
    }
}

impl State {
    fn next(&mut self, free: &[usize]) -> Next {
        self.forget_the_abandoned();
        self.free.clear();
        self.free.extend_from_slice(free);
        let Some(mut first) = self.ready().and_then(|place| self.waiting.remove(place)) else {
            return if self.closed && self.waiting.is_empty() { Next::Closed } else { Next::Nothing };
        };
        let (job, choice) = (Arc::clone(&first.job), first.next);
        first.next += 1;
        if first.next < job.choices() {
            // One of many choices takes its turn with the requests behind it.
            self.waiting.push_back(first);
        }
        self.free[job.target.model] -= 1;
        Next::Choice(job, choice)
    }

    /// The first request that could begin.
    fn ready(&self) -> Option<usize> {
        self.waiting
            .iter()
            .position(|waiting| self.free_of(waiting.job.target.model) > 0 && waiting.is_read())
    }

    /// Places that a model has free.
    fn free_of(&self, model: usize) -> usize {
        self.free.get(model).copied().unwrap_or(0)
    }

    /// Requests for a model of which nothing has begun.
    fn not_begun(&self, model: usize) -> usize {
        let of_model = self.waiting.iter().filter(|waiting| waiting.job.target.model == model);
        of_model.filter(|waiting| waiting.next == 0).count()
    }

    /// Whether all places of its model would go to others first.
    fn would_wait(&self, job: &Job) -> bool {
        self.not_begun(job.target.model) >= self.free_of(job.target.model)
    }

    /// Requests that find no place free.
    fn waits(&self) -> usize {
        let models: BTreeSet<usize> = self.waiting.iter().map(|waiting| waiting.job.target.model).collect();
        models.into_iter().map(|model| self.not_begun(model).saturating_sub(self.free_of(model))).sum()
    }

    fn forget_the_abandoned(&mut self) {
        self.waiting.retain(|waiting| !waiting.job.is_abandoned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api_error::ApiError;
    use crate::fields::Fields;
    use crate::generation::{Facts, Generation};
    use crate::job::{Event, Form};
    use crate::options::Target;
    use olive_decoder::SamplingOptions;
    use serde_json::json;
    use tokio::sync::mpsc;

    /// A request to the first model with a prompt of this token and some choices, and who waits for its answer.
    fn job(token: u32, choices: usize) -> (Job, mpsc::Receiver<Event>) {
        let object = json!({ "n": choices }).as_object().unwrap().clone();
        let (defaults, stop_tokens) = (SamplingOptions::GREEDY, [].into());
        let facts = Facts { vocabulary: 9, defaults, stop_tokens: &stop_tokens, choices };
        let generation = Generation::read(Fields::of(&object), &facts).unwrap();
        let (events, receiver) = mpsc::channel(1);
        let target = Target { model: 0, variant: 0 };
        let prompts = vec![vec![token]];
        (Job { target, form: Form::Text, prompts, generation, grammar: None, events }, receiver)
    }

    fn next(queue: &Queue) -> Option<(u32, usize)> {
        match queue.poll(&[1]) {
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
        events.try_send(Event::Failed(ApiError::failed())).unwrap();
        assert!(!queue.has_ready(0) && next(&queue).is_none(), "its reader takes nothing");
        reader.try_recv().unwrap();
        assert_eq!((next(&queue), next(&queue), next(&queue)), (Some((1, 1)), Some((1, 2)), None));
    }

    #[test]
    fn who_can_begin_at_once_does_not_wait() {
        let queue = Queue::new(1);
        assert!(matches!(queue.poll(&[2]), Next::Nothing));
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
        assert!(matches!(queue.poll(&[1]), Next::Closed));
        assert_eq!(queue.push(job(4, 1).0).err(), Some(Refused::Closed));
    }

    #[test]
    fn a_busy_model_holds_up_no_other() {
        let queue = Queue::new(1);
        let of = |token, model| {
            let (mut job, reader) = job(token, 1);
            job.target.model = model;
            (job, reader)
        };
        let (first, second) = (of(1, 0), of(2, 1));
        queue.push(first.0).unwrap();
        let busy_first = [0, 1];
        assert!(matches!(queue.poll(&busy_first), Next::Nothing));
        assert!(queue.has_ready(0) && !queue.has_ready(1));
        assert_eq!(queue.push(of(3, 0).0).err(), Some(Refused::Full), "one waits for the first model");
        queue.push(second.0).expect("the second model has a place");
        let Next::Choice(job, 0) = queue.poll(&busy_first) else { panic!("nothing to begin") };
        assert_eq!(job.prompts, [[2]]);
        let full = of(4, 1);
        assert_eq!(queue.push(full.0).err(), Some(Refused::Full), "all places are taken, and one waits");
    }
}
