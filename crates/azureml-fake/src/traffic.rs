//! What is said to the control plane, and what it answers, in files as Microsoft's validator reads them: `oav validate-traffic`.

use crate::exchange::{Exchange, Reply};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// Where the specification says that the control plane is.
const HOST: &str = "https://management.azure.com";

/// A folder that gets a file for every request.
#[derive(Debug)]
pub struct Traffic {
    folder: PathBuf,
    kept: AtomicU32,
}

impl Traffic {
    pub fn into(folder: PathBuf) -> Traffic {
        Traffic { folder, kept: AtomicU32::new(0) }
    }

    /// Keeps a request and its answer, if the control plane got it.
    ///
    /// # Panics
    /// The folder cannot be written: what is not kept would count as sound.
    pub fn keep(&self, request: &Exchange, reply: &Reply) {
        if !request.path.starts_with("/subscriptions/") {
            return;
        }
        let number = self.kept.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.join(format!("{number:05}.json"));
        std::fs::write(&path, document(request, reply).to_string())
            .expect("the folder for traffic is written");
    }
}

fn document(request: &Exchange, reply: &Reply) -> Value {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let query: Vec<String> =
        request.query.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    let shown = |(name, value): (&String, &String)| {
        let is_secret = matches!(name.as_str(), "authorization" | "x-azureml-token");
        (name.clone(), json!(if is_secret { "***" } else { value }))
    };
    let mut asked = json!({
        "headers": request.headers.iter().map(shown).collect::<Map<_, _>>(),
        "method": request.method,
        "url": format!("{HOST}{}?{}", request.path, query.join("&")),
    });
    if !request.body.is_empty() {
        asked["body"] = request.json();
    }
    let headers = reply.headers.iter().map(|(name, value)| (name.clone(), json!(value)));
    let mut answered =
        json!({"statusCode": reply.status.to_string(), "headers": headers.collect::<Map<_, _>>()});
    if !reply.body.is_empty() {
        answered["body"] = serde_json::from_slice(&reply.body).unwrap_or_default();
    }
    json!({"liveRequest": asked, "liveResponse": answered})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(path: &str) -> Exchange {
        let pairs = |all: &[(&str, &str)]| {
            all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        Exchange {
            method: "PUT".into(),
            path: path.into(),
            query: pairs(&[("api-version", "1"), ("$top", "a b")]),
            headers: pairs(&[("authorization", "Bearer secret"), ("accept", "x")]),
            body: r#"{"a": 1}"#.into(),
        }
    }

    #[test]
    fn what_the_control_plane_hears_is_kept_without_tokens() {
        let dir = tempfile::tempdir().unwrap();
        let traffic = Traffic::into(dir.path().to_owned());
        let reply = Reply::json(201, &json!({"id": "j"}));
        traffic.keep(&request("/blob/account/container/x"), &reply);
        traffic.keep(&request("/subscriptions/s/jobs/j"), &reply);
        let files: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(files.len(), 1);
        let kept: Value =
            serde_json::from_slice(&std::fs::read(dir.path().join("00000.json")).unwrap()).unwrap();
        let expected = json!({
            "liveRequest": {
                "headers": {"authorization": "***", "accept": "x"}, "method": "PUT", "body": {"a": 1},
                "url": "https://management.azure.com/subscriptions/s/jobs/j?$top=a%20b&api-version=1",
            },
            "liveResponse": {
                "statusCode": "201", "headers": {"content-type": "application/json"}, "body": {"id": "j"},
            },
        });
        assert_eq!(kept, expected);
    }
}
