//! What keeps the server from starting.

use olive_core::shown;
use std::net::SocketAddr;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("cannot listen on {address}")]
    Bind { address: SocketAddr, source: std::io::Error },
    #[error("{address} can be reached from other machines, and no key is set")]
    Unprotected { address: SocketAddr },
    #[error("`--sandbox` denies the network, on which a server listens")]
    Sandbox,
    #[error("an API key is empty, or has characters that a header cannot hold")]
    Key,
    #[error("`{given}` is no origin that a browser sends")]
    Origin { given: String },
    #[error("two models have the name `{name}`")]
    SameName { name: String },
    #[error("{what} take {needed} MB, and {available} MB are available")]
    Memory { what: String, needed: u64, available: u64 },
    #[error("`--context-length` is {given}, and `{name}` looks at {model} tokens")]
    Context { given: usize, name: String, model: usize },
    #[error(
        "`--adapter {name}={}`: `{model}` is a float model, which has one adapter, from when it is loaded",
        shown(path)
    )]
    FloatAdapter { name: String, path: PathBuf, model: String },
    #[error("the thread for connections cannot be started")]
    Thread { source: std::io::Error },
}

impl olive_core::Fault for ServeError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            ServeError::Bind { source, .. } if source.kind() == std::io::ErrorKind::AddrInUse => {
                "another program listens there; `--port 0` takes a free port".into()
            }
            ServeError::Bind { .. } => "`--host` is the address of an interface of this machine".into(),
            ServeError::Unprotected { .. } => {
                "set OLIVE_API_KEY or --api-key-file, or say --insecure if everybody may use the model".into()
            }
            ServeError::Sandbox => "run it without; requests read no files in any case".into(),
            ServeError::Key => "a key is one line of visible ASCII characters".into(),
            ServeError::Origin { .. } => {
                "an origin is a scheme, a host and perhaps a port: https://example.com".into()
            }
            ServeError::SameName { .. } => {
                "--served-model-name, --model NAME=PATH and --adapter NAME=PATH give each its own".into()
            }
            ServeError::Memory { .. } => "--max-sequences and --context-length make it less".into(),
            ServeError::FloatAdapter { name, path, .. } => {
                format!("`--model {name}={}` serves the adapter's folder beside it", shown(path))
            }
            ServeError::Context { .. } => "leave it out, or give less".into(),
            ServeError::Thread { .. } => return None,
        })
    }

    fn exit_code(&self) -> u8 {
        match self {
            ServeError::Bind { .. } | ServeError::Memory { .. } | ServeError::Thread { .. } => 1,
            _ => 2,
        }
    }
}
