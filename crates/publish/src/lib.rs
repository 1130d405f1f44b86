//! A model to the Hugging Face Hub: which of its files ([`Package`]), and how they get there ([`push`]).
//!
//! The protocol is the one of the hub's own clients without Xet: what a repository has is asked for (`preupload`), large files go
//! to the hub's storage by Git LFS (whole or in parts), and one commit of NDJSON lines names them and brings the small ones along.
//! What the storage has already is not sent again, so a push that broke off goes on file by file.

mod answer;
mod commit;
mod compare;
mod error;
mod hub;
mod left_out;
mod local_file;
mod message;
mod objects;
mod package;
mod progress;
mod push;
mod repo_id;
mod repository;
mod retry;
mod transfer;

pub use compare::State;
pub use error::PublishError;
pub use left_out::{LeftOut, Why};
pub use local_file::LocalFile;
pub use package::{Choice, Links, Package};
pub use push::{Outcome, Preview, Push, Target, preview, push};
pub use repo_id::RepoId;
pub use repository::Visibility;
