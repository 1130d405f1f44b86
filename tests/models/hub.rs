//! A model given as a hub id, against a local server that speaks the hub's file API.

use crate::support::events::Recorder;
use crate::support::tiny_model;
use olive_core::event::Event;
use olive_model::{SourceOptions, resolve};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const ID: &str = "tiny/llama";

/// What the server does wrong on purpose.
#[derive(Default, Clone)]
struct Behaviour {
    /// Only requests with this token are answered.
    token: Option<&'static str>,
    /// `model.safetensors` is shorter than announced.
    short: bool,
    /// The connection is closed in the middle of `model.safetensors`.
    cut_off: bool,
    /// `model.safetensors` has other bytes than announced.
    corrupt: bool,
}

struct Hub {
    endpoint: String,
    requests: Arc<Mutex<Vec<String>>>,
    behaviour: Arc<Mutex<Behaviour>>,
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

impl Hub {
    fn serve(files: BTreeMap<String, Vec<u8>>, behaviour: Behaviour) -> Hub {
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
                    log.lock().unwrap().push(format!("{} {}", request.method, request.url));
                    let answer = answer(&request, &files, &how);
                    // A client that has seen enough hangs up.
                    let _ = answer.write(stream, request.method == "HEAD");
                });
            }
        });
        Hub { endpoint, requests, behaviour }
    }

    fn options(&self, cache: &Path) -> SourceOptions {
        SourceOptions {
            offline: false,
            cache: cache.to_owned(),
            token: None,
            endpoint: Some(self.endpoint.clone()),
            ..Default::default()
        }
    }

    fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }
}

struct Request {
    method: String,
    url: String,
    authorization: Option<String>,
}

impl Request {
    fn read(stream: &TcpStream) -> Option<Request> {
        let mut lines = BufReader::new(stream).lines();
        let first = lines.next()?.ok()?;
        let mut words = first.split(' ');
        let (method, url) = (words.next()?.to_owned(), words.next()?.to_owned());
        let mut authorization = None;
        for line in lines {
            let line = line.ok()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':')?;
            if name.eq_ignore_ascii_case("authorization") {
                authorization = Some(value.trim().to_owned());
            }
        }
        Some(Request { method, url, authorization })
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
    if url == format!("/api/models/{ID}/revision/main") {
        let body = serde_json::json!({"id": ID, "sha": COMMIT});
        return Answer::new(200, Vec::new(), body.to_string().into_bytes());
    }
    if url == format!("/api/models/{ID}/tree/{COMMIT}") {
        let entries: Vec<serde_json::Value> = files
            .iter()
            .map(|(path, bytes)| {
                serde_json::json!({"type": "file", "oid": "0", "size": bytes.len(), "path": path})
            })
            .collect();
        return Answer::new(200, Vec::new(), serde_json::to_vec(&entries).unwrap());
    }
    let Some(name) = url.strip_prefix(&format!("/{ID}/resolve/{COMMIT}/")) else {
        return Answer::refusal(404, "RepoNotFound");
    };
    let Some(bytes) = files.get(name) else { return Answer::refusal(404, "EntryNotFound") };
    let weights = name.ends_with(".safetensors");
    let hash = sha256(bytes);
    // Small files are tagged by their git hash, weights by SHA-256.
    let tag = if weights { &hash } else { &hash[..40] };
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
    let mut answer = Answer::new(200, headers, body);
    if weights && how.cut_off {
        answer.sent /= 2;
    }
    answer
}

/// The files of a model, and some that nobody needs.
fn model() -> BTreeMap<String, Vec<u8>> {
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

#[test]
fn is_fetched_once_and_then_found_in_the_cache_without_a_request() {
    let files = model();
    let hub = Hub::serve(files.clone(), Behaviour::default());
    let cache = tempfile::tempdir().unwrap();
    let mut options = hub.options(cache.path());
    let log = Recorder::default();
    let dir = resolve(ID, None, &options, &log).unwrap();
    assert_eq!(dir, cache.path().join("models--tiny--llama/snapshots").join(COMMIT));
    for name in ["config.json", "tokenizer.json", "chat_template.jinja", "model.safetensors"] {
        assert_eq!(std::fs::read(dir.join(name)).unwrap(), files[name], "{name}");
    }
    for unwanted in ["pytorch_model.bin", "modeling_custom.py", "onnx"] {
        assert!(!dir.join(unwanted).exists(), "{unwanted} was fetched");
    }
    let events = log.events();
    assert!(events.iter().any(|e| matches!(e, Event::PhaseStarted { total: Some(1..), .. })), "{events:?}");
    assert!(matches!(events.last(), Some(Event::PhaseFinished { .. })), "{events:?}");
    assert!(!hub.requests().is_empty());

    options.offline = true;
    assert_eq!(resolve(ID, None, &options, &()).unwrap(), dir);
    options.offline = false;
    assert_eq!(resolve(ID, Some(COMMIT), &options, &()).unwrap(), dir);
    assert_eq!(hub.requests(), [""; 0], "the cache was enough");

    // Online, the hub is asked whether `main` moved, but no file is sent again.
    assert_eq!(resolve(ID, None, &options, &()).unwrap(), dir);
    assert!(hub.requests().iter().all(|r| !r.starts_with("GET /tiny/")), "files were fetched again");
}

#[test]
fn without_a_network_the_cached_copy_is_used_with_a_warning() {
    let files = model();
    let hub = Hub::serve(files, Behaviour::default());
    let cache = tempfile::tempdir().unwrap();
    let mut options = hub.options(cache.path());
    let dir = resolve(ID, None, &options, &()).unwrap();
    options.endpoint = Some("http://127.0.0.1:9".into()); // Nobody listens there.
    let log = Recorder::default();
    assert_eq!(resolve(ID, None, &options, &log).unwrap(), dir);
    assert!(matches!(log.events().as_slice(), [Event::Warning { .. }]));
    let error = resolve("tiny/other", None, &options, &()).unwrap_err();
    assert!(error.to_string().contains("cannot be reached"), "{error}");
    assert!(error.hint().unwrap().contains("local folder"));
}

#[test]
fn ctrl_c_stops_a_download() {
    let files = model();
    let hub = Hub::serve(files, Behaviour::default());
    let cache = tempfile::tempdir().unwrap();
    let options = hub.options(cache.path());
    options.cancel.raise();
    assert!(resolve(ID, None, &options, &()).is_err_and(|error| error.is_interruption()));
}

#[test]
fn a_model_that_is_not_there_is_named() {
    let hub = Hub::serve(BTreeMap::new(), Behaviour::default());
    let cache = tempfile::tempdir().unwrap();
    let mut options = hub.options(cache.path());
    let error = resolve("tiny/lama", None, &options, &()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`tiny/lama` is no folder here, and could not be fetched from the hub: there is no such model (404)"
    );
    assert!(error.hint().unwrap().contains("check the name"));
    let error = resolve(ID, Some("v2"), &options, &()).unwrap_err();
    assert!(error.to_string().contains("404"), "{error}");
    options.offline = true;
    let error = resolve("tiny/lama", None, &options, &()).unwrap_err();
    assert!(error.to_string().contains("not in the cache"), "{error}");
    assert!(error.hint().unwrap().contains("without --offline"));
}

#[test]
fn a_gated_model_needs_the_right_token() {
    let files = model();
    let hub = Hub::serve(files, Behaviour { token: Some("secret"), ..Default::default() });
    let cache = tempfile::tempdir().unwrap();
    let mut options = hub.options(cache.path());
    let error = resolve(ID, None, &options, &()).unwrap_err();
    assert!(error.to_string().contains("401"), "{error}");
    assert!(error.hint().unwrap().contains("HF_TOKEN"));
    options.token = Some("another".into());
    let error = resolve(ID, None, &options, &()).unwrap_err();
    assert!(error.to_string().contains("403") && !error.to_string().contains("another"), "{error}");
    options.token = Some("secret".into());
    assert!(resolve(ID, None, &options, &()).unwrap().join("model.safetensors").is_file());
}

#[test]
fn a_download_that_ends_early_or_is_damaged_does_not_stay_in_the_cache() {
    let files = model();
    let announced = format!("the hub announced {}", files["model.safetensors"].len());
    let cases = [
        (Behaviour { short: true, ..Default::default() }, announced.as_str()),
        (Behaviour { cut_off: true, ..Default::default() }, "in the middle of a file"),
        (Behaviour { corrupt: true, ..Default::default() }, "checksum"),
    ];
    for (behaviour, what) in cases {
        let hub = Hub::serve(files.clone(), behaviour);
        let cache = tempfile::tempdir().unwrap();
        let mut options = hub.options(cache.path());
        let error = resolve(ID, None, &options, &()).unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
        options.offline = true;
        assert!(resolve(ID, None, &options, &()).is_err(), "{what}: a damaged model is in the cache");
        options.offline = false;
        *hub.behaviour.lock().unwrap() = Behaviour::default();
        let dir = resolve(ID, None, &options, &()).unwrap();
        assert_eq!(std::fs::read(dir.join("model.safetensors")).unwrap(), files["model.safetensors"]);
    }
}
