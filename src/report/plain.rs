//! One line per thing worth knowing, for pipes, files and CI logs.

use super::visible::visible;
use super::{number, own_name, wrap};
use olive_core::event::{Event, TimedEvent};
use olive_core::event_hub::EventListener;
use olive_core::shown;
use olive_report::real_text;
use std::io::Write;

/// Writes to stderr. `quiet` keeps warnings only.
pub(crate) struct Plain {
    pub(crate) quiet: bool,
}

impl EventListener for Plain {
    fn on_event(&self, event: &TimedEvent) {
        let warning = matches!(event.event, Event::Warning { .. });
        if (warning || !self.quiet)
            && let Some(line) = line(&event.event)
        {
            // Nothing can be done when stderr is gone.
            let _ = writeln!(std::io::stderr().lock(), "{}", wrap::for_stderr(&visible(&line)));
        }
    }
}

/// The event as a line, if it deserves one of its own.
pub(super) fn line(event: &Event) -> Option<String> {
    Some(match event {
        Event::PassStarted { pass, r#type, index, total } => format!("[{index}/{total}] {pass} ({type})"),
        Event::PassFinished { cached: true, path, .. } => format!("  from the cache: {}", shown(path)),
        Event::PassFinished { seconds, bytes, path, .. } => {
            format!("  done in {}, {}: {}", number::duration(*seconds), number::bytes(*bytes), shown(path))
        }
        Event::TrainStep { log: true, .. } => format!("  {}", train_step(event)),
        Event::Evaluated { step, loss, tokens, seconds } => format!(
            "  step {step}: eval loss {loss:.4} over {tokens} tokens ({})",
            number::duration(*seconds)
        ),
        Event::PointStarted { index, total, point } => {
            let total = total.map_or(String::new(), |total| format!(" of {total}"));
            format!("point {index}{total}: {point}")
        }
        Event::PointFinished { error: Some(error), .. } => format!("  no result: {error}"),
        Event::PointFinished { metrics, seconds, .. } => {
            let values = metrics.iter().map(|(name, value)| format!("{name} {}", real_text(*value)));
            format!("  {} ({})", values.collect::<Vec<_>>().join(", "), number::duration(*seconds))
        }
        Event::Info { message } => format!("  {}", own_name::as_called(message)),
        Event::Warning { message } => format!("warning: {}", own_name::as_called(message)),
        Event::Log { level, target, message } => format!("  {level} {target}: {message}"),
        Event::PhaseStarted { .. }
        | Event::PhaseProgress { .. }
        | Event::PhaseFinished { .. }
        | Event::TrainStep { .. }
        // The last word is the command line's.
        | Event::Error { .. } => return None,
    })
}

/// `step 10/60  loss 2.3145  lr 1.0e-4  812 tokens/s  left 12.1 s`.
fn train_step(event: &Event) -> String {
    let Event::TrainStep {
        step,
        total_steps,
        loss,
        mean_loss,
        log,
        learning_rate,
        tokens_per_second,
        seconds_left,
        ..
    } = event
    else {
        return String::new();
    };
    let loss = if *log { mean_loss } else { loss };
    format!(
        "step {step}/{total_steps}  loss {loss:.4}  lr {learning_rate:.1e}  {tokens_per_second:.0} tokens/s  left {}",
        number::duration(*seconds_left)
    )
}
