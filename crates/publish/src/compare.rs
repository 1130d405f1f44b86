//! What of the files the repository has already.

use crate::answer::Failure;
use crate::error::PublishError;
use crate::hub::in_path;
use crate::local_file::{LocalFile, git_blob_id};
use crate::progress::Counter;
use crate::repository::Repository;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;

/// Files in one request.
pub(crate) const BATCH: usize = 256;

/// The largest file that is put into a commit itself. The hub has text of up to 10 MB there.
const LARGEST_REGULAR: u64 = 32 << 20;

/// How a file stands to the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    New,
    Changed,
    /// Equal: it is not sent.
    Same,
    /// The repository's `.gitignore` names it: it is not sent.
    Ignored,
}

/// Where the hub keeps a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the commit.
    Regular,
    /// In its storage, under this SHA-256.
    Storage { sha256: String },
}

/// A file, and what is to be done with it.
#[derive(Debug, Clone)]
pub(crate) struct Compared<'a> {
    pub file: &'a LocalFile,
    pub state: State,
    pub place: Place,
}

impl Compared<'_> {
    pub(crate) fn is_sent(&self) -> bool {
        matches!(self.state, State::New | State::Changed)
    }

    pub(crate) fn is_in_storage(&self) -> bool {
        matches!(self.place, Place::Storage { .. })
    }
}

/// What the hub says of a file.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    path: String,
    upload_mode: Mode,
    #[serde(default)]
    should_ignore: bool,
    /// Of the file that is there: a SHA-256 for one of the storage, else Git's.
    #[serde(default)]
    oid: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Lfs,
    Regular,
}

#[derive(Deserialize)]
struct Answered {
    files: Vec<Told>,
}

/// Whether a commit is for a branch or for a request that its owner looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum For {
    Branch,
    PullRequest,
}

impl For {
    /// What is added to an address.
    pub(crate) fn query(self) -> &'static str {
        match self {
            For::Branch => "",
            For::PullRequest => "?create_pr=1",
        }
    }
}

/// Asks where the hub keeps the files and what it has of them, and reads them all for their hashes.
///
/// # Errors
/// The hub's refusals; [`PublishError::Token`], [`PublishError::Changed`], [`PublishError::TooLarge`]; a file that cannot be read.
pub(crate) async fn compare<'a>(
    repository: &Repository<'_>,
    files: &'a [LocalFile],
    target: For,
    token: &str,
    read: &Counter,
) -> Result<Vec<Compared<'a>>, Failure> {
    let mut told = BTreeMap::new();
    for batch in files.chunks(BATCH) {
        let answered = ask(repository, batch, target).await?;
        told.extend(answered.into_iter().map(|file| (file.path.clone(), file)));
    }
    let mut compared = Vec::with_capacity(files.len());
    for file in files {
        let told = told.get(&file.name);
        let told = told.ok_or_else(|| Failure::Odd("it does not say where to keep a file".to_owned()))?;
        compared.push(look_at(file, told, token, read).await?);
    }
    Ok(compared)
}

/// For a repository that is not there, and whose places are not known: all files are new.
pub(crate) fn all_new(files: &[LocalFile]) -> Vec<Compared<'_>> {
    files.iter().map(|file| Compared { file, state: State::New, place: Place::Regular }).collect()
}

async fn ask(repository: &Repository<'_>, files: &[LocalFile], target: For) -> Result<Vec<Told>, Failure> {
    let mut list = Vec::with_capacity(files.len());
    for file in files {
        let sample = BASE64_STANDARD.encode(file.sample()?);
        list.push(json!({"path": file.name, "size": file.size(), "sample": sample}));
    }
    let url = repository.api(&format!("/preupload/{}{}", in_path(repository.revision), target.query()));
    let answer = repository.hub.post(&url, &json!({"files": list})).await?;
    Ok(answer.json::<Answered>("where to keep the files")?.files)
}

async fn look_at<'a>(
    file: &'a LocalFile,
    told: &Told,
    token: &str,
    read: &Counter,
) -> Result<Compared<'a>, Failure> {
    if told.should_ignore {
        read.add(file.size());
        return Ok(Compared { file, state: State::Ignored, place: Place::Regular });
    }
    // The storage takes no empty files.
    let (id, place) = if told.upload_mode == Mode::Lfs && file.size() > 0 {
        let sha256 = file.sha256(|bytes| read.add(bytes)).await?;
        (sha256.clone(), Place::Storage { sha256 })
    } else {
        if file.size() > LARGEST_REGULAR {
            return Err(Failure::Local(PublishError::TooLarge { name: file.name.clone() }.into()));
        }
        let content = file.content()?;
        if holds_token(&content, token) {
            return Err(Failure::Local(PublishError::Token { path: file.path.clone() }.into()));
        }
        read.add(content.len() as u64);
        (git_blob_id(&content), Place::Regular)
    };
    let state = match &told.oid {
        None => State::New,
        Some(oid) if oid.eq_ignore_ascii_case(&id) => State::Same,
        Some(_) => State::Changed,
    };
    Ok(Compared { file, state, place })
}

/// Whether a text holds the token that it is pushed with, or anybody's: `hf_` and 34 letters.
fn holds_token(content: &[u8], token: &str) -> bool {
    const PREFIX: &[u8] = b"hf_";
    const LETTERS: usize = 34;
    let is_token = |at: usize| {
        let rest = &content[at + PREFIX.len()..];
        rest.len() >= LETTERS && rest[..LETTERS].iter().all(u8::is_ascii_alphanumeric)
    };
    let found = |needle: &[u8]| content.windows(needle.len()).any(|window| window == needle);
    (token.len() >= 8 && found(token.as_bytes()))
        || content.windows(PREFIX.len()).enumerate().any(|(at, window)| window == PREFIX && is_token(at))
}

#[cfg(test)]
mod tests {
    use super::holds_token;

    #[test]
    fn tokens_are_seen_in_texts() {
        let other = format!("a: hf_{}", "aB3".repeat(12));
        for (text, expected) in [
            ("{\"token\": \"my-own-token\"}", true),
            (other.as_str(), true),
            ("hf_hub_download(hf_token)", false),
            ("hf_short1", false),
            ("hf_", false),
            ("", false),
        ] {
            assert_eq!(holds_token(text.as_bytes(), "my-own-token"), expected, "{text}");
        }
        assert!(!holds_token(b"anything", ""), "no token is in no text");
    }
}
