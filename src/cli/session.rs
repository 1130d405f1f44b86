//! What a verb that works needs of the process: events, Ctrl-C, the device, the environment.

use super::{Globals, LogFormat, environment};
use crate::report::bars::Bars;
use crate::report::json_lines::JsonLines;
use crate::report::log;
use crate::report::plain::Plain;
use olive_core::Result;
use olive_core::cancel::CancelFlag;
use olive_core::device::DeviceChoice;
use olive_core::error::IoFault;
use olive_core::event::{Event, EventSink};
use olive_core::event_hub::{EventHub, EventListener};
use olive_engine::passes::MemoryPolicy;
use olive_engine::{Environment, ForeignFiles};
use std::sync::Arc;
use tracing::level_filters::LevelFilter;

/// Lives as long as the verb works.
pub(crate) struct Session {
    events: Arc<EventHub>,
    cancel: CancelFlag,
    device: DeviceChoice,
}

impl Session {
    /// Sets up reporting and Ctrl-C. `severity` is Olive's `log_severity_level`; `--verbose` and `--quiet` win.
    ///
    /// # Errors
    /// A `--device` that cannot be understood or used.
    pub(crate) fn start(globals: &Globals, severity: u8) -> Result<Session> {
        let device = environment::device(globals)?;
        let events = sink(globals);
        let level = match (globals.verbose, globals.quiet, severity) {
            (true, ..) => LevelFilter::DEBUG,
            (_, true, _) => LevelFilter::ERROR,
            (_, _, 3..) => LevelFilter::ERROR,
            // Olive's own "debug" would bury the progress; it is what `--verbose` is for.
            _ => LevelFilter::WARN,
        };
        log::install(events.clone(), level);
        let cancel = CancelFlag::default();
        let (flag, screen) = (cancel.clone(), events.clone());
        ctrlc::set_handler(move || on_interrupt(&flag, &*screen)).map_err(|e| IoFault {
            action: "listen for Ctrl-C in",
            path: "this process".into(),
            source: std::io::Error::other(e),
        })?;
        Ok(Session { events, cancel, device })
    }

    pub(crate) fn events(&self) -> &dyn EventSink {
        &*self.events
    }

    /// What Ctrl-C raises.
    pub(crate) fn cancel(&self) -> &CancelFlag {
        &self.cancel
    }

    /// What the engine may use.
    pub(crate) fn environment(&self, globals: &Globals, memory: MemoryPolicy) -> Environment {
        Environment {
            source: environment::source_options(globals),
            device: self.device,
            memory,
            library: environment::library_search(globals),
            host: environment::host(),
            home: environment::home(),
            foreign_files: ForeignFiles::default(),
            executors: Vec::new(),
            resources: environment::resources(globals),
            tracking: environment::tracking(globals),
            cancel: self.cancel.clone(),
            events: self.events.clone(),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The log keeps the sink alive, so that bars cannot go by being dropped.
        self.events.finish();
    }
}

/// Where events go: bars on a terminal that can draw them, lines elsewhere, JSON if asked for.
pub(crate) fn sink(globals: &Globals) -> Arc<EventHub> {
    let listener: Arc<dyn EventListener> = match globals.log_format {
        LogFormat::Json => Arc::new(JsonLines),
        LogFormat::Text if globals.quiet => Arc::new(Plain { quiet: true }),
        LogFormat::Text => match Bars::on_stderr() {
            Some(bars) => Arc::new(bars),
            None => Arc::new(Plain { quiet: false }),
        },
    };
    Arc::new(EventHub::new(listener))
}

/// The first Ctrl-C asks work to stop at the next safe point; the second does not wait for it.
#[expect(
    clippy::exit,
    reason = "the second Ctrl-C; artefacts are published by rename, so nothing is left half done"
)]
fn on_interrupt(cancel: &CancelFlag, events: &dyn EventSink) {
    if cancel.is_raised() {
        std::process::exit(130);
    }
    cancel.raise();
    events.emit(Event::Info { message: "stopping where it is safe; Ctrl-C again stops at once".into() });
}
