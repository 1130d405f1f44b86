//! How a run begins and ends.

use std::path::PathBuf;

/// How a run begins.
#[derive(Debug, Clone, Default)]
pub struct RunStart {
    /// `None`: the server makes one up.
    pub name: Option<String>,
    pub params: Vec<(String, String)>,
    pub tags: Vec<(String, String)>,
    /// A file beside the state of the training, by which it goes on with the same run. It goes with the state.
    pub note: PathBuf,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Finished,
    Failed,
    /// Somebody interrupted it.
    Killed,
}

impl Status {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Status::Finished => "FINISHED",
            Status::Failed => "FAILED",
            Status::Killed => "KILLED",
        }
    }
}
