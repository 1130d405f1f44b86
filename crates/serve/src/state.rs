//! What all requests share.

use super::api_error::ApiError;
use super::grammar::Grammars;
use super::metrics::Metrics;
use super::options::{ServeOptions, Target};
use super::queue::Queue;
use olive_core::contain::contain;
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
    models: OnceLock<Vec<Model>>,
}

/// A model, from when all are loaded.
pub(crate) struct Model {
    pub(crate) generator: Arc<Generator>,
    /// Tokens of a prompt and its answer.
    pub(crate) context: usize,
    /// From the first request for JSON on.
    grammars: OnceLock<Result<Grammars, String>>,
}

impl Model {
    pub(crate) fn new(generator: Arc<Generator>, context: usize) -> Model {
        Model { generator, context, grammars: OnceLock::new() }
    }

    /// What makes grammars of schemas, or why the vocabulary is not one for that.
    pub(crate) fn grammars(&self) -> Result<&Grammars, &String> {
        let make = || Grammars::new(self.generator.tokenizer(), self.generator.model().vocabulary());
        self.grammars.get_or_init(|| contain(make).unwrap_or_else(Err)).as_ref()
    }
}

impl ServerState {
    pub(crate) fn new(options: ServeOptions, events: Arc<dyn EventSink + Send + Sync>) -> ServerState {
        ServerState {
            queue: Queue::new(options.limits.queue),
            metrics: Metrics::new(options.names()),
            options,
            events,
            started: seconds_since_1970(),
            models: OnceLock::new(),
        }
    }

    /// From here on requests are answered.
    pub(crate) fn are_loaded(&self, models: Vec<Model>) {
        // They are loaded once.
        let _ = self.models.set(models);
    }

    /// The models, in the order of the options.
    pub(crate) fn models(&self) -> Result<&[Model], ApiError> {
        self.models.get().map(Vec::as_slice).ok_or_else(ApiError::loading)
    }

    /// What a client means by a name.
    pub(crate) fn target(&self, name: &str) -> Result<Target, ApiError> {
        let known = self.options.names().find(|(known, _)| *known == name);
        known.map(|(_, target)| target).ok_or_else(|| ApiError::model_not_found(name))
    }
}

pub(crate) fn seconds_since_1970() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::options::{Access, Limits, ModelNames, Times};

    /// The state of a server of two models that are not loaded.
    pub(crate) fn state() -> Arc<ServerState> {
        let limits =
            Limits { sequences: None, queue: 1, context: None, body: 1, choices: 1, prefix_cache: true };
        let options = ServeOptions {
            address: ([127, 0, 0, 1], 0).into(),
            models: vec![
                ModelNames { name: "base".into(), adapters: vec![("tuned".into(), "somewhere".into())] },
                ModelNames { name: "other".into(), adapters: Vec::new() },
            ],
            access: Access::default(),
            limits,
            times: Times::default(),
            page: true,
            log_prompts: false,
        };
        Arc::new(ServerState::new(options, Arc::new(())))
    }

    #[test]
    fn names_are_known_before_the_models_are_there() {
        let state = state();
        assert_eq!(state.models().err(), Some(ApiError::loading()));
        assert_eq!(ApiError::loading().status, 503);
        for (name, model, variant) in [("base", 0, 0), ("tuned", 0, 1), ("other", 1, 0)] {
            assert_eq!(state.target(name), Ok(Target { model, variant }));
        }
        assert_eq!(state.target("third"), Err(ApiError::model_not_found("third")));
    }
}
