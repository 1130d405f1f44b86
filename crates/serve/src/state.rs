//! What all requests share.

use super::api_error::ApiError;
use super::metrics::Metrics;
use super::options::ServeOptions;
use super::queue::Queue;
use olive_core::event::EventSink;
use olive_runtime::Generator;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

pub(crate) struct ServerState {
    pub(crate) options: ServeOptions,
    pub(crate) metrics: Metrics,
    pub(crate) queue: Queue,
    pub(crate) events: Arc<dyn EventSink + Send + Sync>,
    /// Seconds since 1970.
    pub(crate) started: u64,
    model: OnceLock<Model>,
}

/// The model, from when it is loaded.
pub(crate) struct Model {
    pub(crate) generator: Arc<Generator>,
    /// Tokens of a prompt and its answer.
    pub(crate) context: usize,
}

impl ServerState {
    pub(crate) fn new(options: ServeOptions, events: Arc<dyn EventSink + Send + Sync>) -> ServerState {
        ServerState {
            queue: Queue::new(options.limits.queue),
            options,
            metrics: Metrics::default(),
            events,
            started: seconds_since_1970(),
            model: OnceLock::new(),
        }
    }

    /// From here on requests are answered.
    pub(crate) fn is_loaded(&self, model: Model) {
        // There is one model, which is loaded once.
        let _ = self.model.set(model);
    }

    pub(crate) fn model(&self) -> Result<&Model, ApiError> {
        self.model.get().ok_or_else(ApiError::loading)
    }

    /// What clients may call the model, the model without an adapter of these options first.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let adapters = self.options.adapters.iter().map(|(name, _)| name.as_str());
        std::iter::once(self.options.name.as_str()).chain(adapters)
    }

    /// The place of a name among `names`.
    pub(crate) fn variant(&self, name: &str) -> Result<usize, ApiError> {
        self.names().position(|known| known == name).ok_or_else(|| ApiError::model_not_found(name))
    }
}

pub(crate) fn seconds_since_1970() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::options::{Access, Limits};

    /// The state of a server whose model is not loaded.
    pub(crate) fn state() -> Arc<ServerState> {
        let limits =
            Limits { sequences: None, queue: 1, context: None, body: 1, choices: 1, prefix_cache: true };
        let options = ServeOptions {
            address: ([127, 0, 0, 1], 0).into(),
            name: "base".into(),
            adapters: vec![("tuned".into(), "somewhere".into())],
            access: Access::default(),
            limits,
            log_prompts: false,
        };
        Arc::new(ServerState::new(options, Arc::new(())))
    }

    #[test]
    fn names_are_known_before_the_model_is_there() {
        let state = state();
        assert_eq!(state.model().err(), Some(ApiError::loading()));
        assert_eq!(ApiError::loading().status, 503);
        assert_eq!((state.variant("base"), state.variant("tuned")), (Ok(0), Ok(1)));
        assert_eq!(state.variant("other"), Err(ApiError::model_not_found("other")));
    }
}
