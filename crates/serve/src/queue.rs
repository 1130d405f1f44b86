//! Requests that wait for the model.

use super::job::Job;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// A bounded queue between many that ask and one that works.
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    limit: usize,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
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
        if state.waiting.len() >= self.limit {
            return Err(Refused::Full);
        }
        state.waiting.push_back(Waiting { job: Arc::new(job), next: 0 });
        self.changed.notify_one();
        Ok(())
    }

    /// The next choice to begin, if there is one now.
    pub(crate) fn poll(&self) -> Next {
        self.lock().next()
    }

    /// The next choice to begin, when there is one.
    pub(crate) fn wait(&self) -> Next {
        let mut state = self.lock();
        loop {
            match state.next() {
                Next::Nothing => {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                next => return next,
            }
        }
    }

    /// Requests that wait.
    pub(crate) fn len(&self) -> usize {
        let mut state = self.lock();
        state.forget_the_abandoned();
        state.waiting.len()
    }

    /// Takes nothing more in.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }
}

impl State {
    fn next(&mut self) -> Next {
        self.forget_the_abandoned();
        let Some(first) = self.waiting.front_mut() else {
            return if self.closed { Next::Closed } else { Next::Nothing };
        };
        let (job, choice) = (Arc::clone(&first.job), first.next);
        first.next += 1;
        if first.next == job.choices() {
            self.waiting.pop_front();
        }
        Next::Choice(job, choice)
    }

    fn forget_the_abandoned(&mut self) {
        self.waiting.retain(|waiting| !waiting.job.is_abandoned());
    }
}
