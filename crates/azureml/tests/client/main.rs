//! The client against a service on this machine: tokens from all sources, retries, operations, pages, vaults, workspaces.

mod assets;
mod auth;
mod auth_machine;
mod clouds;
#[path = "../contract/mod.rs"]
mod contract;
mod http;
mod jobs;
mod keyvault;
mod registry;
mod runs;
mod support;
mod tokens;
mod workspace;
