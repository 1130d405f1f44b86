//! Tokens, and where they come from: the sources of `DefaultAzureCredential`, in its order.

mod arc_server;
mod authority;
mod cache;
mod certificate;
mod chain;
mod claims;
mod cli;
mod endpoint;
mod environment;
mod expiry;
mod managed;
mod obo;
mod options;
mod source;
mod workload;

pub use cache::Tokens;
pub use chain::Chain;
pub use claims::Claims;
pub use options::CredentialOptions;
pub use source::{AccessToken, Credential, Refusal, TokenRequest};
