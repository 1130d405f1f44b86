//! What a person is told of a failure, and what to do about it.

use crate::answer::{Failure, Refusal};
use crate::error::PublishError;
use crate::repo_id::RepoId;
use olive_core::secrets;

/// What to tell a person about a push that failed.
pub(crate) fn tell(repo: &RepoId, endpoint: &str, failure: Failure) -> olive_core::Error {
    let again = "push again: what was sent is not sent again";
    let (reason, hint) = match failure {
        Failure::Local(error) => return error,
        Failure::Lost { reason } => (
            format!("the hub cannot be reached ({reason})"),
            format!("check the network and HF_ENDPOINT ({endpoint}), and {again}"),
        ),
        Failure::Odd(reason) => {
            (format!("the answer is not one of the hub: {reason}"), "check HF_ENDPOINT".to_owned())
        }
        Failure::Storage { name, status, message } => {
            let message = said(&message);
            let hint = if is_full(status, &message) { FULL } else { again };
            (format!("its storage does not take `{name}` ({status}){message}"), hint.to_owned())
        }
        Failure::Refused(refusal) => refused(repo, *refusal, again),
    };
    // Servers repeat what they were sent.
    let reason = secrets::hidden(&reason).into_owned();
    PublishError::Hub { repo: repo.to_string(), reason, hint }.into()
}

const FULL: &str = "free storage of the account, or get more of it: settings/billing of the hub";

fn said(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

/// Whether there is no room for more.
fn is_full(status: u16, message: &str) -> bool {
    let message = message.to_lowercase();
    matches!(status, 402 | 507) || message.contains("quota") || message.contains("storage limit")
}

fn refused(repo: &RepoId, refusal: Refusal, again: &str) -> (String, String) {
    let Refusal { status, message, location, .. } = refusal;
    let owner = &repo.owner;
    let rest = said(&message);
    let (reason, hint) = match status {
        300..=399 => {
            let place = location.map(|place| format!(": {place}")).unwrap_or_default();
            (format!("it has another name now ({status}){place}"), "push to that name".to_owned())
        }
        _ if is_full(status, &message) => {
            (format!("the hub has no room for it ({status}){rest}"), FULL.to_owned())
        }
        401 => (
            format!("the hub does not know the token (401){rest}"),
            "check HF_TOKEN, or `olive login` anew".to_owned(),
        ),
        403 => (
            format!("the token may not write to it (403){rest}"),
            format!(
                "make a token with write access to `{owner}` on the page settings/tokens of the hub, then `olive login`; \
                 to a repository of others, --create-pr proposes the change"
            ),
        ),
        404 => (
            format!("there is no such repository, or the token may not see it (404){rest}"),
            "check the name and the token".to_owned(),
        ),
        400 => (
            format!("the hub does not take it (400){rest}"),
            "check the names of the repository, the branch and the files".to_owned(),
        ),
        409 | 412 => {
            (format!("somebody else changes it at the same time ({status}){rest}"), again.to_owned())
        }
        413 => (
            "the commit is too large (413)".to_owned(),
            "push fewer files at a time, with --include".to_owned(),
        ),
        429 => (
            format!("the hub asks to slow down (429){rest}"),
            "push again later: what was sent is not sent again".to_owned(),
        ),
        _ => (format!("the hub answers {status}{rest}"), again.to_owned()),
    };
    (reason, hint)
}
