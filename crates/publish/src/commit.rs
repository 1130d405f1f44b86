//! One commit that names what was stored and brings the small files along.

use crate::answer::{Answer, Failure};
use crate::compare::{Compared, For, Place};
use crate::hub::{answer, in_path};
use crate::local_file::LocalFile;
use crate::repository::Repository;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures_util::stream;
use reqwest::header::CONTENT_LENGTH;
use reqwest::{Body, Method};
use serde::Deserialize;
use serde_json::{Value, json};

/// What the hub says of a commit.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Committed {
    pub commit_oid: String,
    #[serde(default)]
    pub pull_request_url: Option<String>,
}

/// A line of the commit.
#[derive(Clone)]
enum Line {
    Text(String),
    /// A file between two pieces of text.
    File {
        before: String,
        file: LocalFile,
        after: &'static str,
    },
}

impl Line {
    fn of(compared: &Compared<'_>) -> Line {
        let file = compared.file;
        match &compared.place {
            Place::Storage { sha256 } => {
                let value = json!({"path": file.name, "algo": "sha256", "oid": sha256, "size": file.size()});
                Line::text(&json!({"key": "lfsFile", "value": value}))
            }
            Place::Regular => Line::File {
                before: format!(
                    r#"{{"key":"file","value":{{"path":{},"encoding":"base64","content":""#,
                    Value::from(file.name.as_str())
                ),
                file: file.clone(),
                after: "\"}}\n",
            },
        }
    }

    fn text(value: &Value) -> Line {
        Line::Text(format!("{value}\n"))
    }

    fn len(&self) -> u64 {
        match self {
            Line::Text(text) => text.len() as u64,
            Line::File { before, file, after } => {
                before.len() as u64 + file.size().div_ceil(3) * 4 + after.len() as u64
            }
        }
    }

    fn render(self) -> Result<Vec<u8>, std::io::Error> {
        match self {
            Line::Text(text) => Ok(text.into_bytes()),
            Line::File { before, file, after } => {
                let content = file.content().map_err(std::io::Error::other)?;
                let mut line = before;
                BASE64_STANDARD.encode_string(content, &mut line);
                line.push_str(after);
                Ok(line.into_bytes())
            }
        }
    }
}

/// Commits these files.
///
/// # Errors
/// The hub's refusals; a file that changed. `Lost` where it may be done.
pub(crate) async fn commit(
    repository: &Repository<'_>,
    files: &[Compared<'_>],
    message: &str,
    target: For,
) -> Result<Committed, Failure> {
    let header = json!({"key": "header", "value": {"summary": message, "description": ""}});
    let mut lines = vec![Line::text(&header)];
    lines.extend(files.iter().map(Line::of));
    let length: u64 = lines.iter().map(Line::len).sum();
    let url = repository.api(&format!("/commit/{}{}", in_path(repository.revision), target.query()));
    // Rendered one by one, as they are sent.
    let body = Body::wrap_stream(stream::iter(lines.into_iter().map(Line::render)));
    let request = repository.hub.request(Method::POST, &url);
    let request = request.header("content-type", "application/x-ndjson").header(CONTENT_LENGTH, length);
    let answered: Result<Answer, Failure> = answer(request.body(body)).await;
    // A file that changed breaks the request, too.
    for compared in files {
        compared.file.check()?;
    }
    answered?.accepted()?.json("the commit")
}
