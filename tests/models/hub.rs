//! A model given as a hub id, against a local server that speaks the hub's file API.

use crate::support::events::Recorder;
use crate::support::tiny_model;
use olive_core::event::Event;
use olive_model::{SourceOptions, resolve};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
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
    /// What is called the commit.
    commit: Option<&'static str>,
    /// The entity tag of `model.safetensors`.
    tag: Option<&'static str>,
    /// `model.safetensors` is sent by another host.
    elsewhere: Option<String>,
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

const WEIGHTS: &str = "model.safetensors";

fn blobs(cache: &Path) -> PathBuf {
    cache.join("models--tiny--llama/blobs")
}

#[test]
fn what_arrived_of_a_file_is_not_sent_again() {
    let files = model();
    let hub = Hub::serve(files.clone(), Behaviour::default());
    let cache = tempfile::tempdir().unwrap();
    let weights = &files[WEIGHTS];
    let partial = blobs(cache.path()).join(format!("{}.incomplete", sha256(weights)));
    std::fs::create_dir_all(partial.parent().unwrap()).unwrap();
    std::fs::write(&partial, &weights[..1000]).unwrap();
    let dir = resolve(ID, None, &hub.options(cache.path()), &()).unwrap();
    assert_eq!(std::fs::read(dir.join(WEIGHTS)).unwrap(), *weights);
    assert!(!partial.exists());
    let sent: Vec<String> =
        hub.requests().into_iter().filter(|r| r.starts_with("GET") && r.contains(WEIGHTS)).collect();
    assert_eq!(sent, [format!("GET /{ID}/resolve/{COMMIT}/{WEIGHTS} from 1000")]);

    // A beginning of something else is found out, and all is fetched.
    let cache = tempfile::tempdir().unwrap();
    let partial = blobs(cache.path()).join(partial.file_name().unwrap());
    std::fs::create_dir_all(partial.parent().unwrap()).unwrap();
    for wrong in [weights.len() - 1, weights.len(), weights.len() + 1] {
        std::fs::write(&partial, vec![7; wrong]).unwrap();
        let dir = resolve(ID, None, &hub.options(cache.path()), &()).unwrap();
        assert_eq!(std::fs::read(dir.join(WEIGHTS)).unwrap(), *weights);
        std::fs::remove_dir_all(cache.path().join("models--tiny--llama/snapshots")).unwrap();
        std::fs::remove_file(blobs(cache.path()).join(sha256(weights))).unwrap();
    }
}

#[test]
fn a_connection_that_breaks_is_taken_up_where_it_broke() {
    let files = model();
    let hub = Hub::serve(files, Behaviour { cut_off: true, ..Default::default() });
    let cache = tempfile::tempdir().unwrap();
    assert!(resolve(ID, None, &hub.options(cache.path()), &()).is_err());
    let from = |request: &str| request.rsplit_once(" from ").map(|(_, from)| from.parse::<u64>().unwrap());
    let starts: Vec<u64> = hub.requests().iter().filter_map(|r| from(r)).collect();
    assert!(starts.len() == 2 && starts[0] < starts[1], "{starts:?}");
    // What came is there for the next run.
    hub.behaviour.lock().unwrap().cut_off = false;
    resolve(ID, None, &hub.options(cache.path()), &()).unwrap();
    assert!(hub.requests().iter().filter_map(|r| from(r)).any(|from| from > starts[1]));
}

#[test]
fn a_server_cannot_write_outside_the_cache() {
    let files = model();
    let cases = [
        Behaviour { commit: Some("../../../../escaped"), ..Default::default() },
        Behaviour { commit: Some("/tmp/olive-escaped"), ..Default::default() },
        Behaviour { tag: Some("../../../escaped"), ..Default::default() },
        Behaviour { tag: Some("/tmp/olive-escaped"), ..Default::default() },
        Behaviour { tag: Some(""), ..Default::default() },
    ];
    for behaviour in cases {
        let hub = Hub::serve(files.clone(), behaviour);
        let around = tempfile::tempdir().unwrap();
        let cache = around.path().join("cache");
        let error = resolve(ID, None, &hub.options(&cache), &()).unwrap_err();
        assert!(error.to_string().contains("not one of the hub"), "{error}");
        assert!(error.hint().unwrap().contains("HF_ENDPOINT"));
        assert!(!cache.join(format!("models--tiny--llama/snapshots/{COMMIT}/{WEIGHTS}")).exists());
        let mut there = std::fs::read_dir(around.path()).unwrap().map(|e| e.unwrap().file_name());
        assert!(there.all(|name| name == "cache"), "something was written beside the cache");
    }
    assert!(!Path::new("/tmp/olive-escaped").exists());
    for revision in ["../../../escaped", "/tmp/olive-escaped", "a//b", "main?x=", ""] {
        let hub = Hub::serve(files.clone(), Behaviour::default());
        let cache = tempfile::tempdir().unwrap();
        let error = resolve(ID, Some(revision), &hub.options(cache.path()), &()).unwrap_err();
        assert!(error.to_string().contains("no revision"), "{error}");
        assert_eq!(hub.requests(), [""; 0]);
    }
}

#[test]
fn a_reference_in_the_cache_leads_to_a_commit_only() {
    let cache = tempfile::tempdir().unwrap();
    let elsewhere = cache.path().join("models--tiny--llama/elsewhere");
    std::fs::create_dir_all(&elsewhere).unwrap();
    for (name, content) in model() {
        let path = elsewhere.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let refs = cache.path().join("models--tiny--llama/refs");
    std::fs::create_dir_all(&refs).unwrap();
    std::fs::create_dir_all(cache.path().join("models--tiny--llama/snapshots")).unwrap();
    for commit in ["../elsewhere", elsewhere.to_str().unwrap(), ""] {
        std::fs::write(refs.join("main"), commit).unwrap();
        let options = SourceOptions { offline: true, cache: cache.path().into(), ..Default::default() };
        let error = resolve(ID, None, &options, &()).unwrap_err();
        assert!(error.to_string().contains("it is not in the cache"), "{commit}: {error}");
    }
}

#[test]
fn the_token_stays_with_the_hub() {
    let files = model();
    let store = Hub::serve(files.clone(), Behaviour::default());
    let elsewhere = Some(store.endpoint.replace("127.0.0.1", "localhost"));
    let hub = Hub::serve(files.clone(), Behaviour { token: Some("secret"), elsewhere, ..Default::default() });
    let cache = tempfile::tempdir().unwrap();
    let mut options = hub.options(cache.path());
    options.token = Some("secret".into());
    let dir = resolve(ID, None, &options, &()).unwrap();
    assert_eq!(std::fs::read(dir.join(WEIGHTS)).unwrap(), files[WEIGHTS]);
    assert_eq!(store.requests(), [format!("GET /{ID}/resolve/{COMMIT}/{WEIGHTS}")]);
    assert!(hub.requests().iter().all(|request| request.ends_with("with a token")));
}
