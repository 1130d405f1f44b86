//! What the hub says of cards, files and commits.

use super::http::Answer;
use super::hub::{Blob, git_blob_id};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub fn missing() -> Answer {
    Answer::error(404, "RepoNotFound", "Repository not found")
}

pub fn validate(body: &Value) -> Answer {
    let card = body["content"].as_str().unwrap();
    if card.contains("license: [") {
        let body = json!({"errors": [{"message": "\"license\" must be a string"}], "warnings": []});
        return Answer { status: 400, ..Answer::json(&body) };
    }
    let warnings = if card.starts_with("---") {
        vec![]
    } else {
        vec![json!({"message": "empty or missing yaml metadata"})]
    };
    Answer::json(&json!({"errors": [], "warnings": warnings}))
}

pub fn preupload(tree: &BTreeMap<String, Blob>, body: &Value) -> Value {
    let files = body["files"].as_array().unwrap().iter().map(|file| {
        let path = file["path"].as_str().unwrap();
        let sample = BASE64_STANDARD.decode(file["sample"].as_str().unwrap()).unwrap();
        assert!(sample.len() <= 512 && sample.len() as u64 <= file["size"].as_u64().unwrap());
        let is_large = path.ends_with(".safetensors") || sample.contains(&0);
        let oid = tree.get(path).map(|blob| match blob {
            Blob::Regular(bytes) => git_blob_id(bytes),
            Blob::Stored(sha256) => sha256.clone(),
        });
        let mode = if is_large { "lfs" } else { "regular" };
        json!({"path": path, "uploadMode": mode, "shouldIgnore": path.ends_with(".log"), "oid": oid})
    });
    json!({"files": files.collect::<Vec<_>>()})
}

/// Carries out a commit; its message.
pub fn commit(tree: &mut BTreeMap<String, Blob>, objects: &BTreeMap<String, Vec<u8>>, body: &[u8]) -> String {
    let mut lines = std::str::from_utf8(body).unwrap().lines();
    let header: Value = serde_json::from_str(lines.next().unwrap()).unwrap();
    assert_eq!(header["key"], "header");
    let mut changed = 0;
    for line in lines {
        let line: Value = serde_json::from_str(line).unwrap();
        let value = &line["value"];
        let blob = match line["key"].as_str().unwrap() {
            "file" => Blob::Regular(BASE64_STANDARD.decode(value["content"].as_str().unwrap()).unwrap()),
            "lfsFile" => {
                let oid = value["oid"].as_str().unwrap();
                assert_eq!(
                    Some(objects[oid].len() as u64),
                    value["size"].as_u64(),
                    "only what is stored is named"
                );
                Blob::Stored(oid.to_owned())
            }
            other => panic!("{other}"),
        };
        let path = value["path"].as_str().unwrap().to_owned();
        changed += usize::from(tree.insert(path, blob.clone()) != Some(blob));
    }
    assert!(changed > 0, "no empty commit");
    header["value"]["summary"].as_str().unwrap().to_owned()
}
