//! A client of Azure Machine Learning: it signs in, submits and watches jobs, moves files to and from blobs, and knows
//! nothing of what the jobs do.
//!
//! [`http::Client`] sends authenticated [`http::Call`]s. It gets its tokens from [`auth`], its addresses from [`cloud`],
//! and retries by [`retry`]. What a workspace has is in [`workspace`]; the secrets of a
//! vault are in [`keyvault`].
//!
//! [`tree`], [`ignore`] and [`hash`] say what of a local folder is uploaded and under which hash, [`uri`] how files
//! and assets are named. [`upload`] and [`download`] move files to and from a [`blob::Container`].
//!
//! A [`job::CommandJob`] is submitted and looked at with [`jobs`], watched with [`logs`], and what it wrote is found
//! with [`history`].
//!
//! Nothing reads the environment of the process besides [`environment::Environment::of_process`], and nothing but
//! [`clock::SystemClock`] the time.

pub mod auth;
pub mod blob;
pub mod clock;
pub mod cloud;
pub mod cloud_metadata;
mod described_cloud;
pub mod download;
pub mod environment;
pub mod error;
pub mod hash;
pub mod history;
pub mod http;
pub mod ignore;
pub mod job;
pub mod jobs;
pub mod keyvault;
pub mod locate;
pub mod logs;
pub mod operation;
pub mod paging;
pub mod registry;
pub mod repetition;
pub mod retry;
pub mod safe_url;
pub mod secret;
pub mod service_error;
pub mod status;
pub mod transfer;
pub mod transport;
pub mod tree;
pub mod upload;
pub mod uri;
pub mod workspace;

pub use error::{Error, Result};
