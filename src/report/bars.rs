//! Progress bars on a terminal.

use super::{Event, EventSink, Unit, plain};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Draws on stderr; lines that stay are printed above the bar.
pub struct Bars {
    screen: MultiProgress,
    /// The bar of the phase, or of the training, that is going on.
    current: Mutex<Option<ProgressBar>>,
}

impl Default for Bars {
    fn default() -> Bars {
        Bars {
            screen: MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10)),
            current: Mutex::new(None),
        }
    }
}

impl EventSink for Bars {
    fn emit(&self, event: Event) {
        match &event {
            Event::PhaseStarted { phase, total, unit } => self.begin(phase, *total, *unit),
            Event::PhaseProgress { done } => self.with_bar(|bar| bar.set_position(*done)),
            Event::TrainStep { step, total_steps, .. } => {
                let (step, total, text) = (*step as u64, *total_steps as u64, plain::train_step(&event));
                self.with_bar(|bar| {
                    bar.set_length(total);
                    bar.set_position(step);
                    // The bar shows the count itself.
                    bar.set_message(text.split_once("  ").map_or(String::new(), |(_, rest)| rest.to_owned()));
                });
            }
            Event::PhaseFinished { .. } | Event::PassFinished { .. } => self.end(),
            _ => {}
        }
        // The steps are on the bar already.
        if !matches!(event, Event::TrainStep { .. })
            && let Some(line) = plain::line(&event)
        {
            // A terminal that is gone is no reason to stop.
            let _ = self.screen.println(line);
        }
    }
}

impl Bars {
    fn begin(&self, phase: &str, total: Option<u64>, unit: Unit) {
        let count = match unit {
            Unit::Bytes => "{bytes}/{total_bytes}",
            Unit::Steps | Unit::Rows | Unit::Tensors | Unit::Tokens => "{pos}/{len}",
        };
        let template = match total {
            Some(_) => format!("  {{prefix:<10}} {{bar:30}} {count}  {{msg}}"),
            None => "  {prefix:<10} {spinner} {elapsed}  {msg}".to_owned(),
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
