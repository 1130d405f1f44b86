//! What can go wrong between here and Azure, and what to do about it.
//!
//! No error holds a token, a key or a SAS: addresses lose their queries, texts of services what looks like a secret.

use crate::retry;
use crate::safe_url::SafeUrl;
use crate::service_error::ServiceError;
use reqwest::header::InvalidHeaderValue;
use std::path::PathBuf;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The service answered, and refused.
    #[error(transparent)]
    Service(Box<ServiceError>),
    /// There is none of this name where it was looked for.
    #[error("there is no {what}")]
    Missing {
        what: String,
        #[source]
        source: Box<ServiceError>,
    },
    /// The system offers no way to encrypt, or a setting of its proxy is wrong.
    #[error("the HTTP client cannot be set up")]
    Setup(#[source] reqwest::Error),
    /// Nobody answered, or not to the end.
    #[error("{method} {url}: no answer{}", after(*.attempts))]
    Transport {
        method: String,
        url: SafeUrl,
        attempts: u32,
        #[source]
        source: reqwest::Error,
    },
    /// No source of credentials gave a token.
    #[error("no token for {resource}: {}", listed(.tried))]
    Auth {
        resource: String,
        /// The sources that were asked, and what each said.
        tried: Vec<(&'static str, String)>,
    },
    /// A token would have gone to a host that it is not for.
    #[error("no token is sent to {url}: {reason}")]
    UntrustedHost { url: SafeUrl, reason: &'static str },
    /// An answer that the service's specification does not have.
    #[error("{url}: {what}")]
    Protocol { url: SafeUrl, what: String },
    /// What was begun did not come to a good end.
    #[error("the operation ended as {status}: {source}")]
    Operation { status: String, source: Box<ServiceError> },
    /// A certificate that is not PEM.
    #[error("the certificate `{}` is {form}; `{convert}` makes one that is read", path.display())]
    Certificate { path: PathBuf, form: &'static str, convert: String },
    /// A name or a setting that the service would not take.
    #[error("{what} `{value}`: {expected}")]
    Invalid { what: &'static str, value: String, expected: &'static str },
    /// A cluster whose kinds of machines leave a choice.
    #[error("compute `{compute}` has not exactly one instance type with a GPU; it has {available}")]
    InstanceType { compute: String, available: String },
    /// A setting in the environment of the process.
    #[error("the environment variable {name} is `{value}`: {expected}")]
    Variable { name: &'static str, value: String, expected: String },
    /// A token or a key that is none.
    #[error("a token or a key has characters that no header may have")]
    Header(#[from] InvalidHeaderValue),
    #[error("failed to {action} `{}`", path.display())]
    Io {
        /// Completes "failed to …".
        action: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// Somebody asked to stop.
    #[error("interrupted")]
    Cancelled,
}

impl Error {
    /// One sentence that says what to do, if there is something to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Service(error)
            | Error::Missing { source: error, .. }
            | Error::Operation { source: error, .. } => error.hint(),
            Error::Transport { source, .. } if source.is_timeout() => {
                Some("check the network, or raise `read_timeout`".into())
            }
            Error::Transport { source, .. } if source.is_connect() => {
                Some("check the network, the proxy (HTTPS_PROXY) and the name of the host".into())
            }
            Error::Transport { .. } => Some("check the network and run again".into()),
            Error::Auth { .. } => Some(
                "sign in with `az login`, or set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET"
                    .into(),
            ),
            Error::Setup(_) => Some("check the system's root certificates and HTTPS_PROXY".into()),
            Error::UntrustedHost { .. } => {
                Some("check AZUREML_CURRENT_CLOUD and the variables that replace addresses".into())
            }
            Error::Protocol { .. }
            | Error::Certificate { .. }
            | Error::Invalid { .. }
            | Error::Variable { .. } => None,
            Error::Header(_) => Some("check the variables and files that hold secrets for line ends".into()),
            Error::InstanceType { .. } => Some("name one in `resources.instance_type`".into()),
            Error::Io { .. } => Some("check that the path exists and may be used".into()),
            Error::Cancelled => None,
        }
    }

    /// The status and code of a service's refusal: what callers tell cases by.
    pub fn service(&self) -> Option<&ServiceError> {
        match self {
            Error::Service(error) | Error::Missing { source: error, .. } => Some(error),
            _ => None,
        }
    }

    /// Whether the service says that there is no such thing.
    pub fn is_not_found(&self) -> bool {
        self.service().is_some_and(|error| error.status == 404)
    }

    /// The same, with what was asked for where the service says that there is no such thing.
    pub fn for_missing(self, what: impl FnOnce() -> String) -> Error {
        match self {
            Error::Service(source) if source.status == 404 => Error::Missing { what: what(), source },
            error => error,
        }
    }

    /// Whether the same request may succeed later: nobody answered, or the service was not able to.
    pub fn is_transient(&self) -> bool {
        match self {
            Error::Transport { .. } => true,
            Error::Service(error) => retry::is_passing(error.status),
            _ => false,
        }
    }
}

impl From<ServiceError> for Error {
    fn from(error: ServiceError) -> Error {
        Error::Service(Box::new(error))
    }
}

fn after(attempts: u32) -> String {
    match attempts {
        0 | 1 => String::new(),
        more => format!(" after {more} attempts"),
    }
}

fn listed(tried: &[(&'static str, String)]) -> String {
    match tried {
        [] => "no source of credentials is configured".into(),
        tried => tried.iter().map(|(name, why)| format!("{name}: {why}")).collect::<Vec<_>>().join("; "),
    }
}
