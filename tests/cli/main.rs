//! Configurations, and what is said and left on disk when they run.

mod azure;
mod azure_faults;
mod azure_here;
mod azure_job_verbs;
mod azure_jobs;
#[path = "../support/azure_project.rs"]
mod azure_project;
mod azure_transfers;
mod cache;
mod cache_key;
mod chat_config;
mod completions;
mod config;
mod data;
mod doctor;
mod evaluation;
mod evaluators;
mod hostile_folders;
mod hub;
mod init;
mod job;
mod memory;
#[path = "../../crates/tracking/tests/server/mod.rs"]
mod mlflow_server;
mod output_folder;
mod packages;
mod packaging;
mod push;
mod recipes;
mod report;
mod run;
mod run_record;
mod sandbox;
mod search;
mod search_run;
mod secrets;
#[path = "../support/mod.rs"]
mod support;
mod terminal;
mod tracking;
mod validate;
mod verbs;
mod version;
