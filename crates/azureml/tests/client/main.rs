//! The client against a service on this machine: tokens from all sources, retries, operations, pages, vaults, workspaces.

mod auth;
mod auth_machine;
mod http;
mod keyvault;
mod support;
mod tokens;
mod workspace;
