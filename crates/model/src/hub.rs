//! Model snapshots of the Hugging Face Hub, in the cache that all its tools share.

use super::ModelError;
use super::hub_download::{Download, DownloadError, Progress, is_commit};
use super::source_options::SourceOptions;
use super::stored_file::read_json;
use super::watched::watched;
use olive_core::error::IoFault;
use olive_core::event::{Event, EventSink};
use olive_core::{Error, InnerPath, Result, file, shown};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Silence after which a download is given up.
const STALL: Duration = Duration::from_secs(60);

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
    if !is_revision(revision) {
        return Err(unknown_revision(id, revision));
    }
    let cached = cached_snapshot(id, revision, &options.cache);
    if options.offline {
        return cached.ok_or_else(|| {
            let reason =
                format!("it is not in the cache `{}`, and this run is offline", shown(&options.cache));
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
    options.cancel.check().map_err(Failure::Other)?;
    let failed = |error| classify(id, revision, options, error);
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().map_err(|source| {
        Failure::Other(
            IoFault { action: "begin a download into", path: options.cache.clone(), source }.into(),
        )
    })?;
    let progress = Progress::new();
    let download = Download::new(id, revision, options, &progress, events).map_err(failed)?;
    let done = runtime.block_on(watch(download.run(options.token.as_deref()), &progress, options, events));
    // Not waiting for what a given up download still asks the system, a name for example.
    runtime.shutdown_background();
    let (dir, commit) = done?.map_err(failed)?;
    if let Some(missing) = missing_file(&dir) {
        let error = ModelError::NotAModel { path: id.into(), missing };
        return Err(Failure::Other(error.into()));
    }
    download.note(&commit).map_err(failed)?;
    Ok(dir)
}

/// Reports the work until it ends. Fails when it stalls or is not wanted any more.
async fn watch<T>(
    work: impl Future<Output = T>,
    progress: &Progress,
    options: &SourceOptions,
    events: &dyn EventSink,
) -> std::result::Result<T, Failure> {
    let look = || {
        options.cancel.check().map_err(Failure::Other)?;
        if progress.silence() > STALL {
            let reason = format!("nothing arrived for {} seconds", STALL.as_secs());
            return Err(Failure::Unreachable(reason));
        }
        progress.report(events);
        Ok(())
    };
    let result = watched(work, look).await?;
    progress.finish(events);
    Ok(result)
}

/// A complete snapshot in the cache.
fn cached_snapshot(id: &str, revision: &str, cache: &Path) -> Option<PathBuf> {
    let repo = cache.join(format!("models--{}", id.replace('/', "--")));
    let commit = if is_commit(revision) {
        revision.to_owned()
    } else {
        let noted = file::read_to_string(&repo.join("refs").join(revision)).ok()?.trim().to_owned();
        is_commit(&noted).then_some(noted)?
    };
    let dir = repo.join("snapshots").join(commit);
    (dir.is_dir() && missing_file(&dir).is_none()).then_some(dir)
}

/// Whether it can be a branch, a tag or a commit: it is part of a path and of an address.
fn is_revision(revision: &str) -> bool {
    revision.split('/').all(|part| !matches!(part, "" | "." | ".."))
        && revision.chars().all(|c| c.is_alphanumeric() || matches!(c, '/' | '.' | '-' | '_' | '+' | '='))
}

fn unknown_revision(id: &str, revision: &str) -> Error {
    let reason = format!("it has no revision `{revision}` (404)");
    ModelError::Hub { repo: id.into(), reason, hint: "a revision is a branch, a tag or a commit".into() }
        .into()
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
            let is_there = |name: &str| InnerPath::parse(name).is_ok_and(|name| name.below(dir).is_file());
            shards.map(str::to_owned).find(|name| !is_there(name))
        }
        _ => Some("model.safetensors (or model.safetensors.index.json)".into()),
    }
}

/// What to tell a person about a download that failed.
fn classify(id: &str, revision: &str, options: &SourceOptions, error: DownloadError) -> Failure {
    let missing = "check the name; a local model is given by the path of its folder";
    let (reason, hint) = match error {
        DownloadError::Answer { status: status @ (401 | 403), .. } => {
            refused(status, options.token.is_some())
        }
        // Asked for a revision of a model that does not exist, the hub says so in a header only.
        DownloadError::Answer { status: 404, code }
            if revision == "main" && code.as_deref() != Some("EntryNotFound")
                || code.as_deref() == Some("RepoNotFound") =>
        {
            if let Some(error) = beside(id) {
                return Failure::Other(error.into());
            }
            ("there is no such model (404)".to_owned(), missing)
        }
        DownloadError::Answer { status: 404, code } if code.as_deref() != Some("EntryNotFound") => {
            return Failure::Other(unknown_revision(id, revision));
        }
        DownloadError::Answer { status: 429, .. } => {
            ("the hub asks to slow down (429)".into(), "try again later, with HF_TOKEN")
        }
        DownloadError::Answer { status: status @ 500.., .. } => {
            return Failure::Unreachable(format!("the hub answers {status}"));
        }
        DownloadError::Answer { status, .. } => (format!("the hub answers {status}"), missing),
        DownloadError::Request(source) => {
            let mut reason = source.to_string();
            let mut cause = std::error::Error::source(&source);
            while let Some(inner) = cause {
                reason = inner.to_string();
                cause = inner.source();
            }
            return Failure::Unreachable(format!("the hub cannot be reached ({reason})"));
        }
        DownloadError::Broken => (
            "the connection broke in the middle of a file".into(),
            "run again: finished files are kept, and what has arrived of the others",
        ),
        DownloadError::Damaged(reason) => (reason, "run again: the damaged file was not kept"),
        DownloadError::Odd(reason) => {
            (format!("the answer is not one of the hub: {reason}"), "check HF_ENDPOINT")
        }
        DownloadError::Token => ("the token cannot be sent".into(), "check HF_TOKEN, or `olive login` anew"),
        DownloadError::Local(error) => return Failure::Other(error),
    };
    Failure::Other(ModelError::Hub { repo: id.into(), reason, hint: hint.into() }.into())
}

/// For an id whose first part is a folder here, which is rather what was meant.
fn beside(id: &str) -> Option<ModelError> {
    let folder = Path::new(id).parent().filter(|folder| folder.is_dir())?;
    let entries = std::fs::read_dir(folder).ok()?.flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    names.truncate(8);
    let hint = format!("`{}` has {}", shown(folder), names.join(", "));
    let reason = "there is no such folder here, and no such model on the hub".to_owned();
    Some(ModelError::Hub { repo: id.into(), reason, hint })
}

fn refused(status: u16, with_token: bool) -> (String, &'static str) {
    match (status, with_token) {
        (_, false) => (
            format!("the hub answers {status}: it is gated or private, or there is no such model"),
            "check the name; for a gated model accept its terms on its page, then `olive login` (or set HF_TOKEN)",
        ),
        (401, true) => (
            "the hub answers 401: the token is not valid, or there is no such model".to_owned(),
            "check HF_TOKEN and the name, or `olive login` anew",
        ),
        (_, true) => (
            format!("the hub answers {status}: the token's owner may not read it"),
            "accept the model's terms on its page, with the account of the token",
        ),
    }
}
