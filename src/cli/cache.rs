//! `olive cache`.

use super::answering::Notes;
use super::{Globals, environment, output};
use crate::report::number;
use clap::{Args, Subcommand};
use olive_core::Result;
use olive_engine::cache::{CacheError, Manifest, Store};
use std::path::{Path, PathBuf};

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
    let dirs = match &args.cache_dir {
        Some(dir) => vec![dir.clone()],
        None => [default_dir()].into_iter().chain(environment::own_cache()).collect(),
    };
    let stores: Vec<Store> = dirs.iter().map(|dir| Store::new(dir)).collect();
    match &args.action {
        Action::Ls => stores.iter().zip(&dirs).try_for_each(|(store, dir)| list(store, dir, &notes)),
        Action::Explain { key } => explain(&stores, key),
        Action::Clean => stores.iter().zip(&dirs).try_for_each(|(store, dir)| clean(store, dir, &notes)),
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

fn explain(stores: &[Store], key: &str) -> Result<()> {
    let mut found: Vec<_> =
        stores.iter().flat_map(Store::list).filter(|(_, manifest)| manifest.key.starts_with(key)).collect();
    match (found.pop(), found.len()) {
        (Some((dir, manifest)), 0) => {
            output::result(&format!("{}", dir.display()))?;
            output::result(&serde_json::to_string_pretty(&manifest).expect("plain data"))
        }
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
    notes.info(&format!("removed {removed} artefacts, {bytes}, from {}", dir.display()));
    Ok(())
}
