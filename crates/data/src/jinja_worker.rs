//! Threads on which templates are compiled and rendered: their stacks are as large as a template may need, and they are left
//! to themselves where it takes too long.

use minijinja::{Error, ErrorKind};
use olive_core::contain::contain;
use std::cell::RefCell;
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

/// A thread that waits for work until it is dropped.
struct Worker(Sender<Box<dyn FnOnce() + Send>>);

impl Worker {
    fn start(stack: usize) -> Result<Worker, Error> {
        let (work, received) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
        std::thread::Builder::new()
            .stack_size(stack)
            .spawn(move || received.into_iter().for_each(|work| work()))
            .map_err(|error| fail(format!("there is no memory for it: {error}")))?;
        Ok(Worker(work))
    }

    /// What the work gives, and the worker, unless it is still at it.
    fn run<T: Send + 'static>(self, longest: Duration, work: Work<T>) -> (Option<Worker>, Result<T, Error>) {
        let (done, result) = mpsc::channel();
        // Nobody listens any more where it took too long.
        let sent = self.0.send(Box::new(move || drop(done.send(contain(work)))));
        sent.expect("a worker lives as long as its owner");
        match result.recv_timeout(longest) {
            Ok(Ok(outcome)) => (Some(self), outcome),
            Ok(Err(panic)) => (Some(self), Err(fail(format!("it cannot be handled: {panic}")))),
            Err(_) => (None, Err(fail(format!("it takes longer than {} seconds", longest.as_secs())))),
        }
    }
}

/// What is done on another thread.
pub(super) type Work<T> = Box<dyn FnOnce() -> Result<T, Error> + Send>;

fn fail(reason: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, reason)
}

/// Does this on a thread of its own.
///
/// # Errors
/// The work fails, or takes too long.
pub(super) fn on_own_stack<T: Send + 'static>(
    stack: usize,
    longest: Duration,
    work: Work<T>,
) -> Result<T, Error> {
    Worker::start(stack)?.run(longest, work).1
}

/// Does this on the thread that stands by the calling one; `stack` is always the same.
///
/// # Errors
/// The work fails, or takes too long.
pub(super) fn on_standby<T: Send + 'static>(
    stack: usize,
    longest: Duration,
    work: Work<T>,
) -> Result<T, Error> {
    thread_local! {
        static WORKER: RefCell<Option<Worker>> = const { RefCell::new(None) };
    }
    let worker = WORKER.take().map_or_else(|| Worker::start(stack), Ok)?;
    let (worker, outcome) = worker.run(longest, work);
    WORKER.set(worker);
    outcome
}
