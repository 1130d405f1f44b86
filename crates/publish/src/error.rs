//! What can be wrong with a push.

use olive_core::{Fault, shown};
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error("`{given}` is no name of a repository: {reason}")]
    Name { given: String, reason: &'static str },
    #[error("`{given}` is no name of a branch")]
    Branch { given: String },
    #[error("`{given}` is no pattern: {reason}")]
    Pattern { given: String, reason: String },
    #[error("there is no folder or file `{}`", shown(path))]
    NotThere { path: PathBuf },
    #[error("there is nothing to push in `{}`", shown(path))]
    Nothing { path: PathBuf },
    #[error("`{}` is a symbolic link, and leads {place}", shown(path))]
    Link { path: PathBuf, place: &'static str },
    #[error("`{}` cannot be named in a repository: it {reason}", shown(path))]
    FileName { path: PathBuf, reason: String },
    #[error("`{}` changed while it was pushed", shown(path))]
    Changed { path: PathBuf },
    #[error("`{}` holds what looks like a token of the hub", shown(path))]
    Token { path: PathBuf },
    #[error("the hub would have `{name}` in the commit itself, which is too large for that")]
    TooLarge { name: String },
    #[error("a push needs the hub, and this run is offline")]
    Offline,
    #[error("there is no token of the hub")]
    NoToken,
    #[error("`{repo}` is public, and was to be private")]
    Public { repo: String },
    #[error("the hub does not take the model card, README.md: {reasons}")]
    Card { reasons: String },
    #[error("`{repo}` could not be pushed to: {reason}")]
    Hub { repo: String, reason: String, hint: String },
}

impl Fault for PublishError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            PublishError::Name { .. } => "it is `user/name` or `organisation/name`",
            PublishError::Branch { .. } => "a branch has letters, digits, `-`, `_`, `.` and `/`",
            PublishError::Pattern { .. } => "such as `*.safetensors` or `onnx/*`",
            PublishError::NotThere { .. } => "paths are relative to the folder the command was started in",
            PublishError::Nothing { .. } => "`--dry-run` says what is left out and why",
            PublishError::Link { .. } => {
                "--follow-links pushes what links lead to; --exclude leaves the file out"
            }
            PublishError::FileName { .. } => "rename it, or leave it out with --exclude",
            PublishError::Changed { .. } => {
                "push again when nothing writes into the folder: what was sent of the others is kept"
            }
            PublishError::Token { .. } => "take it out of the file, or leave the file out with --exclude",
            PublishError::TooLarge { .. } => "check HF_ENDPOINT",
            PublishError::Offline => "run without --offline, --sandbox and HF_HUB_OFFLINE",
            PublishError::NoToken => {
                "`olive login` keeps one (or set HF_TOKEN): make it with write access on the page settings/tokens of the hub"
            }
            PublishError::Public { .. } => {
                "make it private on its page (settings), push to another name, or leave out --private"
            }
            PublishError::Card { .. } => "correct the lines between `---` at its top",
            PublishError::Hub { hint, .. } => hint,
        };
        Some(hint.to_owned())
    }

    /// 2 where the call names what is not there or cannot be, else 1.
    fn exit_code(&self) -> u8 {
        match self {
            PublishError::Name { .. }
            | PublishError::Branch { .. }
            | PublishError::Pattern { .. }
            | PublishError::NotThere { .. }
            | PublishError::Offline
            | PublishError::NoToken => 2,
            _ => 1,
        }
    }
}
