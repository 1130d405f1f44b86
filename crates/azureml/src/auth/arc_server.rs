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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::endpoint::direct;
    use crate::clock::SystemClock;
    use crate::retry::RetryPolicy;
    use axum::extract::Request;
    use axum::response::{IntoResponse, Response};
    use std::sync::Arc;

    /// Where the agent of a test is, with its keys in `keys`.
    async fn server(keys: &Path, named: PathBuf) -> (ArcServer, Transport) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap());
        let handle = move |request: Request| {
            let named = named.display().to_string();
            async move { answer(&request, &named) }
        };
        tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(handle)).await });
        let http = reqwest::Client::new();
        let transport = Transport::new(http, Arc::new(SystemClock), RetryPolicy::default());
        let server = ArcServer { url: Url::parse(&url).unwrap(), keys: keys.to_owned() };
        (server, direct(&transport).unwrap())
    }

    fn answer(request: &Request, named: &str) -> Response {
        match request.headers().get("authorization") {
            Some(key) => {
                (axum::http::StatusCode::OK, format!("{:?} {:?}", key, request.uri().query())).into_response()
            }
            None => {
                let challenge = [("www-authenticate", format!("Basic realm={named}"))];
                (axum::http::StatusCode::UNAUTHORIZED, challenge).into_response()
            }
        }
    }

    #[tokio::test]
    async fn the_key_that_the_agent_names_is_shown() {
        let keys = tempfile::tempdir().unwrap();
        let key = keys.path().join("1.key");
        std::fs::write(&key, "k3y\n").unwrap();
        let (server, transport) = server(keys.path(), key).await;
        let answer = server.ask(&transport, &[("resource", "r")]).await.unwrap();
        let seen = String::from_utf8(answer.body.to_vec()).unwrap();
        assert_eq!(seen, r#""Basic k3y" Some("resource=r&api-version=2020-06-01")"#);
    }

    #[tokio::test]
    async fn other_files_are_not_read() {
        let keys = tempfile::tempdir().unwrap();
        let long = keys.path().join("long.key");
        std::fs::write(&long, "k".repeat(4097)).unwrap();
        let cases = [
            (keys.path().join("1.txt"), "is not in"),
            (keys.path().join("../1.key"), "is not in"),
            ("/etc/shadow.key".into(), "is not in"),
            (long, "longer than 4096 bytes"),
            (keys.path().join("none.key"), "failed to read the key"),
        ];
        for (named, expected) in cases {
            let (server, transport) = server(keys.path(), named).await;
            let error = server.ask(&transport, &[]).await.unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
