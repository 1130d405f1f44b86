//! `olive push`.

use super::session::Session;
use super::table::align;
use super::{Globals, environment, output};
use crate::report::number::bytes;
use clap::{Args, ValueHint};
use olive_core::Result;
use olive_core::event::{Event, EventSink};
use olive_model::SourceOptions;
use olive_publish::{
    Choice, LeftOut, Links, Outcome, Package, Preview, Push, RepoId, State, Target, Visibility, Why, preview,
    push,
};
use serde_json::{Value, json};
use std::path::PathBuf;

#[derive(Args)]
pub(crate) struct PushArgs {
    /// What `olive run` wrote, a model or adapter folder, or a file such as a GGUF.
    #[arg(value_hint = ValueHint::AnyPath)]
    model: PathBuf,
    /// The repository: `user/name` or `organisation/name`. It is made if it is missing.
    #[arg(value_name = "REPO")]
    repo: String,
    /// Make a repository that only its owner sees; one that is there must be private already.
    #[arg(long)]
    private: bool,
    /// The branch to push to, made if it is missing.
    #[arg(long, value_name = "BRANCH", default_value = "main")]
    revision: String,
    /// What the commit is called.
    #[arg(long, value_name = "TEXT", default_value = "Push from olive")]
    message: String,
    /// Propose the change as a pull request against `main`.
    #[arg(long, conflicts_with = "revision")]
    create_pr: bool,
    /// Push only files whose names fit one of these patterns; `*` stands for any letters.
    #[arg(long, value_name = "GLOB")]
    include: Vec<String>,
    /// Leave out files whose names fit one of these patterns.
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,
    /// Push what symbolic links lead to, out of the folder, too.
    #[arg(long)]
    follow_links: bool,
    /// Only say what would be sent. Without a token, or offline, all files count as new.
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &PushArgs, globals: &Globals) -> Result<()> {
    let repo = RepoId::parse(&args.repo)?;
    let links = if args.follow_links { Links::Followed } else { Links::Inside };
    let choice = Choice::new(&args.include, &args.exclude, links)?;
    let package = Package::of(&args.model, &choice)?;
    let session = Session::start(globals, 1)?;
    let options = SourceOptions { cancel: session.cancel().clone(), ..environment::source_options(globals) };
    warn(&package, session.events());
    let target = if args.create_pr { Target::PullRequest } else { Target::Branch(&args.revision) };
    let visibility = if args.private { Visibility::Private } else { Visibility::Usual };
    let request = Push { package: &package, repo: &repo, target, visibility, message: &args.message };
    if args.dry_run {
        let can_ask = !options.offline && options.token.is_some();
        let found = if can_ask { Some(preview(&request, &options, session.events())?) } else { None };
        drop(session);
        return show(args, &request, found.as_ref());
    }
    let outcome = push(&request, &options, session.events())?;
    drop(session);
    told(args, &request, &outcome)
}

/// What whoever opens the page will miss.
fn warn(package: &Package, events: &dyn EventSink) {
    let warning = |message: String| events.emit(Event::Warning { message });
    if package.card().is_none() && package.files.len() > 1 {
        warning("there is no README.md: the repository has no model card".to_owned());
    }
    if let Some(base) = package.local_base() {
        warning(format!(
            "the adapter names its base by a path of this machine, `{base}` (adapter_config.json): name it by its hub id"
        ));
    }
}

fn word(state: State) -> &'static str {
    match state {
        State::New => "new",
        State::Changed => "changed",
        State::Same => "unchanged",
        State::Ignored => "ignored",
    }
}

/// What would be done; `found` is what the hub has, if it was asked.
fn show(args: &PushArgs, push: &Push<'_>, found: Option<&Preview>) -> Result<()> {
    let package = push.package;
    let states = found.map_or_else(|| vec![State::New; package.files.len()], |found| found.states.clone());
    if args.json {
        let is_new = found.map(|found| found.is_new);
        return output::result(
            &document(push, &states, &json!({"dry_run": true, "is_new": is_new})).to_string(),
        );
    }
    let rows: Vec<Vec<String>> = package
        .files
        .iter()
        .zip(&states)
        .map(|(file, state)| vec![file.name.clone(), bytes(file.size()), word(*state).to_owned()])
        .collect();
    for line in align(&rows) {
        output::result(&line)?;
    }
    for LeftOut { name, why } in shown_left_out(package) {
        output::result(&format!("left out: {name} ({})", why.describe()))?;
    }
    let (count, size) = to_send(package, &states);
    let place = match found {
        Some(Preview { is_new: true, .. }) => ", which would be made",
        Some(_) => "",
        None => "; the hub was not asked",
    };
    output::result(&format!("{count} of {} files, {}, to {}{place}", states.len(), bytes(size), push.repo))
}

/// What is worth a line: not what somebody asked to leave out.
fn shown_left_out(package: &Package) -> impl Iterator<Item = &LeftOut> {
    package.left_out.iter().filter(|left| !matches!(left.why, Why::NotIncluded | Why::Excluded))
}

fn to_send(package: &Package, states: &[State]) -> (usize, u64) {
    let sent =
        package.files.iter().zip(states).filter(|(_, state)| matches!(state, State::New | State::Changed));
    sent.fold((0, 0), |(count, size), (file, _)| (count + 1, size + file.size()))
}

fn told(args: &PushArgs, push: &Push<'_>, outcome: &Outcome) -> Result<()> {
    let Outcome { page, is_new, states, commit, pull_request, stored } = outcome;
    if args.json {
        let more = json!({
            "dry_run": false,
            "is_new": is_new,
            "commit": commit,
            "pull_request": pull_request,
            "bytes_sent_to_storage": stored.1,
        });
        return output::result(&document(push, states, &more).to_string());
    }
    let left: Vec<&str> = shown_left_out(push.package).map(|left| left.name.as_str()).collect();
    if !left.is_empty() {
        output::note(&format!("left out: {} (--dry-run says why)", left.join(", ")));
    }
    let (count, size) = to_send(push.package, states);
    let unchanged = states.len() - count;
    let commit = commit.as_ref().map(|commit| format!(", commit {commit}")).unwrap_or_default();
    let line = match (count, pull_request) {
        (0, _) => format!("{page}: all {unchanged} files are there already{commit}"),
        (_, request) => {
            let rest = if unchanged == 0 { String::new() } else { format!(", {unchanged} unchanged") };
            let place = request.as_ref().unwrap_or(page);
            format!("{place}: {count} files, {}{rest}{commit}", bytes(size))
        }
    };
    output::result(&line)
}

/// The same for programs.
fn document(push: &Push<'_>, states: &[State], more: &Value) -> Value {
    let package = push.package;
    let files = package.files.iter().zip(states);
    let files: Vec<Value> = files
        .map(|(file, state)| json!({"name": file.name, "bytes": file.size(), "state": word(*state)}))
        .collect();
    let left: Vec<Value> =
        package.left_out.iter().map(|left| json!({"name": left.name, "why": left.why.describe()})).collect();
    let mut document = json!({"repo": push.repo.to_string(), "files": files, "left_out": left});
    for (key, value) in more.as_object().into_iter().flatten() {
        document[key] = value.clone();
    }
    document
}
