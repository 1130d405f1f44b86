//! The token service of a server that Azure Arc manages. It shows a file that only those may read who may have the token.

use super::endpoint;
use crate::error::{Error, Result};
use crate::secret::Secret;
use crate::transport::{Answer, Transport};
use reqwest::Url;
use std::path::{Path, PathBuf};

/// Where the agent puts the files; others are not read.
const KEYS: &str = if cfg!(windows) {
    r"C:\ProgramData\AzureConnectedMachineAgent\Tokens"
} else {
    "/var/opt/azcmagent/tokens"
};

/// Source: Microsoft's documentation of the agent.
const LONGEST_KEY: u64 = 4096;

#[derive(Debug)]
pub struct ArcServer {
    url: Url,
    keys: PathBuf,
}

impl ArcServer {
    pub fn new(url: Url) -> ArcServer {
        ArcServer { url, keys: KEYS.into() }
    }

    /// Asks without a key, is told where the key is, and asks with it.
    ///
    /// # Errors
    /// The service is not reached, or names a file that is none of its keys.
    pub async fn ask(&self, transport: &Transport, query: &[(&str, &str)]) -> Result<Answer> {
        let query = [query, &[("api-version", "2020-06-01")]].concat();
        let metadata = Secret::new("true");
        let challenge = endpoint::ask(transport, &self.url, &query, &[("metadata", &metadata)]).await?;
        if challenge.status != 401 {
            return Ok(challenge);
        }
        let key = self.key(&challenge).await?;
        let basic = Secret::new(format!("Basic {}", key.expose()));
        endpoint::ask(transport, &self.url, &query, &[("metadata", &metadata), ("authorization", &basic)])
            .await
    }

    async fn key(&self, challenge: &Answer) -> Result<Secret> {
        let path = challenge
            .header("www-authenticate")
            .and_then(|value| value.split_once("Basic realm="))
            .map(|(_, path)| Path::new(path.trim().trim_matches('"')))
            .ok_or_else(|| challenge.unexpected("401 without `WWW-Authenticate: Basic realm=…`"))?;
        let is_key =
            path.parent() == Some(&*self.keys) && path.extension().is_some_and(|ending| ending == "key");
        if !is_key {
            let what = format!("the key file `{}` is not in `{}`", path.display(), self.keys.display());
            return Err(challenge.unexpected(what));
        }
        let failed =
            |source| Error::Io { action: "read the key of the Arc agent", path: path.into(), source };
        if tokio::fs::metadata(path).await.map_err(failed)?.len() > LONGEST_KEY {
            return Err(challenge.unexpected(format!("the key file is longer than {LONGEST_KEY} bytes")));
        }
        Ok(Secret::new(tokio::fs::read_to_string(path).await.map_err(failed)?.trim()))
    }
}
