//! A container of blobs: reading, writing and listing, whichever way the right to it comes.
//!
//! `object_store` knows the addresses, signatures and blocks. What it lacks (lists with metadata and checksums,
//! metadata of a blob that exists) is asked for here, with its signatures. Every request goes through
//! [`crate::transport`], and a refused access is renewed once.

mod access;
mod list;
mod sender;

pub use access::AccessSource;
pub use list::Listed;

use crate::error::{Error, Result};
use crate::http::Client;
use crate::safe_url::SafeUrl;
use crate::workspace::{Datastore, DatastoreKind, WorkspaceClient};
use access::{Access, DatastoreAccess};
use bytes::Bytes;
use list::Page;
use object_store::azure::{AzureAuthorizer, MicrosoftAzure, MicrosoftAzureBuilder};
use object_store::client::{HttpClient, HttpRequest, HttpRequestBody};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{Attribute, GetOptions, GetRange, ObjectStore};
use reqwest::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url, redirect};
use sender::{Sender, told};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// How long an answer may take. The time in which a block is sent counts, and lines may be slow.
const READ_TIMEOUT: Duration = Duration::from_secs(300);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What the names of headers with metadata begin with.
const METADATA: &str = "x-ms-meta-";

/// A container of a storage account.
#[derive(Debug)]
pub struct Container {
    store: MicrosoftAzure,
    http: HttpClient,
    access: Arc<Access>,
    account: String,
    url: Url,
}

/// What a blob is, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Properties {
    /// Bytes
    pub size: u64,
    /// Names in small letters.
    pub metadata: BTreeMap<String, String>,
}

impl Container {
    /// The container of a datastore.
    ///
    /// # Errors
    /// The datastore is none of blobs, or what it says of itself makes no address.
    pub fn of_datastore(workspace: &WorkspaceClient, store: &Datastore) -> Result<Container> {
        if !matches!(store.kind, DatastoreKind::Blob | DatastoreKind::DataLake) {
            return Err(Error::Invalid {
                what: "the datastore",
                value: store.name.clone(),
                expected: "expected one of the type AzureBlob or AzureDataLakeGen2",
            });
        }
        let account_url = workspace.blob_account(store)?;
        let source = DatastoreAccess { workspace: workspace.clone(), store: store.clone() };
        let client = workspace.client();
        Container::new(client, &account_url, &store.account, &store.container, Arc::new(source))
    }

    /// The container of this address, `https://ACCOUNT…/CONTAINER`, whose access is a signature or a token.
    ///
    /// # Errors
    /// It is no such address.
    pub fn at(client: &Client, address: &str, source: Arc<dyn AccessSource>) -> Result<Container> {
        let odd =
            || Error::Protocol { url: SafeUrl::parse(address), what: "no address of a container".into() };
        let url = Url::parse(address).map_err(|_| odd())?;
        let (rest, container) = url.path().trim_end_matches('/').rsplit_once('/').ok_or_else(odd)?;
        let mut account_url = url.clone();
        account_url.set_query(None);
        account_url.set_path(rest);
        // Only a key would be signed with the name of the account.
        Container::new(client, &account_url, "account", container, source)
    }

    /// The container of this name in the account at `account_url`.
    ///
    /// # Errors
    /// They make no address.
    pub fn new(
        client: &Client,
        account_url: &Url,
        account: &str,
        container: &str,
        source: Arc<dyn AccessSource>,
    ) -> Result<Container> {
        let mut url = account_url.clone();
        match url.path_segments_mut() {
            Ok(mut parts) if !container.is_empty() => {
                parts.pop_if_empty().push(container);
            }
            _ => {
                let what = format!("no account with a container `{container}`");
                return Err(Error::Protocol { url: SafeUrl::from(account_url), what });
            }
        }
        // No redirections: they would carry the access on to other hosts.
        let http = reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .build();
        let http = http.map_err(|source| Error::Transport {
            method: "the client".into(),
            url: SafeUrl::from(&url),
            attempts: 0,
            source,
        })?;
        let sender = Sender(client.transport().with_http(http));
        let access = Arc::new(Access::new(client.clone(), source, url.clone()));
        let store = MicrosoftAzureBuilder::new()
            .with_endpoint(account_url.to_string())
            .with_account(account)
            .with_container_name(container)
            .with_credentials(Arc::clone(&access) as _)
            .with_http_connector(sender.clone())
            .build()
            .map_err(|error| told(&error, &url))?;
        Ok(Container { store, http: HttpClient::new(sender), access, account: account.to_owned(), url })
    }

    /// The container's address, without rights.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// What a blob is; `None` if there is none of this name.
    ///
    /// # Errors
    /// The service refuses, nobody answers, or the name is none of a blob. The same holds for all calls.
    pub async fn properties(&self, name: &str) -> Result<Option<Properties>> {
        let path = blob_path(name)?;
        let options = || GetOptions { head: true, ..GetOptions::default() };
        let found = match self.with_access(|| self.store.get_opts(&path, options())).await {
            Err(error) if error.is_not_found() => return Ok(None),
            found => found?,
        };
        let metadata = found.attributes.iter().filter_map(|(attribute, value)| match attribute {
            Attribute::Metadata(name) => Some((name.to_lowercase(), value.to_string())),
            _ => None,
        });
        Ok(Some(Properties { size: found.meta.size, metadata: metadata.collect() }))
    }

    /// Every blob whose name begins with the prefix, in the order of names.
    pub async fn list(&self, prefix: &str) -> Result<Vec<Listed>> {
        self.list_at_least(usize::MAX, prefix).await
    }

    /// The blob of this name, as it stands in lists.
    pub async fn listed(&self, name: &str) -> Result<Option<Listed>> {
        // It comes before all others whose names begin with its own.
        Ok(self.list_at_least(1, name).await?.into_iter().find(|blob| blob.name == name))
    }

    /// Whether there is a blob whose name begins with the prefix.
    pub async fn has_any(&self, prefix: &str) -> Result<bool> {
        Ok(!self.list_at_least(1, prefix).await?.is_empty())
    }

    /// Asks for pages, some of which may be empty, until there are enough blobs.
    async fn list_at_least(&self, enough: usize, prefix: &str) -> Result<Vec<Listed>> {
        let mut blobs = Vec::new();
        let mut marker = None;
        loop {
            let page = self.page(prefix, marker.as_deref()).await?;
            blobs.extend(page.blobs);
            if blobs.len() >= enough || page.next.is_none() || page.next == marker {
                return Ok(blobs);
            }
            marker = page.next;
        }
    }

    async fn page(&self, prefix: &str, marker: Option<&str>) -> Result<Page> {
        let mut url = self.url.clone();
        let fixed = [("restype", "container"), ("comp", "list"), ("include", "metadata"), ("prefix", prefix)];
        url.query_pairs_mut().extend_pairs(fixed).extend_pairs(marker.map(|marker| ("marker", marker)));
        let xml = self.with_access(|| self.send(Method::GET, &url, HeaderMap::new())).await?;
        Page::read(&xml).map_err(|error| Error::Protocol {
            url: SafeUrl::from(&url),
            what: format!("unexpected list of blobs: {error}"),
        })
    }

    /// A part of a blob that still has this tag.
    pub async fn read(&self, name: &str, range: Range<u64>, tag: &str) -> Result<Bytes> {
        let path = blob_path(name)?;
        let read = || async {
            let range = Some(GetRange::Bounded(range.clone()));
            let options = GetOptions { range, if_match: Some(tag.to_owned()), ..GetOptions::default() };
            self.store.get_opts(&path, options).await?.bytes().await
        };
        self.with_access(read).await
    }

    /// Writes a blob at once, in place of one that may be there.
    pub async fn put(&self, name: &str, content: Bytes) -> Result<()> {
        let path = blob_path(name)?;
        self.with_access(|| self.store.put_opts(&path, content.clone().into(), Default::default())).await?;
        Ok(())
    }

    /// Sends a part of a blob, which becomes one by [`Container::join`].
    pub async fn put_block(&self, name: &str, content: Bytes) -> Result<PartId> {
        let path = blob_path(name)?;
        let upload = String::new();
        self.with_access(|| self.store.put_part(&path, &upload, 0, content.clone().into())).await
    }

    /// Makes a blob of the parts, in place of one that may be there.
    pub async fn join(&self, name: &str, blocks: Vec<PartId>) -> Result<()> {
        let path = blob_path(name)?;
        let upload = String::new();
        let ids = || blocks.iter().map(|block| PartId { content_id: block.content_id.clone() }).collect();
        self.with_access(|| self.store.complete_multipart(&path, &upload, ids())).await?;
        Ok(())
    }

    /// Replaces the metadata of a blob.
    pub async fn set_metadata(&self, name: &str, metadata: &[(&str, &str)]) -> Result<()> {
        let path = blob_path(name)?;
        let mut url = self.url.clone();
        if let Ok(mut parts) = url.path_segments_mut() {
            parts.extend(path.parts().map(|part| part.as_ref().to_owned()));
        }
        url.query_pairs_mut().append_pair("comp", "metadata");
        let mut headers = HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from_static("0"))]);
        for (name, value) in metadata {
            let invalid = || Error::Invalid {
                what: "the metadata",
                value: format!("{name}={value}"),
                expected: "expected ASCII letters",
            };
            let name = HeaderName::try_from(format!("{METADATA}{name}")).map_err(|_| invalid())?;
            headers.insert(name, HeaderValue::from_str(value).map_err(|_| invalid())?);
        }
        self.with_access(|| self.send(Method::PUT, &url, headers.clone())).await?;
        Ok(())
    }

    /// A request that `object_store` does not know, signed by it.
    async fn send(&self, method: Method, url: &Url, headers: HeaderMap) -> object_store::Result<Bytes> {
        let credential = self.access.credential().await.map_err(sender::carried)?;
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.method_mut() = method;
        *request.uri_mut() = url.as_str().parse().map_err(generic)?;
        *request.headers_mut() = headers;
        AzureAuthorizer::new(&credential, &self.account).authorize(&mut request);
        let response = self.http.execute(request).await.map_err(generic)?;
        response.into_body().bytes().await.map_err(generic)
    }

    /// Does something; and once more with another access, if the present one is refused.
    async fn with_access<T, F>(&self, action: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = object_store::Result<T>>,
    {
        let used = self.access.credential().await?;
        let refused = match action().await {
            Ok(value) => return Ok(value),
            Err(error) => told(&error, &self.url),
        };
        if !self.access.renew(&used, &refused).await {
            return Err(refused);
        }
        action().await.map_err(|error| told(&error, &self.url))
    }
}

/// What is none of this crate's errors, for [`told`].
fn generic(source: impl std::error::Error + Send + Sync + 'static) -> object_store::Error {
    object_store::Error::Generic { store: "blobs", source: Box::new(source) }
}

/// A name as the one that the service gets.
fn blob_path(name: &str) -> Result<Path> {
    let path = Path::parse(name).ok().filter(|path| path.as_ref() == name && !name.is_empty());
    path.ok_or_else(|| Error::Invalid {
        what: "the name of the blob",
        value: name.escape_debug().to_string(),
        expected: "expected parts between `/` that are not empty, `.` or `..`, without control characters",
    })
}
