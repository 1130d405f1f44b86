//! How the control plane writes what is in a workspace: a name, an id, properties.

use super::client::WorkspaceClient;
use crate::error::{Error, Result};
use crate::http::Call;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// What is sent to create something.
#[derive(Serialize)]
pub struct Body<P> {
    pub properties: P,
}

/// What is read of something whose properties are known.
#[derive(Deserialize)]
pub struct Identified {
    /// The path of its address.
    pub id: String,
}

impl WorkspaceClient {
    /// Something of a kind (`models`) in a version, which can be looked at and made.
    ///
    /// # Errors
    /// The name or the version is none that the service would take.
    pub(super) fn version(&self, kind: &str, name: &str, version: &str) -> Result<Call> {
        let name = checked("the name", name)?;
        let version = checked("the version", version)?;
        Ok(self.arm(&format!("/{kind}/{name}/versions/{version}")))
    }

    /// Looks at something that ought to be there. `what` is what is said to be missing if it is not.
    ///
    /// # Errors
    /// There is no such thing, or it may not be seen.
    pub(super) async fn existing<T: DeserializeOwned>(&self, call: &Call, what: &str) -> Result<T> {
        let missing = || format!("{what} in workspace {}", self.workspace());
        self.client().get(call).await.map_err(|error| error.for_missing(missing))
    }
}

/// A name of something in a workspace, which becomes a part of addresses.
///
/// # Errors
/// The service would not take it.
pub fn checked<'a>(what: &'static str, name: &'a str) -> Result<&'a str> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if begins && name.len() <= 255 && name.bytes().all(fits) {
        return Ok(name);
    }
    Err(Error::Invalid {
        what,
        value: name.into(),
        expected: "expected letters, digits and -_., 255 at most",
    })
}
