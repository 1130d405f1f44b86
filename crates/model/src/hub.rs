//! Model snapshots of the Hugging Face Hub, in the cache that all its tools share.

use super::folder::read_json;
use super::source_options::SourceOptions;
use super::{ModelError, ModelFolder};
use hf_hub::HFError;
use hf_hub::progress::{DownloadEvent, FileStatus, ProgressEvent, ProgressHandler};
use olive_core::event::{Event, EventSink, Unit};
use olive_core::{Result, error::IoContext};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

const PHASE: &str = "download";

/// Silence after which a download is given up.
const STALL: Duration = Duration::from_secs(60);

/// Weights, besides [`ModelFolder::SIDE_FILES`].
const WEIGHT_FILES: [&str; 3] =
    ["model.safetensors", "model.safetensors.index.json", "model-?????-of-?????.safetensors"];

/// The snapshot folder of `id` at `revision`.
///
/// # Errors
/// See [`super::source::resolve`].
pub(crate) fn snapshot(
    id: &str,
    revision: &str,
    options: &SourceOptions,
    events: &dyn EventSink,
) -> Result<PathBuf> {
    let cached = cached_snapshot(id, revision, &options.cache);
    if options.offline {
        return cached.ok_or_else(|| {
            let reason =
                format!("it is not in the cache `{}`, and this run is offline", options.cache.display());
            let hint = "run once without --offline, or give the path of a local folder";
            ModelError::Hub { repo: id.into(), reason, hint: hint.into() }.into()
        });
    }
    if let Some(dir) = cached.as_ref().filter(|_| is_commit(revision)) {
        return Ok(dir.clone()); // A commit does not change.
    }
    match fetch(id, revision, options, events) {
        Ok(dir) => Ok(dir),
        Err(Failure::Unreachable(reason)) => match cached {
            Some(dir) => {
                let message = format!("the hub cannot be reached; using the cached copy of `{id}`");
                events.emit(Event::Warning { message });
                Ok(dir)
            }
            None => {
                let hint = "check the network and HF_ENDPOINT, or give the path of a local folder; --offline uses \
                            what the cache holds";
                Err(ModelError::Hub { repo: id.into(), reason, hint: hint.into() }.into())
            }
        },
        Err(Failure::Other(error)) => Err(error),
    }
}

enum Failure {
    /// Nobody answered: a cached copy will do.
    Unreachable(String),
    Other(olive_core::Error),
}

fn fetch(
    id: &str,
    revision: &str,
    options: &SourceOptions,
    events: &dyn EventSink,
) -> std::result::Result<PathBuf, Failure> {
    let failed = |error: HFError| classify(id, revision, options, error);
    let mut builder = hf_hub::HFClient::builder().cache_dir(&options.cache).retry_max_attempts(2);
    if let Some(endpoint) = &options.endpoint {
        builder = builder.endpoint(endpoint);
    }
    if let Some(token) = &options.token {
        builder = builder.token(token);
    }
    let client = builder.build_sync().map_err(failed)?;
    let (owner, name) = hf_hub::split_id(id);
    let repo = client.model(owner, name);
    let wanted = ModelFolder::SIDE_FILES.iter().chain(&WEIGHT_FILES).map(|&name| name.to_owned()).collect();
    let (sender, receiver) = mpsc::channel();
    let asked = revision.to_owned();
    let download = std::thread::spawn(move || {
        repo.snapshot_download().revision(asked).allow_patterns(wanted).progress(Forward(sender)).send()
    });
    // The sender goes with the download, which ends the loop in there. The hub client has no time limit of its own:
    // a download that stalls is left behind.
    let files = follow(id, &receiver, options, events)?;
    let result = download.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    let dir = result.map_err(failed)?;
    verify(id, &dir, &files).map_err(Failure::Other)?;
    if let Some(missing) = missing_file(&dir) {
        let error = ModelError::NotAModel { path: id.into(), missing };
        return Err(Failure::Other(error.into()));
    }
    Ok(dir)
}

/// Hands the hub client's progress over to the thread that may report it.
struct Forward(mpsc::Sender<DownloadEvent>);

impl ProgressHandler for Forward {
    fn on_progress(&self, event: &ProgressEvent) {
        if let ProgressEvent::Download(event) = event {
            let _ = self.0.send(event.clone()); // Nobody listens any more: nothing to report.
        }
    }
}

/// Reports the download until it ends; gives the files fetched and their announced sizes. Fails when it stalls or is
/// not wanted any more.
fn follow(
    id: &str,
    receiver: &mpsc::Receiver<DownloadEvent>,
    options: &SourceOptions,
    events: &dyn EventSink,
) -> std::result::Result<BTreeMap<String, u64>, Failure> {
    let mut files: BTreeMap<String, u64> = BTreeMap::new();
    let mut done: BTreeMap<String, u64> = BTreeMap::new();
    let mut started = false;
    let mut changed = false;
    let mut heard = Instant::now();
    loop {
        options.cancel.check().map_err(Failure::Other)?;
        let event = receiver.recv_timeout(Duration::from_millis(100));
        if event.is_ok() {
            heard = Instant::now();
        } else if heard.elapsed() > STALL {
            return Err(Failure::Unreachable(format!("nothing arrived for {} seconds", STALL.as_secs())));
        }
        match event {
            Ok(DownloadEvent::Start { total_bytes, .. }) if !started && total_bytes > 0 => {
                started = true;
                events.emit(Event::Info { message: format!("fetching `{id}` from the hub") });
                events.emit(Event::PhaseStarted {
                    phase: PHASE,
                    total: Some(total_bytes),
                    unit: Unit::Bytes,
                });
            }
            Ok(DownloadEvent::Progress { files: progress }) => {
                for file in progress {
                    // Files that were cached are reported complete at once, without having been started.
                    if matches!(file.status, FileStatus::Started | FileStatus::InProgress) {
                        files.insert(file.filename.clone(), file.total_bytes);
                    }
                    done.insert(file.filename, file.bytes_completed);
                }
                changed = true;
            }
            Ok(DownloadEvent::AggregateProgress { bytes_completed, .. }) => {
                done.insert(String::new(), bytes_completed);
                changed = true;
            }
            Ok(_) => {}
            Err(RecvTimeoutError::Timeout) => {
                if started && std::mem::take(&mut changed) {
                    events.emit(Event::PhaseProgress { done: done.values().sum() });
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    if started {
        events.emit(Event::PhaseFinished { phase: PHASE });
    }
    Ok(files)
}

/// Checks what was fetched: announced size, and SHA-256 where the hub's entity tag is one. A damaged file is taken
/// out of the cache again.
fn verify(id: &str, dir: &Path, files: &BTreeMap<String, u64>) -> Result<()> {
    for (name, &announced) in files {
        let path = dir.join(name);
        let Ok(blob) = path.canonicalize() else { continue };
        let length = blob.metadata().at("look at", &blob)?.len();
        let tag = blob.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let reason = if announced > 0 && length != announced {
            format!("`{name}` has {length} bytes, the hub announced {announced}")
        } else if tag.len() == 64 && tag.chars().all(|c| c.is_ascii_hexdigit()) && sha256(&blob)? != tag {
            format!("`{name}` does not have the checksum that the hub announced")
        } else {
            continue;
        };
        std::fs::remove_file(&path).at("remove", &path)?;
        if blob.exists() {
            std::fs::remove_file(&blob).at("remove", &blob)?;
        }
        let hint = "run again: the damaged file was removed from the cache".to_owned();
        return Err(ModelError::Hub { repo: id.into(), reason, hint }.into());
    }
    Ok(())
}

fn sha256(path: &Path) -> Result<String> {
    let mut file = std::fs::File::open(path).at("open", path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer).at("read", path)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A complete snapshot in the cache.
fn cached_snapshot(id: &str, revision: &str, cache: &Path) -> Option<PathBuf> {
    let repo = cache.join(format!("models--{}", id.replace('/', "--")));
    let commit = if is_commit(revision) {
        revision.to_owned()
    } else {
        std::fs::read_to_string(repo.join("refs").join(revision)).ok()?.trim().to_owned()
    };
    let dir = repo.join("snapshots").join(commit);
    (dir.is_dir() && missing_file(&dir).is_none()).then_some(dir)
}

fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.chars().all(|c| c.is_ascii_hexdigit())
}

/// The first file that a usable snapshot lacks.
fn missing_file(dir: &Path) -> Option<String> {
    if !dir.join("config.json").is_file() {
        return Some("config.json".into());
    }
    if dir.join("model.safetensors").is_file() {
        return None;
    }
    match read_json(&dir.join("model.safetensors.index.json")) {
        Ok(Some(index)) => {
            let shards = index["weight_map"].as_object()?.values().filter_map(|name| name.as_str());
            shards.map(str::to_owned).find(|name| !dir.join(name).is_file())
        }
        _ => Some("model.safetensors (or model.safetensors.index.json)".into()),
    }
}

/// What to tell a person about an answer of the hub.
fn classify(id: &str, revision: &str, options: &SourceOptions, error: HFError) -> Failure {
    let refused = |status: u16| {
        let (reason, hint) = match (status, options.token.is_some()) {
            (_, false) => (
                format!("the hub answers {status}: it is gated or private, or there is no such model"),
                "check the name; for a gated model accept its terms on its page and set HF_TOKEN",
            ),
            (401, true) => (
                "the hub answers 401: the token is not valid, or there is no such model".to_owned(),
                "check HF_TOKEN (or the token file of `hf auth login`) and the name",
            ),
            (_, true) => (
                format!("the hub answers {status}: the token's owner may not read it"),
                "accept the model's terms on its page, with the account of the token",
            ),
        };
        (reason, hint)
    };
    let missing = "check the name; a local model is given by the path of its folder";
    let (reason, hint) = match &error {
        HFError::AuthRequired { .. } => refused(401),
        HFError::Forbidden { .. } => refused(403),
        HFError::Http { context } if matches!(context.status.as_u16(), 401 | 403) => {
            refused(context.status.as_u16())
        }
        HFError::Http { context } if context.status.is_server_error() => {
            return Failure::Unreachable(format!("the hub answers {}", context.status.as_u16()));
        }
        HFError::RepoNotFound { .. } => ("there is no such model (404)".to_owned(), missing),
        // Asked for a revision of a model that does not exist, the hub says so in a header only.
        HFError::RevisionNotFound { context, .. }
            if revision == "main"
                || context.as_ref().is_some_and(|c| c.error_code.as_deref() == Some("RepoNotFound")) =>
        {
            ("there is no such model (404)".to_owned(), missing)
        }
        HFError::RevisionNotFound { .. } => {
            (format!("it has no revision `{revision}` (404)"), "a revision is a branch, a tag or a commit")
        }
        HFError::RateLimited { .. } => {
            ("the hub asks to slow down (429)".into(), "try again later, with HF_TOKEN")
        }
        HFError::Request { source, .. } if source.is_body() || source.is_decode() => {
            ("the connection broke in the middle of a file".into(), "run again: finished files are kept")
        }
        HFError::Request { source, .. } => {
            let mut reason = source.to_string();
            let mut cause = std::error::Error::source(source);
            while let Some(inner) = cause {
                reason = inner.to_string();
                cause = inner.source();
            }
            return Failure::Unreachable(format!("the hub cannot be reached ({reason})"));
        }
        HFError::Io(_) => (error.to_string(), "check the cache folder (HF_HOME) and its disk"),
        _ => (error.to_string(), missing),
    };
    Failure::Other(ModelError::Hub { repo: id.into(), reason, hint: hint.into() }.into())
}
