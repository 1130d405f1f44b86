//! A server that speaks the hub's file API, with a tiny model.

use super::tiny_model;
use olive_model::SourceOptions;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
pub const ID: &str = "tiny/llama";

/// What the server does wrong on purpose.
#[derive(Default, Clone)]
pub struct Behaviour {
    /// Only requests with this token are answered.
    pub token: Option<&'static str>,
    /// `model.safetensors` is shorter than announced.
    pub short: bool,
    /// The connection is closed in the middle of `model.safetensors`.
    pub cut_off: bool,
    /// `model.safetensors` has other bytes than announced.
    pub corrupt: bool,
    /// What is called the commit.
    pub commit: Option<&'static str>,
    /// The entity tag of `model.safetensors`.
    pub tag: Option<&'static str>,
    /// `model.safetensors` is sent by another host.
    pub elsewhere: Option<String>,
}

pub struct Hub {
    pub endpoint: String,
    pub requests: Arc<Mutex<Vec<String>>>,
    pub behaviour: Arc<Mutex<Behaviour>>,
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

impl Hub {
    pub fn serve(files: BTreeMap<String, Vec<u8>>, behaviour: Behaviour) -> Hub {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let behaviour = Arc::new(Mutex::new(behaviour));
        let (log, how) = (requests.clone(), behaviour.clone());
        let files = Arc::new(files);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let (log, files, how) = (log.clone(), files.clone(), how.lock().unwrap().clone());
                std::thread::spawn(move || {
                    let Some(request) = Request::read(&stream) else { return };
                    let authorized = if request.authorization.is_some() { " with a token" } else { "" };
                    let range = request.range.map(|from| format!(" from {from}")).unwrap_or_default();
                    log.lock()
                        .unwrap()
                        .push(format!("{} {}{range}{authorized}", request.method, request.url));
                    let answer = answer(&request, &files, &how);
                    // A client that has seen enough hangs up.
                    let _ = answer.write(stream, request.method == "HEAD");
                });
            }
        });
        Hub { endpoint, requests, behaviour }
    }

    pub fn options(&self, cache: &Path) -> SourceOptions {
        SourceOptions {
            offline: false,
            cache: cache.to_owned(),
            token: None,
            endpoint: Some(self.endpoint.clone()),
            ..Default::default()
        }
    }

    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }
}

struct Request {
    method: String,
    url: String,
    authorization: Option<String>,
    /// First byte that is asked for.
    range: Option<usize>,
}

impl Request {
    fn read(stream: &TcpStream) -> Option<Request> {
        let mut lines = BufReader::new(stream).lines();
        let first = lines.next()?.ok()?;
        let mut words = first.split(' ');
        let (method, url) = (words.next()?.to_owned(), words.next()?.to_owned());
        let (mut authorization, mut range) = (None, None);
        for line in lines {
            let line = line.ok()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':')?;
            if name.eq_ignore_ascii_case("authorization") {
                authorization = Some(value.trim().to_owned());
            }
            if name.eq_ignore_ascii_case("range") {
                range = value.trim().strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok();
            }
        }
        Some(Request { method, url, authorization, range })
    }
}

struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// Bytes of the body that are sent before the connection is closed.
    sent: usize,
}

impl Answer {
    fn new(status: u16, headers: Vec<(&'static str, String)>, body: Vec<u8>) -> Answer {
        let sent = body.len();
        Answer { status, headers, body, sent }
    }

    fn refusal(status: u16, code: &str) -> Answer {
        Answer::new(status, vec![("X-Error-Code", code.to_owned())], Vec::new())
    }

    fn write(&self, mut stream: TcpStream, head_only: bool) -> std::io::Result<()> {
        write!(
            stream,
            "HTTP/1.1 {} x\r\nConnection: close\r\nContent-Length: {}\r\n",
            self.status,
            self.body.len()
        )?;
        for (name, value) in &self.headers {
            write!(stream, "{name}: {value}\r\n")?;
        }
        write!(stream, "\r\n")?;
        if !head_only {
            stream.write_all(&self.body[..self.sent])?;
        }
        stream.flush()
    }
}

fn answer(request: &Request, files: &BTreeMap<String, Vec<u8>>, how: &Behaviour) -> Answer {
    match (how.token, &request.authorization) {
        (Some(_), None) => return Answer::refusal(401, "GatedRepo"),
        (Some(token), Some(given)) if *given != format!("Bearer {token}") => {
            return Answer::refusal(403, "GatedRepo");
        }
        _ => {}
    }
    let url = request.url.split('?').next().unwrap();
    if url == "/api/whoami-v2" {
        // Only those with a token have a name.
        return match how.token {
            Some(_) => Answer::new(200, Vec::new(), br#"{"type": "user", "name": "ada"}"#.to_vec()),
            None => Answer::refusal(401, "Unauthorized"),
        };
    }
    if url == format!("/api/models/{ID}/revision/main") {
        let siblings: Vec<serde_json::Value> = files
            .iter()
            .map(|(path, bytes)| serde_json::json!({"rfilename": path, "size": bytes.len()}))
            .collect();
        let commit = how.commit.unwrap_or(COMMIT);
        let body = serde_json::json!({"id": ID, "sha": commit, "siblings": siblings});
        return Answer::new(200, Vec::new(), body.to_string().into_bytes());
    }
    let Some(name) = url.strip_prefix(&format!("/{ID}/resolve/{COMMIT}/")) else {
        return Answer::refusal(404, "RepoNotFound");
    };
    let Some(bytes) = files.get(name) else { return Answer::refusal(404, "EntryNotFound") };
    let weights = name.ends_with(".safetensors");
    let hash = sha256(bytes);
    // Small files are tagged by their git hash, weights by SHA-256.
    let tag = match how.tag {
        Some(tag) if weights => tag,
        _ if weights => &hash,
        _ => &hash[..40],
    };
    let mut headers = vec![("X-Repo-Commit", COMMIT.to_owned()), ("ETag", format!("\"{tag}\""))];
    let mut body = bytes.clone();
    if weights {
        headers.push(("X-Linked-Etag", format!("\"{tag}\"")));
        headers.push(("X-Linked-Size", bytes.len().to_string()));
    }
    if weights && request.method == "GET" {
        if how.corrupt {
            body[1000] ^= 1;
        }
        if how.short {
            body.truncate(bytes.len() / 2);
        }
    }
    if let (true, Some(endpoint)) = (weights, &how.elsewhere) {
        headers.push(("Location", format!("{endpoint}{}", request.url)));
        return Answer::new(302, headers, Vec::new());
    }
    let mut status = 200;
    if let Some(from) = request.range {
        status = 206;
        headers.push(("Content-Range", format!("bytes {from}-{}/{}", body.len() - 1, body.len())));
        body.drain(..from);
    }
    let mut answer = Answer::new(status, headers, body);
    if weights && how.cut_off {
        answer.sent /= 2;
    }
    answer
}

/// The files of a model, and some that nobody needs.
pub fn model() -> BTreeMap<String, Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    tiny_model::write(dir.path(), &tiny_model::config());
    let mut files: BTreeMap<String, Vec<u8>> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|e| (e.file_name().into_string().unwrap(), std::fs::read(e.path()).unwrap()))
        .collect();
    for unwanted in ["pytorch_model.bin", "modeling_custom.py", "README.md", "onnx/model.onnx"] {
        files.insert(unwanted.into(), b"not needed".to_vec());
    }
    files
}
