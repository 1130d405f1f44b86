//! What work says about itself. Sinks must not block for long and must never fail.

use crate::secrets::hidden;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;

/// Takes events, from any thread.
pub trait EventSink: Sync {
    fn emit(&self, event: Event);
}

/// Discards everything.
impl EventSink for () {
    fn emit(&self, _: Event) {}
}

/// In what a phase counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    Steps,
    Rows,
    Tensors,
    Bytes,
    Tokens,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A pass begins: the `index`-th (from 1) of `total`.
    PassStarted {
        pass: String,
        r#type: Cow<'static, str>,
        index: usize,
        total: usize,
    },
    /// A pass is done, by running it or by finding it in the cache.
    PassFinished {
        pass: String,
        r#type: Cow<'static, str>,
        cached: bool,
        seconds: f64,
        bytes: u64,
        path: PathBuf,
    },
    /// Inside a pass, a piece of work with a known or unknown amount begins.
    PhaseStarted {
        phase: Cow<'static, str>,
        total: Option<u64>,
        unit: Unit,
    },
    /// `done` of the current phase's total.
    PhaseProgress {
        done: u64,
    },
    PhaseFinished {
        phase: Cow<'static, str>,
    },
    /// An optimiser step is done.
    TrainStep {
        step: usize,
        total_steps: usize,
        epoch: f64,
        loss: f64,
        learning_rate: f64,
        grad_norm: f64,
        tokens_per_second: f64,
        seconds_left: f64,
        /// True every `logging_steps`; then `mean_loss` is the mean since the last such step.
        log: bool,
        mean_loss: f64,
    },
    /// The held-out rows were evaluated after `step` optimiser steps.
    Evaluated {
        step: usize,
        loss: f64,
        tokens: usize,
        seconds: f64,
    },
    /// A search tries a point: the `index`-th (from 1) of `total`, where that is known.
    PointStarted {
        index: usize,
        total: Option<u64>,
        /// The values in which points differ.
        point: String,
    },
    /// A point was tried. `error` says why it gave no result.
    PointFinished {
        index: usize,
        model_id: Option<String>,
        error: Option<String>,
        seconds: f64,
        metrics: BTreeMap<String, f64>,
    },
    /// A `tracing` message of at least the chosen level.
    Log {
        level: Cow<'static, str>,
        target: String,
        message: String,
    },
    Info {
        message: String,
    },
    Warning {
        message: String,
    },
    /// What stopped the program, and what to do about it.
    Error {
        message: String,
        hint: Option<String>,
    },
}

impl Event {
    /// The event, as anybody may read it.
    pub fn without_secrets(mut self) -> Event {
        match &mut self {
            Event::Log { message, .. } | Event::Info { message } | Event::Warning { message } => {
                hide(message)
            }
            Event::Error { message, hint } => {
                [Some(message), hint.as_mut()].into_iter().flatten().for_each(hide)
            }
            _ => {}
        }
        self
    }
}

fn hide(text: &mut String) {
    if let Cow::Owned(hidden) = hidden(text) {
        *text = hidden;
    }
}

/// An event and when it happened. As JSON it is one object, as `--log-format json` prints it and a run record keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TimedEvent {
    /// Seconds since 1970, to the millisecond.
    pub time: f64,
    #[serde(flatten)]
    pub event: Event,
}

impl TimedEvent {
    pub fn now(event: Event) -> TimedEvent {
        TimedEvent { time: now(), event }
    }
}

/// Seconds since 1970, to the millisecond.
pub fn now() -> f64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0.0, |time| (time.as_secs_f64() * 1e3).round() / 1e3)
}
