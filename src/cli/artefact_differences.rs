//! What tells artefacts of one pass apart, as those of a sweep: options, data, input.

use olive_engine::cache::Manifest;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Names and values that not all artefacts of a pass share, for each of the artefacts.
pub(super) fn differences(artefacts: &[(PathBuf, Manifest)]) -> Vec<Vec<(String, Value)>> {
    let all: Vec<Vec<(String, Value)>> = artefacts.iter().map(|(_, manifest)| properties(manifest)).collect();
    let mut passes: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
    for (number, (_, manifest)) in artefacts.iter().enumerate() {
        passes.entry((&manifest.pass_type, &manifest.pass_name)).or_default().push(number);
    }
    let mut differences = vec![Vec::new(); all.len()];
    for members in passes.values() {
        let shared =
            |property: &(String, Value)| members.iter().all(|member| all[*member].contains(property));
        for &member in members {
            differences[member] = all[member].iter().filter(|property| !shared(property)).cloned().collect();
        }
    }
    differences
}

/// All that an artefact was made of, in the order in which it is shown.
fn properties(manifest: &Manifest) -> Vec<(String, Value)> {
    let mut properties = Vec::new();
    flatten("", &manifest.options, &mut properties);
    for data in &manifest.data {
        let hashes: Vec<&str> = data.files.iter().map(|file| beginning(&file.hash)).collect();
        properties.push((format!("{}_content", data.purpose), hashes.join("+").into()));
    }
    properties.push(("input".to_owned(), beginning(&manifest.input_key).into()));
    properties
}

/// Letters of a hash that tell it from others, as in the first column of the list.
fn beginning(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

fn flatten(path: &str, value: &Value, properties: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let dot = if path.is_empty() { "" } else { "." };
                flatten(&format!("{path}{dot}{name}"), value, properties);
            }
        }
        value => properties.push((path.to_owned(), value.clone())),
    }
}
