//! Passes on other machines.
//!
//! A chain of passes becomes a *job*: [`pack`] writes what it is told ([`JobDescription`]) and names the files that it needs
//! ([`Package`]); a system brings both to another machine, where the same program does the work ([`work()`]) and lays out
//! what it made ([`results`]); here the artefacts are taken into the cache under the keys that they would have if they had been
//! made here. Which service runs the job is not known to any of them.

pub mod azureml;
mod contents;
mod copies;
mod description;
mod error;
mod mirror;
pub mod pack;
mod program;
pub mod results;
mod work;

pub use description::{Contents, FORMAT, JobData, JobDescription, JobFiles, JobModel, Place};
pub use error::SystemError;
pub use pack::{Package, Source};
pub use work::{JobFolders, work};
