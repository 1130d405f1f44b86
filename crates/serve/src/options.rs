//! What the operator chooses.

use super::ServeError;
use axum::http::HeaderValue;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A server, before it starts.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    pub address: SocketAddr,
    /// The models, one at least.
    pub models: Vec<ModelNames>,
    pub access: Access,
    pub limits: Limits,
    pub times: Times,
    /// Whether there is a page to talk to the models.
    pub page: bool,
    /// Whether prompts and answers are logged.
    pub log_prompts: bool,
}

/// What clients call a model.
#[derive(Debug, Clone)]
pub struct ModelNames {
    pub name: String,
    /// More names, each for the model with the adapter at this path.
    pub adapters: Vec<(String, PathBuf)>,
}

/// Who may ask.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Keys, any of which opens; without one, everybody who reaches the server may ask.
    pub keys: Vec<String>,
    /// Whether the server may do without a key where other machines reach it.
    pub insecure: bool,
    /// Origins whose web pages may ask, exactly as browsers send them.
    pub origins: Vec<String>,
    /// Names of this machine beside those of the loopback interface.
    pub hosts: Vec<String>,
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Target {
    /// Which of the models.
    pub(crate) model: usize,
    /// Which of its adapters: 0 is the model as it was loaded.
    pub(crate) variant: usize,
}

/// How much there may be of everything.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Sequences of each model that advance at the same time; what fits into memory, at most 8, where it is `None`.
    pub sequences: Option<usize>,
    /// Requests that wait.
    pub queue: usize,
    /// Tokens of a prompt and its answer; each model's own, at most 8192, where it is `None`.
    pub context: Option<usize>,
    /// Bytes of a request's body.
    pub body: usize,
    /// Choices of a request for one prompt.
    pub choices: usize,
    /// Whether the beginning of a prompt is taken from an earlier sequence.
    pub prefix_cache: bool,
}

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// From the first byte of a request's head to its last.
    pub head: Duration,
    /// For a request's body.
    pub body: Duration,
    /// Without a request, before a connection is closed.
    pub idle: Duration,
    /// Without news, before a stream says that it is alive, so that proxies keep it.
    pub ping: Duration,
}

impl Default for Times {
    fn default() -> Times {
        let seconds = Duration::from_secs;
        Times { head: seconds(30), body: seconds(30), idle: seconds(60), ping: seconds(15) }
    }
}

impl ServeOptions {
    /// All that clients may call a model, in order: of each model its own name and those of its adapters.
    pub(crate) fn names(&self) -> impl Iterator<Item = (&str, Target)> {
        self.models.iter().enumerate().flat_map(|(model, names)| {
            let adapters = names.adapters.iter().map(|(name, _)| name);
            let names = std::iter::once(&names.name).chain(adapters).enumerate();
            names.map(move |(variant, name)| (name.as_str(), Target { model, variant }))
        })
    }

    /// # Errors
    /// Options that contradict each other, or the network.
    pub(crate) fn check(&self) -> Result<(), ServeError> {
        let access = &self.access;
        let open = access.keys.is_empty() && !access.insecure;
        if open && !self.address.ip().is_loopback() {
            return Err(ServeError::Unprotected { address: self.address });
        }
        if access.keys.iter().any(|key| key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(ServeError::Key);
        }
        let exact = |origin: &String| {
            let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '*', ' ']))
                && HeaderValue::from_str(origin).is_ok()
        };
        if let Some(given) = access.origins.iter().find(|origin| !exact(origin)) {
            return Err(ServeError::Origin { given: given.clone() });
        }
        let mut names: Vec<&str> = self.names().map(|(name, _)| name).collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(ServeError::SameName { name: pair[0].to_owned() }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(address: &str) -> ServeOptions {
        ServeOptions {
            address: address.parse().unwrap(),
            models: vec![ModelNames { name: "model".into(), adapters: Vec::new() }],
            access: Access::default(),
            limits: Limits {
                sequences: None,
                queue: 1,
                context: None,
                body: 1,
                choices: 1,
                prefix_cache: true,
            },
            times: Times::default(),
            page: true,
            log_prompts: false,
        }
    }

    #[test]
    fn a_server_that_others_reach_has_a_key() {
        assert!(options("127.0.0.1:1").check().is_ok() && options("[::1]:1").check().is_ok());
        for address in ["0.0.0.0:1", "[::]:1", "192.168.1.2:1"] {
            let mut given = options(address);
            assert!(matches!(given.check(), Err(ServeError::Unprotected { .. })), "{address}");
            given.access.keys = vec!["k".into()];
            assert!(given.check().is_ok());
            given.access = Access { insecure: true, ..Access::default() };
            assert!(given.check().is_ok());
        }
    }

    #[test]
    fn keys_origins_and_names_are_what_they_should_be() {
        for key in ["", "a b", "k\n", "ключ"] {
            let mut given = options("127.0.0.1:1");
            given.access.keys = vec![key.into()];
            assert!(matches!(given.check(), Err(ServeError::Key)), "{key:?}");
        }
        for origin in ["*", "https://*.example.com", "example.com", "https://example.com/", "null"] {
            let mut given = options("127.0.0.1:1");
            given.access.origins = vec![origin.into()];
            assert!(matches!(given.check(), Err(ServeError::Origin { .. })), "{origin}");
        }
        for (name, adapter) in [("model", "a"), ("other", "model"), ("other", "other")] {
            let mut given = options("127.0.0.1:1");
            let adapters = vec![(adapter.into(), "somewhere".into())];
            given.models.push(ModelNames { name: name.into(), adapters });
            assert!(matches!(given.check(), Err(ServeError::SameName { .. })), "{name} {adapter}");
        }
    }
}
