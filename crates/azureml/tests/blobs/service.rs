//! A storage account with one container, in memory: what `Container` asks of one, and nothing more.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use reqwest::Url;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::sync::{Arc, Mutex};

/// Path of the container.
pub const CONTAINER: &str = "/account/files";

#[derive(Clone, Default)]
pub struct Blob {
    pub content: Vec<u8>,
    pub metadata: BTreeMap<String, String>,
    pub md5: Option<String>,
    tag: u64,
}

/// What the account does, which tests may change at any time.
#[derive(Default)]
pub struct Account {
    pub blobs: BTreeMap<String, Blob>,
    /// The signature that is valid.
    pub signature: u32,
    /// How often somebody asked for the signature.
    pub asked_for_access: usize,
    /// Requests after which the signature is replaced by the next.
    pub ends_after: Option<usize>,
    /// What requests whose text contains the first are refused with.
    pub refusals: Vec<(String, u16, &'static str)>,
    /// `GET /account/files/name bytes=0-1`
    pub log: Vec<String>,
    /// Of an `Authorization` header.
    pub tokens: Vec<String>,
    /// Requests that were answered at the same time, at most.
    pub most_at_once: usize,
    at_once: usize,
    blocks: HashMap<String, Vec<u8>>,
    tags: u64,
}

/// The running service. It ends with the test's runtime.
#[derive(Clone)]
pub struct Service {
    pub url: Url,
    account: Arc<Mutex<Account>>,
}

impl Service {
    pub async fn start() -> Service {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}/account", listener.local_addr().unwrap())).unwrap();
        let service = Service { url, account: Arc::default() };
        let router = Router::new().fallback(answer).with_state(service.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        service
    }

    pub fn with<T>(&self, action: impl FnOnce(&mut Account) -> T) -> T {
        action(&mut self.account.lock().unwrap())
    }

    pub fn put(&self, name: &str, content: impl Into<Vec<u8>>) {
        let content = content.into();
        self.with(|account| account.put(name, content));
    }

    pub fn content(&self, name: &str) -> Vec<u8> {
        self.with(|account| account.blobs[name].content.clone())
    }

    /// Requests with this in their text, which are forgotten.
    pub fn requests(&self, with: &str) -> Vec<String> {
        let log = self.with(|account| std::mem::take(&mut account.log));
        log.into_iter().filter(|line| line.contains(with)).collect()
    }
}

impl Account {
    fn put(&mut self, name: &str, content: Vec<u8>) {
        self.tags += 1;
        let md5 = Some(STANDARD.encode(Md5::digest(&content)));
        self.blobs.insert(name.into(), Blob { content, metadata: BTreeMap::new(), md5, tag: self.tags });
    }

    /// Why the request is refused, if it is.
    fn refusal(&mut self, line: &str, request: &Asked) -> Option<(u16, &'static str)> {
        if let Some(left) = &mut self.ends_after {
            match left.checked_sub(1) {
                Some(less) => *left = less,
                None => {
                    self.ends_after = None;
                    self.signature += 1;
                }
            }
        }
        if let Some(token) = request.headers.get(header::AUTHORIZATION) {
            self.tokens.push(token.to_str().unwrap().to_owned());
        } else if let Some((_, status, code)) = self.refusals.iter().find(|(part, ..)| line.contains(part)) {
            return Some((*status, code));
        } else if request.query.get("sig") != Some(&format!("secret{}", self.signature)) {
            return Some((403, "AuthenticationFailed"));
        }
        None
    }
}

struct Asked {
    method: Method,
    name: String,
    query: HashMap<String, String>,
    headers: HeaderMap,
    body: Bytes,
}

async fn answer(State(service): State<Service>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    service.with(|account| {
        account.at_once += 1;
        account.most_at_once = account.most_at_once.max(account.at_once);
    });
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let url = service.url.join(&parts.uri.to_string()).unwrap();
    let path = percent_decoded(url.path());
    let query: HashMap<String, String> = url.query_pairs().into_owned().collect();
    let range = parts.headers.get(header::RANGE).map_or("", |range| range.to_str().unwrap());
    let comp = query.get("comp").map_or("", String::as_str);
    let line = format!("{} {path} {comp}{range}", parts.method);
    let name = path.strip_prefix(CONTAINER).unwrap_or_default().trim_start_matches('/').to_owned();
    let asked = Asked { method: parts.method, name, query, headers: parts.headers, body };
    service.with(|account| {
        account.at_once -= 1;
        let refusal = account.refusal(&line, &asked);
        account.log.push(line);
        match refusal {
            Some((status, code)) => refused(status, code),
            None => done(account, &asked),
        }
    })
}

fn done(account: &mut Account, asked: &Asked) -> Response {
    let comp = asked.query.get("comp").map(String::as_str);
    match (&asked.method, comp) {
        (&Method::GET, Some("list")) => listed(account, &asked.query["prefix"], asked.query.get("marker")),
        (&Method::GET | &Method::HEAD, None) => read(account, asked),
        (&Method::PUT, None) => {
            account.put(&asked.name, asked.body.to_vec());
            created()
        }
        (&Method::PUT, Some("block")) => {
            account.blocks.insert(asked.query["blockid"].clone(), asked.body.to_vec());
            created()
        }
        (&Method::PUT, Some("blocklist")) => {
            let xml = String::from_utf8(asked.body.to_vec()).unwrap();
            let ids = xml.split("<Uncommitted>").skip(1).map(|part| part.split('<').next().unwrap());
            let content = ids.flat_map(|id| account.blocks[id].clone()).collect();
            account.put(&asked.name, content);
            // The service computes none for blobs of blocks.
            account.blobs.get_mut(&asked.name).unwrap().md5 = None;
            created()
        }
        (&Method::PUT, Some("metadata")) => {
            let metadata = asked.headers.iter().filter_map(|(name, value)| {
                let name = name.as_str().strip_prefix("x-ms-meta-")?;
                Some((name.to_owned(), value.to_str().unwrap().to_owned()))
            });
            account.blobs.get_mut(&asked.name).unwrap().metadata = metadata.collect();
            created()
        }
        _ => refused(400, "InvalidQueryParameterValue"),
    }
}

fn read(account: &Account, asked: &Asked) -> Response {
    let Some(blob) = account.blobs.get(&asked.name) else { return refused(404, "BlobNotFound") };
    let tag = format!("\"0x{:X}\"", blob.tag);
    if asked.headers.get(header::IF_MATCH).is_some_and(|wanted| wanted.to_str().unwrap() != tag) {
        return refused(412, "ConditionNotMet");
    }
    let mut response = Response::builder()
        .header(header::ETAG, tag)
        .header(header::LAST_MODIFIED, "Mon, 30 Nov 2026 00:00:00 GMT");
    for (name, value) in &blob.metadata {
        response = response.header(format!("x-ms-meta-{name}"), value);
    }
    let size = blob.content.len();
    if asked.method == Method::HEAD {
        return response.header(header::CONTENT_LENGTH, size).body(Body::empty()).unwrap();
    }
    let range = asked.headers[header::RANGE].to_str().unwrap();
    let (start, end) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
    let (start, end): (usize, usize) = (start.parse().unwrap(), end.parse::<usize>().unwrap() + 1);
    response
        .status(StatusCode::PARTIAL_CONTENT)
        .header(header::CONTENT_RANGE, format!("bytes {start}-{}/{size}", end - 1))
        .body(blob.content[start..end].to_vec().into())
        .unwrap()
}

/// Pages of two.
fn listed(account: &Account, prefix: &str, marker: Option<&String>) -> Response {
    let mut found = account.blobs.iter().filter(|(name, _)| name.starts_with(prefix));
    let mut xml = String::from("<?xml version=\"1.0\"?><EnumerationResults><Blobs>");
    let rest = found.by_ref().skip_while(|(name, _)| marker.is_some_and(|marker| *name < marker));
    let mut rest = rest.peekable();
    for (name, blob) in rest.by_ref().take(2) {
        let escaped = name.replace('&', "&amp;").replace('<', "&lt;");
        let metadata = blob.metadata.iter().fold(String::new(), |mut text, (name, value)| {
            write!(text, "<{name}>{value}</{name}>").unwrap();
            text
        });
        let md5 = blob.md5.as_deref().unwrap_or_default();
        let (size, tag) = (blob.content.len(), blob.tag);
        write!(
            xml,
            "<Blob><Name>{escaped}</Name><Properties><Etag>0x{tag:X}</Etag><Content-Length>{size}</Content-Length>\
             <Content-MD5>{md5}</Content-MD5></Properties><Metadata>{metadata}</Metadata></Blob>"
        )
        .unwrap();
    }
    let next = rest.peek().map_or("", |(name, _)| name.as_str());
    write!(xml, "</Blobs><NextMarker>{next}</NextMarker></EnumerationResults>").unwrap();
    Response::new(xml.into())
}

fn created() -> Response {
    Response::builder().status(201).header(header::ETAG, "\"0x0\"").body(Body::empty()).unwrap()
}

fn refused(status: u16, code: &str) -> Response {
    let xml = format!(
        "\u{feff}<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>Refused.\nRequestId:1</Message></Error>"
    );
    Response::builder().status(status).header("x-ms-error-code", code).body(xml.into()).unwrap()
}

fn percent_decoded(path: &str) -> String {
    // An address decodes queries only.
    let query = format!("x:?p={}", path.replace('+', "%2B").replace('&', "%26"));
    Url::parse(&query).unwrap().query_pairs().next().unwrap().1.into_owned()
}
