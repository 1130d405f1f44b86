//! `olive serve`, spoken to over sockets: what OpenAI's clients and careful operators expect of it.

mod access;
mod answers;
mod client;
mod json;
mod models;
mod page;
mod protocol;
mod refusals;
mod server;
mod streams;
#[path = "../support/mod.rs"]
mod support;
mod work;
