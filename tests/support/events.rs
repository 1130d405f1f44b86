//! What the program tells while it works.

use olive_core::cancel::CancelFlag;
use olive_core::event::{Event, EventSink};
use std::sync::Mutex;

/// Keeps what was told, and can raise a flag when a step of training is.
#[derive(Default)]
pub struct Recorder {
    pub cancel: CancelFlag,
    stop: Option<usize>,
    events: Mutex<Vec<Event>>,
}

impl EventSink for Recorder {
    fn emit(&self, event: Event) {
        if matches!(event, Event::TrainStep { step, .. } if Some(step) == self.stop) {
            self.cancel.raise();
        }
        self.events.lock().expect("no panic elsewhere").push(event);
    }
}

impl Recorder {
    /// Interrupts the training after this step.
    pub fn stopping_at(step: usize) -> Recorder {
        Recorder { stop: Some(step), ..Recorder::default() }
    }

    pub fn events(&self) -> Vec<Event> {
        self.events.lock().expect("no panic elsewhere").clone()
    }

    pub fn warnings(&self) -> Vec<String> {
        let warning = |event| if let Event::Warning { message } = event { Some(message) } else { None };
        self.events().into_iter().filter_map(warning).collect()
    }

    /// Steps and losses of the evaluations.
    pub fn evaluations(&self) -> Vec<(usize, f64)> {
        let evaluated =
            |event| if let Event::Evaluated { step, loss, .. } = event { Some((step, loss)) } else { None };
        self.events().into_iter().filter_map(evaluated).collect()
    }

    /// How often something with this text was told by the way.
    pub fn told(&self, text: &str) -> usize {
        let is = |event: &&Event| matches!(event, Event::Info { message } if message.contains(text));
        self.events().iter().filter(is).count()
    }
}
