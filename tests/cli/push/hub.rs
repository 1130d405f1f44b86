//! A server that takes models as the hub does: repositories, branches, commits, and a storage on another port, whole and in parts.
//! `scripts/push_hub.py` is the same for the hub's own client.

use super::answers::{commit, missing, preupload, validate};
use super::http::{Answer, Request};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

/// May write to what is ada's.
pub const WRITER: &str = "hf_ada_writes_with_it";
/// May read.
pub const READER: &str = "hf_ada_reads_with_it";

/// Larger objects come in parts of this length.
pub const PART: usize = 1_000_000;

/// What the server does wrong on purpose.
#[derive(Clone)]
pub enum Wrong {
    Answer(Answer),
    /// Hangs up in the middle of the body.
    CutOff,
    /// Does what it is asked for and does not say so.
    Forget,
    /// Somebody writes into the file.
    Touch(PathBuf),
    /// Nothing for so many milliseconds.
    Wait(u64),
}

/// It goes wrong so often.
#[derive(Clone)]
pub struct Fault {
    /// Method and the beginning of a path.
    pub request: &'static str,
    pub times: usize,
    pub wrong: Wrong,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Blob {
    Regular(Vec<u8>),
    Stored(String),
}

#[derive(Clone, Default)]
pub struct Repo {
    pub private: bool,
    pub branches: BTreeMap<String, BTreeMap<String, Blob>>,
    /// Messages of its commits.
    pub commits: Vec<String>,
}

#[derive(Default)]
pub struct State {
    pub repos: BTreeMap<String, Repo>,
    /// The storage, by SHA-256.
    pub objects: BTreeMap<String, Vec<u8>>,
    parts: BTreeMap<(String, usize), Vec<u8>>,
    pub faults: Vec<Fault>,
    /// Method, path and whether a token came along.
    pub requests: Vec<String>,
    storage: String,
    /// Repositories are public, whatever is asked for.
    pub always_public: bool,
}

pub struct Hub {
    pub endpoint: String,
    state: Arc<Mutex<State>>,
}

impl Hub {
    pub fn serve() -> Hub {
        let state = Arc::new(Mutex::new(State::default()));
        let [endpoint, storage] = [(); 2].map(|()| listen(&state));
        state.lock().unwrap().storage = storage;
        Hub { endpoint, state }
    }

    pub fn with(faults: impl IntoIterator<Item = Fault>) -> Hub {
        let hub = Hub::serve();
        hub.state().faults.extend(faults);
        hub
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state().requests)
    }

    /// The files of a branch with their contents.
    pub fn files(&self, repo: &str, branch: &str) -> BTreeMap<String, Vec<u8>> {
        let state = self.state();
        let content = |blob: &Blob| match blob {
            Blob::Regular(bytes) => bytes.clone(),
            Blob::Stored(sha256) => state.objects[sha256].clone(),
        };
        let tree = &state.repos[repo].branches[branch];
        tree.iter().map(|(name, blob)| (name.clone(), content(blob))).collect()
    }
}

fn listen(state: &Arc<Mutex<State>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let state = state.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, state) = (stream.unwrap(), state.clone());
            std::thread::spawn(move || {
                if let Some(request) = Request::read(stream) {
                    take(request, &state);
                }
            });
        }
    });
    address
}

fn take(mut request: Request, state: &Mutex<State>) {
    let what = format!("{} {}", request.method, request.path());
    let with = if request.authorization.is_some() { " with a token" } else { "" };
    let wrong = {
        let mut state = state.lock().unwrap();
        state.requests.push(format!("{what}{with}"));
        let fault = state.faults.iter_mut().find(|fault| fault.times > 0 && what.starts_with(fault.request));
        fault.map(|fault| {
            fault.times -= 1;
            fault.wrong.clone()
        })
    };
    match &wrong {
        Some(Wrong::Wait(milliseconds)) => {
            std::thread::sleep(std::time::Duration::from_millis(*milliseconds));
        }
        Some(Wrong::Touch(path)) => {
            let mut text = std::fs::read(path).unwrap();
            text[0] ^= 1;
            std::fs::write(path, text).unwrap();
        }
        Some(Wrong::CutOff) => {
            request.body(1000);
            return;
        }
        _ => {}
    }
    let Some(body) = request.body(usize::MAX) else { return };
    let answer = match wrong {
        Some(Wrong::Answer(answer)) => answer,
        Some(Wrong::Forget) => {
            state.lock().unwrap().answer(&request, &body);
            return;
        }
        _ => state.lock().unwrap().answer(&request, &body),
    };
    request.answer(&answer);
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn git_blob_id(bytes: &[u8]) -> String {
    let header = format!("blob {}\0", bytes.len());
    let all = [header.as_bytes(), bytes].concat();
    let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, &all);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl State {
    fn answer(&mut self, request: &Request, body: &[u8]) -> Answer {
        let parts: Vec<&str> = request.path().trim_start_matches('/').split('/').collect();
        if let ["storage", rest @ ..] = &parts[..] {
            assert!(request.authorization.is_none(), "the token is not for the storage");
            return self.store(&request.method, rest, body);
        }
        let token = request.authorization.as_deref().and_then(|value| value.strip_prefix("Bearer "));
        match token {
            Some(WRITER) => {}
            Some(READER) if request.method == "GET" || parts.last() == Some(&"validate-yaml") => {}
            Some(READER) => {
                let message = "You don't have the rights to do that. Use a token with write access";
                return Answer::error(403, "", message);
            }
            _ => return Answer::error(401, "", "Invalid credentials in Authorization header"),
        }
        let json = || serde_json::from_slice::<Value>(body).expect("JSON");
        let pull = request.url.ends_with("?create_pr=1");
        match (request.method.as_str(), &parts[..]) {
            ("POST", ["api", "validate-yaml"]) => validate(&json()),
            ("POST", ["api", "repos", "create"]) => self.create(&json()),
            ("POST", [owner, name, "info", "lfs", "objects", "batch"]) => {
                let repo = format!("{owner}/{}", name.strip_suffix(".git").unwrap());
                if self.repos.contains_key(&repo) { self.batch(&json()) } else { missing() }
            }
            ("POST", ["verify", sha256]) => {
                let is_there =
                    self.objects.get(*sha256).map(Vec::len) == json()["size"].as_u64().map(|n| n as usize);
                Answer::empty(if is_there { 200 } else { 404 })
            }
            (method, ["api", "models", owner, name, rest @ ..]) => {
                let id = format!("{owner}/{name}");
                self.repository(method, &id, rest, body, pull)
            }
            _ => panic!("{} {}", request.method, request.url),
        }
    }

    fn create(&mut self, body: &Value) -> Answer {
        let id = format!("{}/{}", body["organization"].as_str().unwrap(), body["name"].as_str().unwrap());
        assert_eq!(body["type"], "model");
        if !id.starts_with("ada/") {
            return Answer::error(
                403,
                "",
                "You don't have the rights to create a model under this namespace",
            );
        }
        if self.repos.contains_key(&id) {
            return Answer::error(409, "", "You already created this model repo");
        }
        let attributes = b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n".to_vec();
        let tree = BTreeMap::from([(".gitattributes".to_owned(), Blob::Regular(attributes))]);
        let branches = BTreeMap::from([("main".to_owned(), tree)]);
        let private = body["visibility"] == "private" && !self.always_public;
        self.repos.insert(id.clone(), Repo { private, branches, commits: vec!["initial commit".to_owned()] });
        Answer::json(&json!({"url": format!("https://hub/{id}")}))
    }

    fn repository(&mut self, method: &str, id: &str, rest: &[&str], body: &[u8], pull: bool) -> Answer {
        let Some(repo) = self.repos.get_mut(id) else { return missing() };
        let sha = format!("{:040x}", repo.commits.len());
        let json = || serde_json::from_slice::<Value>(body).expect("JSON");
        let branch = rest.last().map(|branch| branch.replace("%2F", "/")).unwrap_or_default();
        match (method, rest) {
            ("GET", []) => Answer::json(&json!({"id": id, "private": repo.private, "sha": sha})),
            ("GET", ["revision", _]) if repo.branches.contains_key(&branch) => {
                Answer::json(&json!({"id": id, "private": repo.private, "sha": sha}))
            }
            ("POST", ["branch", _]) => {
                let main = repo.branches["main"].clone();
                repo.branches.insert(branch, main);
                Answer::empty(200)
            }
            ("POST", ["preupload", _]) if repo.branches.contains_key(&branch) => {
                Answer::json(&preupload(&repo.branches[&branch], &json()))
            }
            ("POST", ["commit", _]) if repo.branches.contains_key(&branch) => {
                let target = if pull { "refs/pr/1".to_owned() } else { branch.clone() };
                let tree = repo.branches[&branch].clone();
                let tree = repo.branches.entry(target).or_insert(tree);
                repo.commits.push(commit(tree, &self.objects, body));
                let request = pull.then(|| format!("https://hub/{id}/discussions/1"));
                let oid = format!("{:040x}", repo.commits.len());
                Answer::json(
                    &json!({"success": true, "commitOid": oid, "commitUrl": "", "pullRequestUrl": request}),
                )
            }
            _ => Answer::error(404, "RevisionNotFound", "Invalid rev id"),
        }
    }

    fn batch(&self, body: &Value) -> Answer {
        assert_eq!((&body["operation"], &body["hash_algo"]), (&json!("upload"), &json!("sha256")));
        let told = body["objects"].as_array().unwrap().iter().map(|object| {
            let (oid, size) = (object["oid"].as_str().unwrap(), object["size"].as_u64().unwrap() as usize);
            if self.objects.contains_key(oid) {
                return json!({"oid": oid, "size": size});
            }
            let storage = &self.storage;
            let mut header = serde_json::Map::new();
            let mut href = format!("{storage}/storage/whole/{oid}");
            if size > PART {
                header.insert("chunk_size".into(), json!(PART.to_string()));
                for part in 1..=size.div_ceil(PART) {
                    header
                        .insert(format!("{part:05}"), json!(format!("{storage}/storage/part/{oid}/{part}")));
                }
                href = format!("{storage}/storage/complete/{oid}");
            }
            // As the hub names itself, wherever it is reached.
            let verify = format!("https://huggingface.co/verify/{oid}");
            json!({"oid": oid, "size": size, "actions": {
                "upload": {"href": href, "header": header},
                "verify": {"href": verify},
            }})
        });
        Answer::json(&json!({"transfer": "basic", "objects": told.collect::<Vec<_>>()}))
    }

    fn store(&mut self, method: &str, path: &[&str], body: &[u8]) -> Answer {
        match (method, path) {
            ("PUT", ["whole", oid]) => self.keep(oid, body.to_vec()),
            ("PUT", ["part", oid, part]) => {
                let part: usize = part.parse().unwrap();
                let tag = sha256(body);
                self.parts.insert(((*oid).to_owned(), part), body.to_vec());
                Answer { headers: vec![("ETag", format!("\"{tag}\""))], ..Answer::empty(200) }
            }
            ("POST", ["complete", oid]) => {
                let body: Value = serde_json::from_slice(body).unwrap();
                assert_eq!(body["oid"], *oid);
                let mut whole = Vec::new();
                for (index, part) in body["parts"].as_array().unwrap().iter().enumerate() {
                    assert_eq!(part["partNumber"], index + 1);
                    let Some(bytes) = self.parts.remove(&((*oid).to_owned(), index + 1)) else {
                        return Answer::empty(404);
                    };
                    assert_eq!(part["etag"], format!("\"{}\"", sha256(&bytes)));
                    whole.extend(bytes);
                }
                self.keep(oid, whole)
            }
            _ => panic!("{method} {path:?}"),
        }
    }

    /// The storage looks at what arrived.
    fn keep(&mut self, oid: &str, bytes: Vec<u8>) -> Answer {
        if sha256(&bytes) != oid {
            return Answer::empty(400);
        }
        self.objects.insert(oid.to_owned(), bytes);
        Answer::empty(200)
    }
}
