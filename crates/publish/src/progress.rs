//! What a push has done so far, for those who watch it.

use olive_core::Result;
use olive_core::cancel::CancelFlag;
use olive_core::event::{Event, EventSink, Unit};
use olive_model::watched;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Bytes of a phase. Clones count the same.
#[derive(Clone)]
pub(crate) struct Counter(Arc<AtomicU64>);

impl Counter {
    pub(crate) fn new() -> Counter {
        Counter(Arc::default())
    }

    pub(crate) fn add(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    fn take_back(&self, bytes: u64) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The part of one request in a counter: what it sent counts only if it succeeds.
#[derive(Clone)]
pub(crate) struct Share {
    whole: Counter,
    own: Counter,
    started: Instant,
    /// Milliseconds from the start to when bytes were asked for last.
    heard: Arc<AtomicU64>,
}

impl Share {
    pub(crate) fn of(whole: &Counter) -> Share {
        Share { whole: whole.clone(), own: Counter::new(), started: Instant::now(), heard: Arc::default() }
    }

    pub(crate) fn add(&self, bytes: u64) {
        self.own.add(bytes);
        self.whole.add(bytes);
        self.heard.store(self.started.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// How long no bytes were asked for.
    pub(crate) fn silence(&self) -> Duration {
        self.started.elapsed().saturating_sub(Duration::from_millis(self.heard.load(Ordering::Relaxed)))
    }

    pub(crate) fn take_back(&self) {
        self.whole.take_back(self.own.get());
    }
}

/// Reports a phase of work in bytes until it ends, or is not wanted any more.
///
/// # Errors
/// Those of the work; [`olive_core::error::Interrupted`].
pub(crate) async fn watch<T, E: From<olive_core::Error>>(
    phase: &'static str,
    total: u64,
    counter: &Counter,
    (cancel, events): (&CancelFlag, &dyn EventSink),
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    events.emit(Event::PhaseStarted { phase: phase.into(), total: Some(total), unit: Unit::Bytes });
    let result =
        cancellable(cancel, work, || events.emit(Event::PhaseProgress { done: counter.get() })).await;
    events.emit(Event::PhaseFinished { phase: phase.into() });
    result
}

/// Does work until it ends, or is not wanted any more.
///
/// # Errors
/// Those of the work; [`olive_core::error::Interrupted`].
pub(crate) async fn cancellable<T, E: From<olive_core::Error>>(
    cancel: &CancelFlag,
    work: impl Future<Output = Result<T, E>>,
    mut on_tick: impl FnMut(),
) -> Result<T, E> {
    let look = || {
        cancel.check()?;
        on_tick();
        Ok(())
    };
    watched(work, look).await?
}
