//! The repository: whether it is there, making it and its branch, and what it thinks of the card.

use crate::answer::Failure;
use crate::error::PublishError;
use crate::hub::{Hub, in_path};
use crate::repo_id::RepoId;
use olive_core::event::Event;
use serde::Deserialize;
use serde_json::{Value, json};

/// Who may see a repository that is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Visibility {
    /// As the account has it; of most, everybody.
    #[default]
    Usual,
    /// Its owner. One that is there must be private already.
    Private,
}

/// What the hub tells of a repository or of one of its branches.
#[derive(Debug, Deserialize)]
pub(crate) struct Info {
    #[serde(default)]
    pub private: bool,
    /// The commit.
    pub sha: Option<String>,
}

/// What there is of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    Nothing,
    Repository,
    /// With the branch that is pushed to.
    Branch,
}

/// How often a hub is asked again that makes another repository at the same time.
const BUSY: u32 = 10;

pub(crate) struct Repository<'a> {
    pub hub: &'a Hub<'a>,
    pub id: &'a RepoId,
    pub revision: &'a str,
}

impl Repository<'_> {
    /// Where people find it.
    pub(crate) fn page(&self) -> String {
        self.hub.url(&self.id.to_string())
    }

    pub(crate) fn api(&self, path: &str) -> String {
        self.hub.url(&format!("api/models/{}{path}", self.id))
    }

    /// What the branch is at.
    pub(crate) async fn info(&self) -> Result<Info, Failure> {
        let url = self.api(&format!("/revision/{}", in_path(self.revision)));
        self.hub.get(&url).await?.json("the state of the branch")
    }

    /// Finds out what is there.
    ///
    /// # Errors
    /// [`PublishError::Public`]; the hub's refusals.
    pub(crate) async fn find(&self, visibility: Visibility) -> Result<Found, Failure> {
        let info: Info = match self.hub.get(&self.api("")).await {
            Ok(answer) => answer.json("the state of the repository")?,
            Err(failure) if failure.status() == Some(404) => return Ok(Found::Nothing),
            Err(failure) => return Err(failure),
        };
        if visibility == Visibility::Private && !info.private {
            return Err(Failure::Local(PublishError::Public { repo: self.id.to_string() }.into()));
        }
        match self.info().await {
            Ok(_) => Ok(Found::Branch),
            // A repository without a commit has no branch yet, and gets `main` with the first.
            Err(failure) if failure.status() == Some(404) && self.revision == "main" => Ok(Found::Branch),
            Err(failure) if failure.status() == Some(404) => Ok(Found::Repository),
            Err(failure) => Err(failure),
        }
    }

    /// Makes what is missing; whether the repository is new.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub(crate) async fn ensure(&self, visibility: Visibility) -> Result<bool, Failure> {
        let found = self.find(visibility).await?;
        let is_new = found == Found::Nothing && self.create(visibility).await?;
        // A repository that could not be seen before, or one that was to be private and perhaps is not.
        if found == Found::Nothing && (!is_new || visibility == Visibility::Private) {
            let seen = self.find(visibility).await?;
            if visibility == Visibility::Private && seen == Found::Nothing {
                return Err(Failure::Odd("it does not say whether the repository is private".to_owned()));
            }
        }
        if self.revision != "main" && found != Found::Branch {
            let url = self.api(&format!("/branch/{}", in_path(self.revision)));
            match self.hub.post(&url, &json!({})).await {
                Err(failure) if failure.status() != Some(409) => return Err(failure),
                _ => {}
            }
        }
        Ok(is_new)
    }

    /// Whether it was made now.
    async fn create(&self, visibility: Visibility) -> Result<bool, Failure> {
        let RepoId { owner, name } = self.id;
        let mut body = json!({"type": "model", "name": name, "organization": owner});
        if visibility == Visibility::Private {
            body["visibility"] = json!("private");
        }
        for _ in 0..BUSY {
            match self.hub.post(&self.hub.url("api/repos/create"), &body).await {
                Ok(_) => return Ok(true),
                Err(Failure::Refused(refusal)) if refusal.status == 409 => {
                    if !refusal.message.contains("another conflicting operation") {
                        return Ok(false);
                    }
                    self.hub.wait(std::time::Duration::from_millis(500)).await;
                }
                Err(failure) => return Err(failure),
            }
        }
        Err(Failure::Odd("it makes another repository all the time".to_owned()))
    }

    /// Has the hub look at the card, before gigabytes are sent.
    ///
    /// # Errors
    /// [`PublishError::Card`].
    pub(crate) async fn check_card(&self, card: &[u8]) -> Result<(), Failure> {
        let body = json!({"content": String::from_utf8_lossy(card), "repoType": "model"});
        let refused = match self.hub.post(&self.hub.url("api/validate-yaml"), &body).await {
            Ok(answer) => {
                let said: Value = answer.json("what it thinks of the card").unwrap_or_default();
                for message in messages(&said["warnings"]) {
                    let message = format!("the hub on the model card, README.md: {message}");
                    self.hub.events.emit(Event::Warning { message });
                }
                return Ok(());
            }
            Err(Failure::Refused(refusal)) => refusal,
            Err(failure) => return Err(failure),
        };
        match refused.status {
            400 => {
                let mut reasons = messages(&refused.json["errors"]);
                if reasons.is_empty() {
                    reasons.push(refused.message.clone());
                }
                Err(Failure::Local(PublishError::Card { reasons: reasons.join("; ") }.into()))
            }
            // A mirror has no such service.
            404 | 405 => Ok(()),
            _ => Err(Failure::Refused(refused)),
        }
    }
}

fn messages(list: &Value) -> Vec<String> {
    let texts = list.as_array().into_iter().flatten().filter_map(|entry| entry["message"].as_str());
    texts.map(|text| text.chars().take(300).collect()).collect()
}
