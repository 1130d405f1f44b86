//! `vocab.json` and `merges.txt`, which say nothing about how texts are cut: the tokenizer's class does.

use super::Found;
use super::parts::{Ends, Parts};
use super::pieces::split_merge;
use super::pre_tokenizer::pre_tokenizer;
use olive_arch::families::VOCABULARY_CLASSES;
use olive_core::file;
use serde_json::{Map, Value};
use std::path::Path;

const VOCABULARY: &str = "vocab.json";
const MERGES: &str = "merges.txt";

pub(super) fn is_in(dir: &Path) -> bool {
    dir.join(VOCABULARY).is_file() && dir.join(MERGES).is_file()
}

/// The two files as a `tokenizer.json`.
///
/// # Errors
/// A class that is not known (a guess would give wrong tokens in silence), or a file that is damaged.
pub(super) fn read(dir: &Path, config: &Value) -> Found<Value> {
    let class = config["tokenizer_class"].as_str().unwrap_or_default();
    let plain = class.strip_suffix("Fast").unwrap_or(class);
    let (_, cut) = VOCABULARY_CLASSES.iter().find(|(name, _)| *name == plain).ok_or_else(|| {
        format!("how the class `{class}` of tokenizer_config.json cuts texts is not known, and there is no tokenizer.json")
    })?;
    let mut pre = pre_tokenizer(Some(cut))?;
    if config["add_prefix_space"] == Value::Bool(true) {
        pre.add_prefix_space();
    }
    let text = |name: &str| file::read_to_string(&dir.join(name)).map_err(|e| format!("{name}: {e}"));
    let words: Map<String, Value> =
        serde_json::from_str(&text(VOCABULARY)?).map_err(|e| format!("{VOCABULARY}: {e}"))?;
    let merges = text(MERGES)?;
    let merges = merges
        .lines()
        .enumerate()
        .filter(|(number, line)| !line.is_empty() && (*number > 0 || !line.starts_with("#version")))
        .map(|(_, line)| split_merge(line).ok_or_else(|| format!("{MERGES}: `{line}` is not a merge")))
        .collect::<Found<Vec<_>>>()?;
    Ok(Parts::byte_level(pre, words, &merges).assemble(&[], &Ends::default()))
}
