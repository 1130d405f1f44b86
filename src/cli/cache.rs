//! `olive cache`.

use super::answering::Notes;
use super::artefact_differences::differences;
use super::plan_text::{cut, text};
use super::problem::print_document;
use super::{Globals, environment, output, plan_json};
use crate::report::{number, wrap};
use clap::{Args, Subcommand};
use olive_core::{Result, shown};
use olive_engine::cache::{CacheError, Elsewhere, Manifest, OnItsWay, Store};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// Columns of a line where there is no terminal.
const COLUMNS: usize = 80;

#[derive(Args)]
pub(crate) struct CacheArgs {
    /// The cache folder, as in `cache_dir` of the configuration. [default: `cache`, else `.olive-cache`, and the user's own
    /// cache, which has converted models]
    #[arg(long, global = true, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// List the artefacts, newest first, with what tells those of one pass apart.
    Ls {
        /// Print one JSON object instead of lines.
        #[arg(long)]
        json: bool,
    },
    /// Say what an artefact is and what it was made from.
    Explain {
        /// The key, or enough of its beginning to be unique.
        key: String,
        /// Print one JSON object instead of the folder and its manifest.
        #[arg(long)]
        json: bool,
    },
    /// Remove all artefacts, and what is on its way from jobs, but what a running process works on or uses.
    Clean,
}

pub(crate) fn run(args: &CacheArgs, globals: &Globals) -> Result<()> {
    let notes = Notes::new(globals);
    let dirs = match &args.cache_dir {
        Some(dir) => vec![dir.clone()],
        None => [default_dir()].into_iter().chain(environment::own_cache()).collect(),
    };
    let stores: Vec<Store> = dirs.iter().map(|dir| Store::new(dir)).collect();
    match &args.action {
        Action::Ls { json: false } => {
            stores.iter().zip(&dirs).try_for_each(|(store, dir)| list(store, dir, &notes))
        }
        Action::Ls { json: true } => print_document(Ok(listing(&stores, &dirs))),
        Action::Explain { key, json: false } => explain(&stores, key),
        Action::Explain { key, json: true } => print_document(explanation(&stores, key)),
        Action::Clean => stores.iter().zip(&dirs).try_for_each(|(store, dir)| clean(store, dir, &notes)),
    }
}

fn default_dir() -> PathBuf {
    let usual = Path::new("cache");
    let is_cache = ["passes-v1", "jobs"].iter().any(|folder| usual.join(folder).is_dir());
    if is_cache { usual } else { Path::new(".olive-cache") }.to_owned()
}

fn list(store: &Store, dir: &Path, notes: &Notes) -> Result<()> {
    let artefacts = store.list();
    let columns = wrap::columns(std::io::stdout()).unwrap_or(COLUMNS);
    for ((_, manifest), differences) in artefacts.iter().zip(differences(&artefacts)) {
        output::result(&row(manifest))?;
        if !differences.is_empty() {
            let shown: Vec<_> =
                differences.iter().map(|(name, value)| format!("{name}={}", text(value))).collect();
            output::result(&cut(&format!("{:14}{}", "", shown.join("  ")), columns))?;
        }
    }
    for Elsewhere { place, manifest } in store.list_elsewhere() {
        output::result(&row(&manifest))?;
        output::result(&format!("{:14}elsewhere: {place}", ""))?;
    }
    for OnItsWay { name, bytes, .. } in store.list_incoming() {
        output::result(&format!("{:<34} {:>9}  {name}", "on its way from a job", number::bytes(bytes)))?;
    }
    let total: u64 = artefacts.iter().map(|(_, manifest)| manifest.bytes()).sum();
    notes.info(&format!("{} artefacts, {} in {}", artefacts.len(), number::bytes(total), shown(dir)));
    Ok(())
}

fn row(manifest: &Manifest) -> String {
    format!(
        "{}  {:<20} {:>9}  {:>11}  {}",
        &manifest.key[..12.min(manifest.key.len())],
        manifest.pass_type,
        number::bytes(manifest.bytes()),
        number::duration(manifest.seconds),
        manifest.pass_name,
    )
}

/// The same for programs.
fn listing(stores: &[Store], dirs: &[PathBuf]) -> Value {
    let rows = stores.iter().flat_map(|store| {
        let artefacts = store.list();
        let differences = differences(&artefacts);
        let row = |((path, manifest), differences): (&(PathBuf, Manifest), _)| {
            json!({
                "key": manifest.key,
                "type": manifest.pass_type,
                "pass": manifest.pass_name,
                "path": plan_json::path(path),
                "bytes": manifest.bytes(),
                "started": manifest.started,
                "seconds": manifest.seconds,
                "input_key": manifest.input_key,
                "differs": Map::from_iter(differences),
            })
        };
        artefacts.iter().zip(differences).map(row).collect::<Vec<_>>()
    });
    let elsewhere = stores.iter().flat_map(Store::list_elsewhere);
    let elsewhere: Vec<Value> =
        elsewhere.map(|note| json!({"place": note.place, "manifest": note.manifest})).collect();
    let dirs: Vec<_> = dirs.iter().map(|dir| plan_json::path(dir)).collect();
    let mut listing = json!({"cache_dirs": dirs, "artefacts": rows.collect::<Vec<_>>(), "errors": []});
    if !elsewhere.is_empty() {
        listing["elsewhere"] = json!(elsewhere);
    }
    let incoming = stores.iter().flat_map(Store::list_incoming);
    let incoming: Vec<Value> = incoming
        .map(|OnItsWay { name, dir, bytes }| {
            json!({"name": name, "path": plan_json::path(&dir), "bytes": bytes})
        })
        .collect();
    if !incoming.is_empty() {
        listing["incoming"] = json!(incoming);
    }
    listing
}

fn explain(stores: &[Store], key: &str) -> Result<()> {
    let (dir, manifest) = find(stores, key)?;
    output::result(&format!("{}", dir.display()))?;
    output::result(&serde_json::to_string_pretty(&manifest).expect("plain data"))
}

/// The same for programs.
fn explanation(stores: &[Store], key: &str) -> Result<Value> {
    let (dir, manifest) = find(stores, key)?;
    Ok(json!({"path": plan_json::path(&dir), "manifest": manifest, "errors": []}))
}

/// The artefact whose key begins so.
fn find(stores: &[Store], key: &str) -> Result<(PathBuf, Manifest)> {
    let mut found: Vec<_> =
        stores.iter().flat_map(Store::list).filter(|(_, manifest)| manifest.key.starts_with(key)).collect();
    match (found.pop(), found.len()) {
        (Some(only), 0) => Ok(only),
        (None, _) => Err(CacheError::NoArtefact { key: key.into(), found: 0 }.into()),
        (_, others) => Err(CacheError::NoArtefact { key: key.into(), found: others + 1 }.into()),
    }
}

fn clean(store: &Store, dir: &Path, notes: &Notes) -> Result<()> {
    let cleaned = store.clean()?;
    for kept in &cleaned.kept {
        notes.info(&kept.to_string());
    }
    let (removed, bytes) = (cleaned.removed, number::bytes(cleaned.bytes));
    let incoming = match cleaned.incoming {
        0 => String::new(),
        1 => " and what was on its way from 1 job".to_owned(),
        jobs => format!(" and what was on its way from {jobs} jobs"),
    };
    notes.info(&format!("removed {removed} artefacts{incoming}, {bytes}, from {}", shown(dir)));
    Ok(())
}
