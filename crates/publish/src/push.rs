//! A push from its beginning to its end.

use crate::answer::Failure;
use crate::commit::{Committed, commit};
use crate::compare::{Compared, For, State, all_new, compare};
use crate::error::PublishError;
use crate::hub::Hub;
use crate::message::tell;
use crate::objects::{Stored, store};
use crate::package::Package;
use crate::progress::{Counter, cancellable, watch};
use crate::repo_id::RepoId;
use crate::repository::{Found, Repository, Visibility};
use crate::retry;
use olive_core::Result;
use olive_core::event::EventSink;
use olive_model::SourceOptions;

/// Where a commit goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// A branch, which is made if it is missing.
    Branch(&'a str),
    /// A pull request against `main`.
    PullRequest,
}

impl<'a> Target<'a> {
    fn revision(self) -> &'a str {
        match self {
            Target::Branch(name) => name,
            Target::PullRequest => "main",
        }
    }

    fn kind(self) -> For {
        match self {
            Target::Branch(_) => For::Branch,
            Target::PullRequest => For::PullRequest,
        }
    }
}

/// What is to be done.
#[derive(Debug, Clone, Copy)]
pub struct Push<'a> {
    pub package: &'a Package,
    pub repo: &'a RepoId,
    pub target: Target<'a>,
    pub visibility: Visibility,
    /// First line of the commit.
    pub message: &'a str,
}

/// What would be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// Whether the repository would be made.
    pub is_new: bool,
    /// In the order of the package's files.
    pub states: Vec<State>,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The page of the repository.
    pub page: String,
    pub is_new: bool,
    /// In the order of the package's files.
    pub states: Vec<State>,
    /// The commit that was made, or that the branch is at if nothing had changed.
    pub commit: Option<String>,
    pub pull_request: Option<String>,
    /// Files that went to the hub's storage now, and their bytes; it may have had others from an earlier push.
    pub stored: (usize, u64),
}

/// Finds out what [`push`] would do. The hub is only asked.
///
/// # Errors
/// As [`push`].
pub fn preview(push: &Push<'_>, options: &SourceOptions, events: &dyn EventSink) -> Result<Preview> {
    run(push, options, events, async |hub: &Hub<'_>, repository: &Repository<'_>| {
        let find = repository.find(push.visibility);
        let found = cancellable(&options.cancel, find, || {}).await?;
        let compared = match found {
            Found::Branch => differences(push, repository, hub, options).await?,
            Found::Repository | Found::Nothing => all_new(&push.package.files),
        };
        Ok(Preview { is_new: found == Found::Nothing, states: states(&compared) })
    })
}

/// Brings a model to the hub: makes the repository and the branch if they are missing, sends what the hub lacks, and commits what
/// is new or has changed. Files of the repository that the package lacks stay.
///
/// # Errors
/// [`PublishError::Offline`], [`PublishError::NoToken`], [`PublishError::Public`], [`PublishError::Card`],
/// [`PublishError::Changed`], [`PublishError::Token`]; [`PublishError::Hub`] with what the hub says;
/// [`olive_core::error::Interrupted`]. What was sent by then is not sent again.
pub fn push(push: &Push<'_>, options: &SourceOptions, events: &dyn EventSink) -> Result<Outcome> {
    run(push, options, events, async |hub: &Hub<'_>, repository: &Repository<'_>| {
        let prepare = async {
            if let Some(card) = push.package.card() {
                repository.check_card(&card.content()?).await?;
            }
            repository.ensure(push.visibility).await
        };
        let is_new = cancellable(&options.cancel, prepare, || {}).await?;
        let compared = differences(push, repository, hub, options).await?;
        let states = states(&compared);
        let changed: Vec<Compared<'_>> = compared.into_iter().filter(Compared::is_sent).collect();
        let stored = send(&changed, repository, options, events).await?;
        let finish = commit_once(push, repository, &changed);
        let (commit, pull_request) = cancellable(&options.cancel, finish, || {}).await?;
        let stored = (stored.files, stored.bytes);
        Ok(Outcome { page: repository.page(), is_new, states, commit, pull_request, stored })
    })
}

/// Does work with the hub on a runtime of its own.
fn run<T>(
    push: &Push<'_>,
    options: &SourceOptions,
    events: &dyn EventSink,
    work: impl AsyncFnOnce(&Hub<'_>, &Repository<'_>) -> Result<T, Failure>,
) -> Result<T> {
    let revision = push.target.revision();
    check_branch(revision)?;
    let told = |endpoint: &str, failure| tell(push.repo, endpoint, failure);
    let hub = Hub::new(options, events).map_err(|failure| told("", failure))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| told(&hub.endpoint, Failure::Lost { reason: error.to_string() }))?;
    let repository = Repository { hub: &hub, id: push.repo, revision };
    let done = runtime.block_on(work(&hub, &repository));
    // Not waiting for what the system is still asked, a name for example.
    runtime.shutdown_background();
    done.map_err(|failure| told(&hub.endpoint, failure))
}

fn states(compared: &[Compared<'_>]) -> Vec<State> {
    compared.iter().map(|compared| compared.state).collect()
}

async fn differences<'a>(
    push: &Push<'a>,
    repository: &Repository<'_>,
    hub: &Hub<'_>,
    options: &SourceOptions,
) -> Result<Vec<Compared<'a>>, Failure> {
    let read = Counter::new();
    let token = options.token.as_deref().unwrap_or_default();
    let work = compare(repository, &push.package.files, push.target.kind(), token, &read);
    watch("compare", push.package.size(), &read, (&options.cancel, hub.events), work).await
}

async fn send(
    changed: &[Compared<'_>],
    repository: &Repository<'_>,
    options: &SourceOptions,
    events: &dyn EventSink,
) -> Result<Stored, Failure> {
    let large = |compared: &&Compared<'_>| compared.is_in_storage();
    let total: u64 = changed.iter().filter(large).map(|compared| compared.file.size()).sum();
    if total == 0 {
        return Ok(Stored::default());
    }
    let sent = Counter::new();
    let work = store(repository, changed, &sent);
    watch("upload", total, &sent, (&options.cancel, events), work).await
}

/// Commits, and finds out whether that happened where the answer is lost. Nothing is committed without a change.
async fn commit_once(
    push: &Push<'_>,
    repository: &Repository<'_>,
    changed: &[Compared<'_>],
) -> Result<(Option<String>, Option<String>), Failure> {
    if changed.is_empty() {
        return Ok((repository.info().await.ok().and_then(|info| info.sha), None));
    }
    let before = repository.info().await.ok().and_then(|info| info.sha);
    let mut attempt = 1;
    loop {
        let failure = match commit(repository, changed, push.message, push.target.kind()).await {
            Ok(Committed { commit_oid, pull_request_url }) => {
                return Ok((Some(commit_oid), pull_request_url));
            }
            Err(failure) => failure,
        };
        let may_be_done = match &failure {
            Failure::Lost { .. } => true,
            Failure::Refused(refusal) => retry::is_passing(refusal.status) && refusal.status != 429,
            _ => return Err(failure),
        };
        let is_passing = may_be_done || failure.status() == Some(429);
        // A second pull request would be one too many.
        let may_be_repeated = push.target.kind() == For::Branch || !may_be_done;
        let Some(pause) = retry::pause(attempt, None, 0.5).filter(|_| is_passing && may_be_repeated) else {
            return Err(failure);
        };
        repository.hub.wait(pause).await;
        if may_be_done {
            let now = repository.info().await?.sha;
            let files: Vec<_> = changed.iter().map(|compared| compared.file.clone()).collect();
            let compared = compare(repository, &files, For::Branch, "", &Counter::new()).await?;
            if now != before && compared.iter().all(|compared| compared.state == State::Same) {
                return Ok((now, None));
            }
        }
        attempt += 1;
    }
}

fn check_branch(revision: &str) -> Result<(), PublishError> {
    let is_letter = |c: char| c.is_alphanumeric() || matches!(c, '/' | '.' | '-' | '_');
    let is_sound = revision.chars().all(is_letter)
        && revision.split('/').all(|part| !part.is_empty() && !part.starts_with('.') && !part.ends_with('.'))
        && !revision.starts_with('-')
        && !revision.contains("..");
    if is_sound { Ok(()) } else { Err(PublishError::Branch { given: revision.to_owned() }) }
}
