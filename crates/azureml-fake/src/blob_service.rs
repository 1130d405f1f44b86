//! The requests of blob storage, of version 2021-12-02.

use crate::blob_list;
use crate::blob_store::{Blob, BlobStore};
use crate::exchange::{Exchange, Reply};
use crate::signature::{Signatures, refusal};
use crate::tokens;
use axum::body::Bytes;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use quick_xml::Reader;
use quick_xml::events::Event;
use std::collections::BTreeMap;
use std::ops::Range;

/// What the account takes besides signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AccountPolicy {
    /// The account's key, and tokens.
    #[default]
    Open,
    /// Tokens only.
    NoKeys,
    /// The key only: the user has no role.
    NoRole,
}

/// One account.
#[derive(Debug)]
pub struct BlobService<'a> {
    pub store: &'a BlobStore,
    pub signatures: &'a Signatures,
    pub policy: AccountPolicy,
    /// Blobs on a page of a list.
    pub page_size: usize,
    /// A container that everybody may read.
    pub public: Option<&'a str>,
}

impl BlobService<'_> {
    /// A request to a blob; an empty name is the container itself.
    pub fn answer(&self, request: &Exchange, container: &str, blob: &str) -> Reply {
        if let Err(refused) = self.authorize(request, container, blob) {
            return refused;
        }
        let reply = match (request.method.as_str(), request.query("comp"), blob) {
            ("GET", "list", "") => blob_list::answer(self.store, request, container, self.page_size),
            ("PUT", "", "") => Reply::status(201),
            ("GET", "", name) => self.get(request, container, name),
            ("HEAD", "", name) => match self.store.get(container, name) {
                Some(blob) => described(Reply::status(200), &blob)
                    .header("content-length", blob.content.len().to_string()),
                None => Reply::status(404).header("x-ms-error-code", "BlobNotFound"),
            },
            ("PUT", "", name) => self.put(request, container, name),
            ("PUT", "block", name) => self.put_block(request, container, name),
            ("PUT", "blocklist", name) => self.put_block_list(request, container, name),
            ("PUT", "metadata", name) => match self.store.set_metadata(container, name, metadata(request)) {
                Some(blob) => written(200, &blob),
                None => missing(),
            },
            ("DELETE", "", name) => match self.store.delete(container, name) {
                Some(_) => Reply::status(202),
                None => missing(),
            },
            _ => refusal(405, "UnsupportedHttpVerb", "The fake does not know this request."),
        };
        reply.header("x-ms-version", "2021-12-02")
    }

    fn authorize(&self, request: &Exchange, container: &str, blob: &str) -> Result<(), Reply> {
        let shown = request.header("authorization");
        if !request.query("sig").is_empty() {
            return self.signatures.check(request, container, blob);
        }
        if shown.starts_with("SharedKey ") {
            return match self.policy {
                AccountPolicy::NoKeys => Err(refusal(
                    403,
                    "KeyBasedAuthenticationNotPermitted",
                    "Key based authentication is not permitted on this storage account.",
                )),
                _ => Ok(()),
            };
        }
        let audience = request.bearer().and_then(tokens::audience);
        match audience.as_deref() {
            Some("https://storage.azure.com") if self.policy == AccountPolicy::NoRole => Err(refusal(
                403,
                "AuthorizationPermissionMismatch",
                "This request is not authorized to perform this operation using this permission.",
            )),
            Some("https://storage.azure.com") => Ok(()),
            Some(_) => Err(refusal(401, "InvalidAuthenticationInfo", "Invalid audience.")),
            None if self.public == Some(container) && request.method == "GET" => Ok(()),
            None => Err(refusal(401, "NoAuthenticationInformation", "No authentication information.")),
        }
    }

    fn get(&self, request: &Exchange, container: &str, name: &str) -> Reply {
        let Some(blob) = self.store.get(container, name) else { return missing() };
        let condition = request.header("if-match");
        if !condition.is_empty() && condition != "*" && condition != blob.etag {
            return refusal(412, "ConditionNotMet", "The condition was not met.");
        }
        let own = request.header("x-ms-range");
        let wanted = if own.is_empty() { request.header("range") } else { own };
        if wanted.is_empty() {
            return described(Reply::status(200), &blob).body(blob.content);
        }
        let length = blob.content.len();
        match range(wanted, length) {
            Some(range) => {
                let told = format!("bytes {}-{}/{length}", range.start, range.end - 1);
                described(Reply::status(206), &blob)
                    .header("content-range", told)
                    .body(blob.content.slice(range))
            }
            None => refusal(416, "InvalidRange", "The range specified is invalid.")
                .header("content-range", format!("bytes */{length}")),
        }
    }

    fn put(&self, request: &Exchange, container: &str, name: &str) -> Reply {
        if request.header("x-ms-blob-type") != "BlockBlob" {
            return refusal(400, "MissingRequiredHeader", "x-ms-blob-type");
        }
        self.write(request, container, name, request.body.clone(), "content-md5")
    }

    fn put_block(&self, request: &Exchange, container: &str, name: &str) -> Reply {
        let id = request.query("blockid");
        if id.is_empty() || STANDARD.decode(id).is_err() {
            return refusal(400, "InvalidQueryParameterValue", "blockid");
        }
        self.store.put_block(container, name, id, request.body.clone());
        Reply::status(201)
    }

    fn put_block_list(&self, request: &Exchange, container: &str, name: &str) -> Reply {
        let Some(ids) = block_ids(&request.body) else {
            return refusal(400, "InvalidXmlDocument", "XML specified is not syntactically valid.");
        };
        let equal = ids.windows(2).all(|pair| pair[0].len() == pair[1].len());
        match self.store.joined_blocks(container, name, &ids) {
            Some(content) if equal => self.write(request, container, name, content, "x-ms-blob-content-md5"),
            _ => refusal(400, "InvalidBlockList", "The specified block list is invalid."),
        }
    }

    fn write(&self, request: &Exchange, container: &str, name: &str, content: Bytes, md5: &str) -> Reply {
        if request.header("if-none-match") == "*" && self.store.get(container, name).is_some() {
            return refusal(409, "BlobAlreadyExists", "The specified blob already exists.");
        }
        let md5 = request.headers.get(md5).cloned();
        written(201, &self.store.put_with(container, name, content, metadata(request), md5))
    }
}

fn missing() -> Reply {
    refusal(404, "BlobNotFound", "The specified blob does not exist.")
}

fn written(status: u16, blob: &Blob) -> Reply {
    Reply::status(status).header("etag", &blob.etag).header("last-modified", blob_list::date(blob.modified))
}

fn described(reply: Reply, blob: &Blob) -> Reply {
    let mut reply = reply
        .header("etag", &blob.etag)
        .header("last-modified", blob_list::date(blob.modified))
        .header("content-type", &blob.content_type)
        .header("accept-ranges", "bytes")
        .header("x-ms-blob-type", "BlockBlob");
    if let Some(md5) = &blob.md5 {
        reply = reply.header("content-md5", md5);
    }
    for (name, value) in &blob.metadata {
        reply = reply.header(&format!("x-ms-meta-{name}"), value);
    }
    reply
}

fn metadata(request: &Exchange) -> BTreeMap<String, String> {
    let own = |(name, value): (&String, &String)| {
        Some((name.strip_prefix("x-ms-meta-")?.to_owned(), value.clone()))
    };
    request.headers.iter().filter_map(own).collect()
}

/// `bytes=a-b` or `bytes=a-`, within what there is; `None` if nothing of it is.
fn range(text: &str, length: usize) -> Option<Range<usize>> {
    let (start, end) = text.strip_prefix("bytes=")?.split_once('-')?;
    let start: usize = start.parse().ok()?;
    let end = if end.is_empty() { length } else { end.parse::<usize>().ok()?.saturating_add(1).min(length) };
    (start < end).then_some(start..end)
}

/// The ids of `<BlockList><Latest>id</Latest>…</BlockList>`.
fn block_ids(body: &[u8]) -> Option<Vec<String>> {
    let mut reader = Reader::from_reader(body);
    let mut ids = Vec::new();
    let mut depth = 0;
    loop {
        match reader.read_event().ok()? {
            Event::Start(_) => depth += 1,
            Event::End(_) => depth -= 1,
            Event::Text(text) if depth == 2 => ids.push(String::from_utf8(text.to_vec()).ok()?),
            Event::Eof => return Some(ids),
            _ => {}
        }
    }
}
