//! `olive cache`.

use super::answering::Notes;
use super::{Globals, output};
use crate::report::number;
use clap::{Args, Subcommand};
use olive_core::Result;
use olive_engine::cache::{CacheError, Manifest, Store};
use std::path::{Path, PathBuf};

#[derive(Args)]
pub(crate) struct CacheArgs {
    /// The cache folder, as in `cache_dir` of the configuration. [default: `cache`, else `.olive-cache`]
    #[arg(long, global = true, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// List the artefacts, newest first.
    Ls,
    /// Say what an artefact is and what it was made from.
    Explain {
        /// The key, or enough of its beginning to be unique.
        key: String,
    },
    /// Remove all artefacts but those that a running process works on or uses.
    Clean,
}

pub(crate) fn run(args: &CacheArgs, globals: &Globals) -> Result<()> {
    let notes = Notes::new(globals);
    let dir = args.cache_dir.clone().unwrap_or_else(default_dir);
    let store = Store::new(&dir);
    match &args.action {
        Action::Ls => list(&store, &dir, &notes),
        Action::Explain { key } => explain(&store, key),
        Action::Clean => clean(&store, &notes),
    }
}

fn default_dir() -> PathBuf {
    let usual = Path::new("cache");
    if usual.join("passes-v1").is_dir() { usual } else { Path::new(".olive-cache") }.to_owned()
}

fn list(store: &Store, dir: &Path, notes: &Notes) -> Result<()> {
    let artefacts = store.list();
    for (_, manifest) in &artefacts {
        output::result(&row(manifest))?;
    }
    let total: u64 = artefacts.iter().map(|(_, manifest)| manifest.bytes()).sum();
    notes.info(&format!("{} artefacts, {} in {}", artefacts.len(), number::bytes(total), dir.display()));
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

fn explain(store: &Store, key: &str) -> Result<()> {
    let mut found: Vec<_> =
        store.list().into_iter().filter(|(_, manifest)| manifest.key.starts_with(key)).collect();
    match (found.pop(), found.len()) {
        (Some((dir, manifest)), 0) => {
            output::result(&format!("{}", dir.display()))?;
            output::result(&serde_json::to_string_pretty(&manifest).expect("plain data"))
        }
        (None, _) => Err(CacheError::NoArtefact { key: key.into(), found: 0 }.into()),
        (_, others) => Err(CacheError::NoArtefact { key: key.into(), found: others + 1 }.into()),
    }
}

fn clean(store: &Store, notes: &Notes) -> Result<()> {
    let cleaned = store.clean()?;
    for kept in &cleaned.kept {
        notes.info(&kept.to_string());
    }
    notes.info(&format!("removed {} artefacts, {}", cleaned.removed, number::bytes(cleaned.bytes)));
    Ok(())
}
