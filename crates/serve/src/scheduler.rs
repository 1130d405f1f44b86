//! The thread that owns the models: each gets the processor in its turn, and gives a token to each of its sequences.
//!
//! All models are on one thread. A computation takes all cores: a second one beside it would hold up both at every operator,
//! where their threads meet. Models that have work get equal shares of the time.

use super::job::Job;
use super::places::{Common, Places, Served};
use super::queue::Next;
use super::slot::Turn;
use super::turns::Turns;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long to wait for readers, when all that are served take nothing.
const REST: Duration = Duration::from_millis(5);

/// Which model is worked with.
pub(crate) struct Scheduler<'g> {
    common: Common<'g>,
    models: Vec<Places<'g>>,
    turns: Turns,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    /// All is done, and nothing will come.
    Closed,
}

impl<'g> Scheduler<'g> {
    pub(crate) fn new(models: Vec<Served<'g>>, common: Common<'g>) -> Scheduler<'g> {
        let models = models.into_iter().enumerate().map(|(index, model)| Places::new(index, model, common));
        let models: Vec<Places<'g>> = models.collect();
        Scheduler { common, turns: Turns::of(models.len()), models }
    }

    /// Works until the queue is closed and all is done.
    pub(crate) fn run(mut self) {
        loop {
            self.models.iter_mut().for_each(Places::resume);
            if self.fill() == Flow::Closed {
                return;
            }
            let states: Vec<Turn> = self.models.iter_mut().map(Places::settle).collect();
            self.count();
            match self.turns.next(|model| states[model] == Turn::Ready) {
                Some(model) => {
                    let start = Instant::now();
                    self.models[model].advance();
                    self.turns.spend(model, start.elapsed());
                }
                None if states.contains(&Turn::Paused) => std::thread::sleep(REST),
                None => {}
            }
        }
    }

    /// Begins choices while there are places. Waits for one if there is nothing else to do.
    fn fill(&mut self) -> Flow {
        loop {
            let free: Vec<usize> = self.models.iter().map(Places::free).collect();
            let idle = self.models.iter().all(Places::is_idle);
            if free.iter().all(|free| *free == 0) {
                break;
            }
            let queue = self.common.queue;
            match if idle { queue.wait(&free) } else { queue.poll(&free) } {
                Next::Choice(job, choice) => self.models[job.target.model].begin(&job, choice),
                Next::Closed if idle => return Flow::Closed,
                Next::Nothing | Next::Closed => break,
            }
            self.count();
        }
        Flow::On
    }

    /// Requests under way, for the metrics.
    fn count(&self) {
        let jobs: BTreeSet<*const Job> = self.models.iter().flat_map(Places::jobs).map(Arc::as_ptr).collect();
        self.common.metrics.set_running(jobs.len());
    }
}
