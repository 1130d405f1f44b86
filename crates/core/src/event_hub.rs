//! Where events get their time and go to several listeners: a terminal, a record.

use crate::event::{Event, EventSink, TimedEvent};
use std::sync::{Arc, PoisonError, RwLock};

/// Sees events in order, each with its time. It must not block for long and must never fail.
pub trait EventListener: Send + Sync {
    fn on_event(&self, event: &TimedEvent);

    /// Nothing more will come: what was drawn only for a while goes away.
    fn finish(&self) {}
}

/// Gives every event its time, and hands it to all listeners, so that they agree about what happened when.
#[derive(Default)]
pub struct EventHub {
    listeners: RwLock<Vec<Arc<dyn EventListener>>>,
}

/// A listener that hears events until this goes.
pub struct Attachment<'a> {
    hub: &'a EventHub,
    listener: Arc<dyn EventListener>,
}

impl EventHub {
    pub fn new(listener: Arc<dyn EventListener>) -> EventHub {
        EventHub { listeners: RwLock::new(vec![listener]) }
    }

    /// Adds a listener for a while.
    pub fn attach(&self, listener: Arc<dyn EventListener>) -> Attachment<'_> {
        self.listeners.write().unwrap_or_else(PoisonError::into_inner).push(listener.clone());
        Attachment { hub: self, listener }
    }

    /// A copy, as a listener may itself cause events.
    fn listeners(&self) -> Vec<Arc<dyn EventListener>> {
        self.listeners.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl EventSink for EventHub {
    fn emit(&self, event: Event) {
        self.on_event(&TimedEvent::now(event.without_secrets()));
    }
}

/// A hub may listen to another one: the events of a part are then heard by the listeners of the whole, too.
impl EventListener for EventHub {
    fn on_event(&self, event: &TimedEvent) {
        self.listeners().iter().for_each(|listener| listener.on_event(event));
    }

    fn finish(&self) {
        self.listeners().iter().for_each(|listener| listener.finish());
    }
}

impl Drop for Attachment<'_> {
    fn drop(&mut self) {
        let mut listeners = self.hub.listeners.write().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|other| !Arc::ptr_eq(other, &self.listener));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Heard(Mutex<Vec<TimedEvent>>);

    impl EventListener for Heard {
        fn on_event(&self, event: &TimedEvent) {
            self.0.lock().unwrap().push(event.clone());
        }
    }

    fn info(message: &str) -> Event {
        Event::Info { message: message.into() }
    }

    #[test]
    fn all_listeners_hear_the_same_while_they_are_attached() {
        let (terminal, record) = (Arc::new(Heard::default()), Arc::new(Heard::default()));
        let hub = EventHub::new(terminal.clone());
        hub.emit(info("before"));
        let attached = hub.attach(record.clone());
        hub.emit(info("during"));
        drop(attached);
        hub.emit(info("after"));
        let (terminal, record) = (terminal.0.lock().unwrap(), record.0.lock().unwrap());
        assert_eq!(terminal.len(), 3);
        assert_eq!(record[..], terminal[1..2], "the same event at the same time");
    }

    #[test]
    fn a_line_has_the_time_and_the_kind_beside_the_fields() {
        let event = TimedEvent { time: 1.5, event: info("hello") };
        let line = r#"{"time":1.5,"event":"info","message":"hello"}"#;
        assert_eq!(serde_json::to_string(&event).unwrap(), line);
    }
}
