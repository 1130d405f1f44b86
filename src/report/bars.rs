//! Progress bars on a terminal.

use super::visible::visible;
use super::{number, plain, wrap};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use olive_core::event::{Event, TimedEvent, Unit};
use olive_core::event_hub::EventListener;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Draws on stderr; lines that stay are printed above the bar.
pub(crate) struct Bars {
    screen: MultiProgress,
    /// The bar of the phase, or of the training, that is going on.
    current: Mutex<Option<ProgressBar>>,
}

impl EventListener for Bars {
    fn on_event(&self, event: &TimedEvent) {
        let event = &event.event;
        match event {
            Event::PhaseStarted { phase, total, unit } => self.begin(phase, *total, *unit),
            Event::PhaseProgress { done } => self.with_bar(|bar| bar.set_position(*done)),
            Event::TrainStep { step, total_steps, loss, tokens_per_second, seconds_left, .. } => {
                let left = number::duration(*seconds_left);
                self.with_bar(|bar| {
                    bar.set_length(*total_steps as u64);
                    bar.set_position(*step as u64);
                    bar.set_message(format!("loss {loss:.4}  {tokens_per_second:.0} tokens/s  left {left}"));
                });
            }
            Event::PhaseFinished { .. } | Event::PassFinished { .. } => self.end(),
            _ => {}
        }
        if let Some(line) = plain::line(event) {
            // A terminal that is gone is no reason to stop.
            let _ = self.screen.println(wrap::for_stderr(&visible(&line)));
        }
    }

    fn finish(&self) {
        self.end();
    }
}

impl Bars {
    /// Bars, if stderr is a terminal that can move its cursor: with `TERM` unset or `dumb` it is not.
    pub(crate) fn on_stderr() -> Option<Bars> {
        let screen = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        (!screen.is_hidden()).then(|| Bars { screen, current: Mutex::new(None) })
    }

    fn begin(&self, phase: &str, total: Option<u64>, unit: Unit) {
        let count = match unit {
            Unit::Bytes => "{bytes}/{total_bytes}",
            Unit::Steps | Unit::Rows | Unit::Tensors | Unit::Tokens => "{pos}/{len}",
        };
        let template = match total {
            // It fits 80 columns; elsewhere the message is cut, as a bar that wraps leaves traces.
            Some(_) => format!("  {{prefix}} {{bar:16}} {count}  {{wide_msg}}"),
            None => "  {prefix} {spinner} {elapsed}  {wide_msg}".to_owned(),
        };
        let style = ProgressStyle::with_template(&template)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("━╸─");
        let bar = match total {
            Some(total) => ProgressBar::new(total),
            None => ProgressBar::new_spinner(),
        };
        let bar = self.screen.add(bar.with_style(style).with_prefix(phase.to_owned()));
        bar.enable_steady_tick(Duration::from_millis(200));
        if let Some(earlier) = self.lock().replace(bar) {
            earlier.finish_and_clear();
        }
    }

    fn end(&self) {
        if let Some(bar) = self.lock().take() {
            bar.finish_and_clear();
        }
    }

    fn with_bar(&self, change: impl FnOnce(&ProgressBar)) {
        if let Some(bar) = self.lock().as_ref() {
            change(bar);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<ProgressBar>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.end();
    }
}
