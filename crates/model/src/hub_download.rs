//! Fetching what a snapshot lacks: the hub's protocol on the client of `hf-hub`, into the cache's layout.
//!
//! `hf-hub` knows addresses, headers and the layout. Its own download is not used: it joins what a server sends (commit,
//! entity tag) to paths as it comes, sends the token on to the host that a download is redirected to, and does not look
//! at checksums. Partial files and locks are where `huggingface_hub` has them, so that both may go on with what
//! the other began.

use super::ModelFolder;
use super::source_options::SourceOptions;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use hf_hub::api::tokio::{Api, ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, CacheRepo, Repo, RepoType};
use olive_core::error::IoContext;
use olive_core::event::{Event, EventSink, Unit};
use olive_core::file;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, RANGE};
use reqwest::{Client, Response, StatusCode, redirect};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::cell::Cell;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Name of the phase that is reported.
pub(super) const PHASE: &str = "download";

/// Requests for the same bytes before a failure is told.
const ATTEMPTS: u32 = 3;

/// Between two requests for the same, and between two looks at a lock.
const PAUSE: Duration = Duration::from_millis(300);

pub(super) const AGENT: &str = concat!("olive/", env!("CARGO_PKG_VERSION"));

/// Files on the way at a time.
const CONCURRENT: usize = 4;

/// Why a snapshot could not be fetched.
pub(super) enum DownloadError {
    /// The hub refuses; `code` is what it says in `X-Error-Code`.
    Answer { status: u16, code: Option<String> },
    /// Nobody answered.
    Request(reqwest::Error),
    /// The connection ended within a file, every time.
    Broken,
    /// A file is not what the hub announced. Nothing of it is kept.
    Damaged(String),
    /// An answer that no hub gives.
    Odd(String),
    /// The token cannot be sent.
    Token,
    /// The cache cannot be written.
    Local(olive_core::Error),
}

impl From<reqwest::Error> for DownloadError {
    fn from(error: reqwest::Error) -> DownloadError {
        DownloadError::Request(error)
    }
}

impl From<olive_core::Error> for DownloadError {
    fn from(error: olive_core::Error) -> DownloadError {
        DownloadError::Local(error)
    }
}

type Result<T> = std::result::Result<T, DownloadError>;

/// What a download has done so far, for those who watch it.
pub(super) struct Progress {
    started: Cell<bool>,
    done: Cell<u64>,
    heard: Cell<Instant>,
    reported: Cell<u64>,
}

impl Progress {
    pub(super) fn new() -> Progress {
        Progress {
            started: Cell::new(false),
            done: Cell::new(0),
            heard: Cell::new(Instant::now()),
            reported: Cell::new(0),
        }
    }

    /// How long nothing has arrived.
    pub(super) fn silence(&self) -> Duration {
        self.heard.get().elapsed()
    }

    /// Reports the bytes that arrived since the last report.
    pub(super) fn report(&self, events: &dyn EventSink) {
        let done = self.done.get();
        if self.started.get() && self.reported.replace(done) != done {
            events.emit(Event::PhaseProgress { done });
        }
    }

    pub(super) fn finish(&self, events: &dyn EventSink) {
        if self.started.get() {
            events.emit(Event::PhaseFinished { phase: PHASE.into() });
        }
    }

    fn start(&self, id: &str, total: u64, events: &dyn EventSink) {
        self.started.set(true);
        events.emit(Event::Info { message: format!("fetching `{id}` from the hub") });
        events.emit(Event::PhaseStarted { phase: PHASE.into(), total: Some(total), unit: Unit::Bytes });
    }

    fn listen(&self) {
        self.heard.set(Instant::now());
    }

    fn add(&self, bytes: u64) {
        self.done.set(self.done.get() + bytes);
        self.listen();
    }

    fn take_back(&self, bytes: u64) {
        self.done.set(self.done.get() - bytes);
    }
}

/// A model of the hub at one revision.
pub(super) struct Download<'a> {
    id: &'a str,
    revision: &'a str,
    api: Api,
    /// Follows no redirect to another host: the tags are in the answer before it.
    asking: Client,
    /// Follows all, without the token where the host changes.
    fetching: Client,
    cache: PathBuf,
    layout: CacheRepo,
    progress: &'a Progress,
    events: &'a dyn EventSink,
}

/// What the hub tells of a revision.
#[derive(Deserialize)]
struct Info {
    sha: String,
    siblings: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    rfilename: String,
    size: Option<u64>,
}

/// What the hub announces of a file.
struct Announced {
    /// The name of its blob.
    tag: String,
    size: Option<u64>,
}

impl Announced {
    /// Weights are tagged by their SHA-256, small files by a hash of git.
    fn is_sha256(&self) -> bool {
        self.tag.len() == 64 && self.tag.chars().all(|c| c.is_ascii_hexdigit())
    }
}

impl<'a> Download<'a> {
    pub(super) fn new(
        id: &'a str,
        revision: &'a str,
        options: &SourceOptions,
        progress: &'a Progress,
        events: &'a dyn EventSink,
    ) -> Result<Download<'a>> {
        let cache = Cache::new(options.cache.clone());
        let mut builder = ApiBuilder::from_cache(cache.clone())
            .with_token(options.token.clone())
            .with_user_agent("olive", env!("CARGO_PKG_VERSION"));
        if let Some(endpoint) = &options.endpoint {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
        }
        let api = builder.build().map_err(|error| match error {
            ApiError::RequestError(error) => DownloadError::Request(error),
            // The one header that comes from outside.
            _ => DownloadError::Token,
        })?;
        let repo = Repo::with_revision(id.to_owned(), RepoType::Model, revision.to_owned());
        let same_host = redirect::Policy::custom(|attempt| match attempt.previous() {
            previous if previous.len() > 10 => attempt.error("too many redirects"),
            [.., last] if last.origin() != attempt.url().origin() => attempt.stop(),
            _ => attempt.follow(),
        });
        Ok(Download {
            id,
            revision,
            asking: Client::builder().redirect(same_host).user_agent(AGENT).build()?,
            fetching: api.client().clone(),
            api,
            cache: options.cache.clone(),
            layout: cache.repo(repo),
            progress,
            events,
        })
    }

    /// Fetches the files of the revision that are wanted and not there; gives the snapshot's folder and its commit.
    pub(super) async fn run(&self, token: Option<&str>) -> Result<(PathBuf, String)> {
        let named = self.api.repo(self.repo(self.revision));
        let answer = ask(|| named.info_request().query(&[("blobs", "true")]), self.progress).await?;
        let info: Info = answer.json().await.map_err(|error| {
            if error.is_decode() {
                DownloadError::Odd("it does not list the model's files".into())
            } else {
                DownloadError::Request(error)
            }
        })?;
        self.progress.listen();
        // From here on the commit is part of paths.
        if !is_commit(&info.sha) {
            return Err(DownloadError::Odd("what it calls a commit is none".into()));
        }
        let dir = self.layout.pointer_path(&info.sha);
        let missing: Vec<Listed> = info
            .siblings
            .into_iter()
            .filter(|file| is_wanted(&file.rfilename) && !dir.join(&file.rfilename).exists())
            .collect();
        if !missing.is_empty() {
            self.progress.start(self.id, missing.iter().filter_map(|file| file.size).sum(), self.events);
        }
        let files = self.api.repo(self.repo(&info.sha));
        stream::iter(&missing)
            .map(|file| self.file(&files, &info.sha, &dir, file, token))
            .buffer_unordered(CONCURRENT)
            .try_collect::<()>()
            .await?;
        Ok((dir, info.sha))
    }

    fn repo(&self, revision: &str) -> Repo {
        Repo::with_revision(self.id.to_owned(), RepoType::Model, revision.to_owned())
    }

    /// Notes that the revision is this commit.
    pub(super) fn note(&self, commit: &str) -> Result<()> {
        if self.revision != commit {
            self.layout.create_ref(commit).at("write the reference in", &self.cache)?;
        }
        Ok(())
    }

    /// Brings one file into the snapshot.
    async fn file(
        &self,
        files: &ApiRepo,
        commit: &str,
        dir: &Path,
        file: &Listed,
        token: Option<&str>,
    ) -> Result<()> {
        let url = files.url(&file.rfilename);
        let request = || {
            let request = self.asking.head(&url).header("Accept-Encoding", "identity");
            match token {
                Some(token) => request.header(AUTHORIZATION, format!("Bearer {token}")),
                None => request,
            }
        };
        let answer = ask(request, self.progress).await?;
        let mut announced = announced(answer.headers(), commit)?;
        announced.size = announced.size.or(file.size);
        self.progress.listen();
        let blob = self.layout.blob_path(&announced.tag);
        let _lock = self.lock(&blob, &announced.tag).await?;
        if !blob.exists() {
            self.blob(&url, &file.rfilename, &announced, &blob).await?;
        } else if let Some(size) = file.size {
            self.progress.add(size);
        }
        link(&blob, &dir.join(&file.rfilename))?;
        Ok(())
    }

    /// Waits for those who fetch the same blob.
    async fn lock(&self, blob: &Path, tag: &str) -> Result<File> {
        let folder = self.cache.join(".locks").join(Repo::model(self.id.to_owned()).folder_name());
        std::fs::create_dir_all(&folder).at("create", &folder)?;
        let path = folder.join(format!("{tag}.lock"));
        let file =
            OpenOptions::new().write(true).create(true).truncate(false).open(&path).at("open", &path)?;
        let arrived = || std::fs::metadata(partial(blob)).map_or(0, |meta| meta.len());
        let mut seen = arrived();
        loop {
            match file::try_lock(&file) {
                Ok(()) => return Ok(file),
                // A file system without locks: as `huggingface_hub` does, go without.
                Err(TryLockError::Error(error)) if error.kind() == std::io::ErrorKind::Unsupported => {
                    return Ok(file);
                }
                Err(TryLockError::Error(error)) => {
                    Err(error).at("lock", &path)?;
                }
                Err(TryLockError::WouldBlock) => tokio::time::sleep(PAUSE).await,
            }
            if std::mem::replace(&mut seen, arrived()) != seen {
                self.progress.listen(); // The other one gets on.
            }
        }
    }

    /// Fetches the content of a file, going on with what an earlier run has left, and publishes it by rename.
    async fn blob(&self, url: &str, name: &str, announced: &Announced, blob: &Path) -> Result<()> {
        let folder = blob.parent().unwrap_or(blob);
        std::fs::create_dir_all(folder).at("create", folder)?;
        let path = partial(blob);
        let mut body = Body { file: open_partial(&path)?, path, length: 0, hash: Sha256::new(), name };
        if announced.is_sha256() {
            body.take_up(announced.size, self.progress).await?;
        } else {
            body.restart(self.progress)?; // Nothing would tell that the beginning is another file's.
        }
        let mut resumed = body.length > 0;
        let mut attempt = 1;
        loop {
            match self.receive(url, announced, &mut body).await {
                Ok(()) => {}
                Err(DownloadError::Broken) if attempt < ATTEMPTS => {
                    attempt += 1;
                    if !announced.is_sha256() {
                        body.restart(self.progress)?;
                    }
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                Err(error) => return Err(error),
            }
            let Some(reason) = body.damage(announced) else { break };
            body.restart(self.progress)?;
            if !std::mem::take(&mut resumed) {
                // The next run must not take it for a beginning.
                std::fs::remove_file(&body.path).at("remove", &body.path)?;
                return Err(DownloadError::Damaged(reason));
            }
        }
        body.file.sync_all().at("write", &body.path)?;
        std::fs::rename(&body.path, blob).at("rename", &body.path)?;
        Ok(())
    }

    /// Appends the rest of a file.
    async fn receive(&self, url: &str, announced: &Announced, body: &mut Body<'_>) -> Result<()> {
        if body.length > 0 && announced.size == Some(body.length) {
            return Ok(());
        }
        let from = body.length;
        let request = || {
            let request = self.fetching.get(url).header("Accept-Encoding", "identity");
            if from > 0 { request.header(RANGE, format!("bytes={from}-")) } else { request }
        };
        let mut answer = match ask(request, self.progress).await {
            // The hub has less than is here.
            Err(DownloadError::Answer { status: 416, .. }) => return Ok(()),
            answer => answer?,
        };
        if from > 0 && !continues(&answer, from) {
            body.restart(self.progress)?; // The whole file comes, whatever was asked for.
        }
        loop {
            match answer.chunk().await {
                Ok(Some(chunk)) => body.append(&chunk, self.progress)?,
                Ok(None) => return Ok(()),
                Err(_) => return Err(DownloadError::Broken),
            }
            if announced.size.is_some_and(|size| body.length > size) {
                return Ok(()); // More than announced: no use in the rest.
            }
        }
    }
}

/// A file on its way.
struct Body<'a> {
    name: &'a str,
    path: PathBuf,
    file: File,
    length: u64,
    /// Of all bytes so far.
    hash: Sha256,
}

impl Body<'_> {
    /// Takes what is there for the beginning.
    async fn take_up(&mut self, size: Option<u64>, progress: &Progress) -> Result<()> {
        let mut buffer = vec![0; 1 << 20];
        loop {
            let read = file::read_piece(&mut self.file, &mut buffer).at("read", &self.path)?;
            if read == 0 {
                break;
            }
            self.hash.update(&buffer[..read]);
            self.length += read as u64;
            progress.add(read as u64);
            tokio::task::yield_now().await; // Gigabytes may be there already.
        }
        if size.is_some_and(|size| self.length > size) {
            self.restart(progress)?;
        }
        Ok(())
    }

    fn restart(&mut self, progress: &Progress) -> Result<()> {
        self.file = File::create(&self.path).at("create", &self.path)?;
        self.hash = Sha256::new();
        progress.take_back(std::mem::take(&mut self.length));
        Ok(())
    }

    fn append(&mut self, bytes: &[u8], progress: &Progress) -> Result<()> {
        self.file.write_all(bytes).at("write", &self.path)?;
        self.hash.update(bytes);
        self.length += bytes.len() as u64;
        progress.add(bytes.len() as u64);
        Ok(())
    }

    /// What differs from the announcement.
    fn damage(&self, announced: &Announced) -> Option<String> {
        let (name, length) = (self.name, self.length);
        if let Some(size) = announced.size.filter(|size| *size != length) {
            return Some(format!("`{name}` has {length} bytes, the hub announced {size}"));
        }
        let hash: String = self.hash.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        (announced.is_sha256() && !hash.eq_ignore_ascii_case(&announced.tag))
            .then(|| format!("`{name}` does not have the checksum that the hub announced"))
    }
}

/// Sends a request, and again when nobody answers or the hub fails. An answer is a success or a redirect.
async fn ask(request: impl Fn() -> reqwest::RequestBuilder, progress: &Progress) -> Result<Response> {
    let mut attempt = 1;
    loop {
        let answer = request().send().await;
        progress.listen();
        let again = match &answer {
            Ok(answer) => answer.status().is_server_error(),
            Err(error) => !error.is_builder() && !error.is_redirect(),
        };
        if again && attempt < ATTEMPTS {
            attempt += 1;
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        let answer = answer?;
        let status = answer.status();
        if status.is_success() || status.is_redirection() {
            return Ok(answer);
        }
        let code = answer.headers().get("x-error-code").and_then(|code| code.to_str().ok());
        return Err(DownloadError::Answer { status: status.as_u16(), code: code.map(str::to_owned) });
    }
}

/// Reads what the hub says of a file, and takes nothing that could lead out of the cache.
fn announced(headers: &HeaderMap, commit: &str) -> Result<Announced> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if text("x-repo-commit").is_some_and(|named| named != commit) {
        return Err(DownloadError::Odd("it gives a file of another commit than it was asked for".into()));
    }
    let tag = text("x-linked-etag").or_else(|| text(ETAG.as_str())).unwrap_or_default();
    let tag = tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"');
    if !is_tag(tag) {
        return Err(DownloadError::Odd("the entity tag of a file is no hash".into()));
    }
    let size = text("x-linked-size").or_else(|| text(CONTENT_LENGTH.as_str()));
    Ok(Announced { tag: tag.to_owned(), size: size.and_then(|size| size.parse().ok()) })
}

/// Hexadecimal, and the count of parts that object stores append: a name that stays in its folder.
fn is_tag(tag: &str) -> bool {
    (1..=128).contains(&tag.len()) && tag.chars().all(|c| c.is_ascii_hexdigit() || c == '-')
}

/// Whether the answer is the rest of a file from this byte on.
fn continues(answer: &Response, from: u64) -> bool {
    let range = answer.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
    answer.status() == StatusCode::PARTIAL_CONTENT
        && range.is_some_and(|range| range.starts_with(&format!("bytes {from}-")))
}

/// Configuration, tokenizer and safetensors; no pickles, no code. No such name leads out of a folder.
fn is_wanted(name: &str) -> bool {
    let shard = |name: &str| {
        let (number, count) =
            name.strip_prefix("model-")?.strip_suffix(".safetensors")?.split_once("-of-")?;
        let digits = |text: &str| text.len() == 5 && text.chars().all(|c| c.is_ascii_digit());
        Some(digits(number) && digits(count))
    };
    ModelFolder::SIDE_FILES.contains(&name)
        || matches!(name, "model.safetensors" | "model.safetensors.index.json")
        || shard(name) == Some(true)
}

pub(super) fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.chars().all(|c| c.is_ascii_hexdigit())
}

/// Where the beginning of a blob is kept.
fn partial(blob: &Path) -> PathBuf {
    blob.with_added_extension("incomplete")
}

fn open_partial(path: &Path) -> olive_core::Result<File> {
    OpenOptions::new().read(true).append(true).create(true).open(path).at("open", path)
}

/// Makes `link` stand for the blob: a relative link, so that the cache can be moved.
fn link(blob: &Path, link: &Path) -> olive_core::Result<()> {
    let folder = link.parent().unwrap_or(link);
    std::fs::create_dir_all(folder).at("create", folder)?;
    if link.is_symlink() {
        std::fs::remove_file(link).at("remove", link)?; // It leads nowhere.
    }
    #[cfg(unix)]
    {
        let target = Path::new("../../blobs").join(blob.file_name().unwrap_or_default());
        match std::os::unix::fs::symlink(target, link) {
            // Another process was faster.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            result => result.at("link", link),
        }
    }
    #[cfg(not(unix))]
    std::fs::hard_link(blob, link).or_else(|_| file::copy(blob, link).map(|_| ())).at("link", link)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_only_names_and_tags_that_stay_in_their_folder() {
        for tag in ["", "..", "../x", "a/b", "a\\b", "C:", "abc.lock", "héx", &"a".repeat(129)] {
            assert!(!is_tag(tag), "{tag}");
        }
        assert!(is_tag("0123456789abcdefABCDEF-12"));
        for name in
            ["model-0001-of-0002.safetensors", "model-..%2f.-of-00001.safetensors", "../config.json", "a.py"]
        {
            assert!(!is_wanted(name), "{name}");
        }
        for name in ["model-00001-of-00002.safetensors", "model.safetensors", "tokenizer.json"] {
            assert!(is_wanted(name), "{name}");
        }
    }
}
