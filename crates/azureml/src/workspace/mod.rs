//! A workspace and what is in it: datastores, computes, environments, code, models, data.
//!
//! Requests have the fields of the service's specification. Answers are read tolerantly: unknown fields and unknown values
//! are what newer versions of the service have.

mod assets;
mod client;
mod compute;
mod datastore;
mod environment;
mod name;
mod resource;

pub use assets::{Data, Model, PendingUpload};
pub use client::{WorkspaceClient, WorkspaceFacts};
pub use compute::{Compute, ComputeKind, InstanceType};
pub use datastore::{Datastore, DatastoreKind, StoreAccess};
pub use environment::{EnvironmentImage, EnvironmentSpec};
pub use name::Workspace;
pub(crate) use resource::checked;
