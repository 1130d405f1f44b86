//! Azure Machine Learning on this machine, for tests.
//!
//! [`FakeAzure::start`] opens one port that is all services at once: Entra ID and the token services of machines
//! ([`identity`]), the control plane ([`workspace`], [`jobs`]), a registry ([`registry`]), run history ([`history`]), blobs in memory
//! ([`blob_service`]), Key Vault ([`vault`]). [`FakeAzure::variables`] are the environment variables that lead a client
//! there. What goes wrong is said with [`faults::Fault`], what jobs do with [`runner::JobRunner`]: a script, or with
//! [`command_runner::CommandRunner`] their own command.
//!
//! Requests are checked as the services do, and [`FakeAzure::violations`] says what is wrong with bodies by the contract; answers have the fields that Microsoft's SDK reads.

pub mod blob_list;
pub mod blob_service;
pub mod blob_store;
pub mod command_runner;
pub mod contract;
pub mod exchange;
pub mod faults;
pub mod history;
pub mod identity;
pub mod job;
pub mod jobs;
pub mod place;
pub mod registry;
pub mod router;
pub mod runner;
pub mod signature;
pub mod tokens;
pub mod traffic;
pub mod vault;
pub mod workspace;
pub mod world;

use axum::Router;
use axum::extract::Request;
use exchange::Exchange;
use faults::Fault;
use std::sync::Arc;
use world::{FakeOptions, World};

/// The services, until it is dropped.
#[derive(Debug)]
pub struct FakeAzure {
    world: Arc<World>,
    server: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl FakeAzure {
    /// Starts the services on a free port of this machine. They answer as long as the runtime of the caller runs.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn start(options: FakeOptions) -> std::io::Result<FakeAzure> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let world = Arc::new(World::new(url, options));
        let state = Arc::clone(&world);
        let handle = move |request: Request| {
            let world = Arc::clone(&state);
            async move { router::answer(&world, &Exchange::read(request).await).into_response() }
        };
        let app = Router::new().fallback(handle);
        let server = tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(FakeAzure { world, server })
    }

    pub fn url(&self) -> &str {
        &self.world.url
    }

    /// The variables that lead a client here, and sign it in as the application.
    pub fn variables(&self) -> Vec<(String, String)> {
        self.world.variables()
    }

    /// The variables that lead what runs inside of a job here, as its user and with the identity of its compute.
    pub fn job_variables(&self) -> Vec<(String, String)> {
        self.world.job_variables()
    }

    /// The blobs, the secrets, the jobs.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// A job as if somebody had submitted it, with these properties. Called where the runtime of the services is entered.
    pub fn submit(&self, name: &str, properties: serde_json::Value) -> Arc<job::Job> {
        jobs::submit(&self.world, name, properties)
    }

    /// From now on, requests like this go wrong.
    pub fn add_fault(&self, fault: Fault) {
        self.world.faults.add(fault);
    }

    /// What is wrong with the bodies that were sent so far, by the contract of the control plane.
    pub fn violations(&self) -> Vec<String> {
        let with_body = |request: &&Exchange| match request.method.as_str() {
            "PUT" => true,
            // Those that only name something to do have none.
            "POST" => !request.body.is_empty(),
            _ => false,
        };
        let requests = self.world.requests();
        let bodies = requests.iter().filter(with_body);
        bodies.flat_map(|request| contract::violations(&request.path, &request.json())).collect()
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Exchange> {
        self.world.requests().clone()
    }
}

impl Drop for FakeAzure {
    fn drop(&mut self) {
        self.server.abort();
    }
}
