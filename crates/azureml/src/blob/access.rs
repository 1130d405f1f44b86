//! The right to a container, which may end while files are on their way.

use super::sender::carried;
use crate::cloud::Scope;
use crate::error::{Error, Result};
use crate::http::Client;
use crate::safe_url::SafeUrl;
use crate::secret::Secret;
use crate::workspace::{Datastore, StoreAccess, WorkspaceClient};
use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use object_store::CredentialProvider;
use object_store::azure::{AzureAccessKey, AzureCredential};
use reqwest::Url;
use std::fmt::{self, Debug};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};
use tokio::sync::Mutex;

/// A signature with less time left is renewed before it is used,
const LEAST_LEFT: Duration = Duration::from_secs(300);

/// unless it is younger than this: some last no longer.
const LEAST_AGE: Duration = Duration::from_secs(60);

/// Who gives access to a container, each time anew.
#[async_trait]
pub trait AccessSource: Debug + Send + Sync {
    /// # Errors
    /// There is no access.
    async fn access(&self) -> Result<StoreAccess>;
}

/// An access that cannot be renewed.
#[async_trait]
impl AccessSource for StoreAccess {
    async fn access(&self) -> Result<StoreAccess> {
        Ok(self.clone())
    }
}

/// The access that a workspace gives to one of its datastores.
#[derive(Debug)]
pub(super) struct DatastoreAccess {
    pub(super) workspace: WorkspaceClient,
    pub(super) store: Datastore,
}

#[async_trait]
impl AccessSource for DatastoreAccess {
    async fn access(&self) -> Result<StoreAccess> {
        self.workspace.store_access(&self.store).await
    }
}

/// The access of one container as `object_store` asks for it: before every request.
#[derive(Debug)]
pub(super) struct Access {
    client: Client,
    source: Arc<dyn AccessSource>,
    /// The container's address.
    url: Url,
    current: Mutex<Option<Current>>,
    /// The account takes neither keys nor signatures made with them.
    only_tokens: AtomicBool,
}

struct Current {
    credential: Arc<AzureCredential>,
    /// From when on it is not used any more.
    renewed_at: Option<SystemTime>,
}

/// Without the credential, whose own `Debug` shows it.
impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Current").field("renewed_at", &self.renewed_at).finish_non_exhaustive()
    }
}

impl Access {
    pub(super) fn new(client: Client, source: Arc<dyn AccessSource>, url: Url) -> Access {
        Access { client, source, url, current: Mutex::default(), only_tokens: AtomicBool::new(false) }
    }

    /// # Errors
    /// There is no access, or it must not be sent to this address.
    pub(super) async fn credential(&self) -> Result<Arc<AzureCredential>> {
        // Held while the source is asked, so that it is asked once.
        let mut current = self.current.lock().await;
        let now = self.client.transport().now();
        if let Some(Current { credential, renewed_at }) = current.as_ref()
            && renewed_at.is_none_or(|time| now < time)
        {
            return Ok(Arc::clone(credential));
        }
        let access = if self.only_tokens.load(Ordering::Relaxed) {
            StoreAccess::Token
        } else {
            self.source.access().await?
        };
        let credential = Arc::new(self.usable(&access).await?);
        let renewed_at = match &access {
            StoreAccess::Sas(sas) => end_of(&pairs(sas)).map(|end| (end - LEAST_LEFT).max(now + LEAST_AGE)),
            StoreAccess::Key(_) | StoreAccess::Public => None,
            // The client keeps tokens, and knows when they end.
            StoreAccess::Token => Some(now),
        };
        *current = Some(Current { credential: Arc::clone(&credential), renewed_at });
        Ok(credential)
    }

    /// Whether another try may do better after a request with this credential was refused. The credential is
    /// forgotten then.
    pub(super) async fn renew(&self, refused: &Arc<AzureCredential>, error: &Error) -> bool {
        let Some(refusal) = error.service() else { return false };
        let with_token = matches!(**refused, AzureCredential::BearerToken(_));
        if refusal.has_code("KeyBasedAuthenticationNotPermitted") && !with_token {
            tracing::debug!(container = %SafeUrl::from(&self.url), "the account takes no keys: a token is used");
            self.only_tokens.store(true, Ordering::Relaxed);
        } else if !(refusal.status == 401 || refusal.has_code("AuthenticationFailed")) {
            return false;
        }
        let mut current = self.current.lock().await;
        // Another request may have renewed it meanwhile.
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(&current.credential, refused)) {
            *current = None;
        }
        true
    }

    async fn usable(&self, access: &StoreAccess) -> Result<AzureCredential> {
        let endpoints = self.client.endpoints();
        match access {
            StoreAccess::Token => {
                endpoints.trust(&self.url, Scope::Storage)?;
                let token = self.client.token(Scope::Storage).await?;
                Ok(AzureCredential::BearerToken(token.expose().to_owned()))
            }
            _ if self.url.scheme() != "https" && !endpoints.is_local_test(&self.url) => {
                let reason = "only https keeps its access from being read on the way";
                Err(Error::UntrustedHost { url: SafeUrl::from(&self.url), reason })
            }
            StoreAccess::Sas(sas) => Ok(AzureCredential::SASToken(pairs(sas))),
            StoreAccess::Public => Ok(AzureCredential::SASToken(Vec::new())),
            StoreAccess::Key(key) => {
                let key = AzureAccessKey::try_new(key.expose()).map_err(|_| Error::Protocol {
                    url: SafeUrl::from(&self.url),
                    what: "the key of the account is no base64".into(),
                })?;
                Ok(AzureCredential::AccessKey(key))
            }
        }
    }
}

#[async_trait]
impl CredentialProvider for Access {
    type Credential = AzureCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AzureCredential>> {
        self.credential().await.map_err(carried)
    }
}

/// The parameters of a signature.
fn pairs(sas: &Secret) -> Vec<(String, String)> {
    let query = sas.expose().trim_start_matches('?');
    let read = Url::parse(&format!("sas:?{query}"));
    read.iter().flat_map(|url| url.query_pairs().into_owned()).collect()
}

/// When a signature ends: `se`, a time in UTC or a day.
fn end_of(pairs: &[(String, String)]) -> Option<SystemTime> {
    let (_, text) = pairs.iter().find(|(name, _)| name == "se")?;
    let time = DateTime::parse_from_rfc3339(text).map(|time| time.with_timezone(&Utc));
    let day = || text.parse::<NaiveDate>().ok().map(|day| day.and_time(NaiveTime::MIN).and_utc());
    time.ok().or_else(day).map(SystemTime::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_signature_is_read() {
        let end = |sas: &str| end_of(&pairs(&Secret::new(sas)));
        let at = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(end("?sv=1&se=2026-11-24T02%3A00%3A00Z&sig=a%2Bb"), at(1_795_485_600));
        assert_eq!(end("se=2026-11-24"), at(1_795_478_400));
        assert_eq!(end("sv=1&sig=x"), None);
        let expected = [("sp", "rl"), ("sig", "a+b/=")].map(|(name, value)| (name.into(), value.into()));
        assert_eq!(pairs(&Secret::new("sp=rl&sig=a%2Bb%2F%3D")), expected);
    }
}
