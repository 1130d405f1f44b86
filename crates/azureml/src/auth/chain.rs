//! One source after the other, until one gives a token. From then on it is asked alone.

use super::cli::{AzureCli, AzureDeveloperCli};
use super::endpoint;
use super::environment::Application;
use super::managed::ManagedIdentity;
use super::obo::OnBehalfOf;
use super::options::CredentialOptions;
use super::source::{AccessToken, Credential, Refusal, TokenRequest};
use super::workload::WorkloadIdentity;
use crate::cloud::Endpoints;
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::transport::Transport;
use async_trait::async_trait;
use std::sync::{Arc, OnceLock};

/// Which sources `DefaultAzureCredential` asks.
const SELECTION: &str = "AZURE_TOKEN_CREDENTIALS";

/// Sources in the order in which they are asked.
#[derive(Debug)]
pub struct Chain {
    sources: Vec<Box<dyn Credential>>,
    endpoints: Arc<Endpoints>,
    chosen: OnceLock<usize>,
}

impl Chain {
    pub fn new(sources: Vec<Box<dyn Credential>>, endpoints: Arc<Endpoints>) -> Chain {
        Chain { sources, endpoints, chosen: OnceLock::new() }
    }

    /// Environment, workload identity, managed identity, Azure CLI, Azure Developer CLI: those that are neither excluded
    /// nor left out by `AZURE_TOKEN_CREDENTIALS`.
    ///
    /// # Errors
    /// The variable selects nothing that is known.
    pub fn standard(
        environment: &Environment,
        options: &CredentialOptions,
        endpoints: &Arc<Endpoints>,
        transport: &Transport,
    ) -> Result<Chain> {
        let machine = endpoint::direct(transport)?;
        let sources = standard(environment, options, endpoints, transport, &machine)?;
        Ok(Chain::new(sources, Arc::clone(endpoints)))
    }

    /// Inside of a job: the user who submitted it, then the same as elsewhere, where the compute's identity is first of
    /// what there is.
    ///
    /// # Errors
    /// As for [`Chain::standard`].
    pub fn in_job(
        environment: &Environment,
        options: &CredentialOptions,
        endpoints: &Arc<Endpoints>,
        transport: &Transport,
    ) -> Result<Chain> {
        let machine = endpoint::direct(transport)?;
        let mut sources: Vec<Box<dyn Credential>> = vec![
            Box::new(OnBehalfOf::new(environment, Arc::clone(endpoints), &machine)),
            Box::new(ManagedIdentity::of_job(environment, options, Arc::clone(endpoints), &machine)),
        ];
        sources.extend(standard(environment, options, endpoints, transport, &machine)?);
        Ok(Chain::new(sources, Arc::clone(endpoints)))
    }
}

/// A source, and whether it is meant for machines or for people who develop.
struct Listed {
    source: Box<dyn Credential>,
    kind: Kind,
    is_excluded: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Production,
    Developer,
}

fn standard(
    environment: &Environment,
    options: &CredentialOptions,
    endpoints: &Arc<Endpoints>,
    transport: &Transport,
    machine: &Transport,
) -> Result<Vec<Box<dyn Credential>>> {
    let endpoints = || Arc::clone(endpoints);
    let all = [
        Listed {
            source: Box::new(Application::new(environment, endpoints(), transport)),
            kind: Kind::Production,
            is_excluded: options.exclude_environment_credential,
        },
        Listed {
            source: Box::new(WorkloadIdentity::new(environment, options, endpoints(), transport)),
            kind: Kind::Production,
            is_excluded: options.exclude_workload_identity_credential,
        },
        Listed {
            source: Box::new(ManagedIdentity::new(environment, options, endpoints(), machine)),
            kind: Kind::Production,
            is_excluded: options.exclude_managed_identity_credential,
        },
        Listed {
            source: Box::new(AzureCli::new(environment, options, endpoints())),
            kind: Kind::Developer,
            is_excluded: options.exclude_cli_credential,
        },
        Listed {
            source: Box::new(AzureDeveloperCli::new(environment, options, endpoints())),
            kind: Kind::Developer,
            is_excluded: options.exclude_developer_cli_credential,
        },
    ];
    let selection = environment.get(SELECTION).map(|text| Selection::new(text, &all)).transpose()?;
    let is_asked = |listed: &Listed| {
        !listed.is_excluded && selection.as_ref().is_none_or(|selection| selection.includes(listed))
    };
    Ok(all.into_iter().filter(is_asked).map(|listed| listed.source).collect())
}

/// What the variable selects.
enum Selection {
    Kind(Kind),
    Name(&'static str),
}

impl Selection {
    fn new(text: &str, all: &[Listed]) -> Result<Selection> {
        match text.to_ascii_lowercase().as_str() {
            "prod" => return Ok(Selection::Kind(Kind::Production)),
            "dev" => return Ok(Selection::Kind(Kind::Developer)),
            _ => {}
        }
        let names: Vec<&'static str> = all.iter().map(|listed| listed.source.name()).collect();
        match names.iter().find(|name| name.eq_ignore_ascii_case(text)) {
            Some(name) => Ok(Selection::Name(name)),
            None => Err(Error::Variable {
                name: SELECTION,
                value: text.into(),
                expected: format!("expected prod, dev, {}", names.join(", ")),
            }),
        }
    }

    fn includes(&self, listed: &Listed) -> bool {
        match self {
            Selection::Kind(kind) => listed.kind == *kind,
            Selection::Name(name) => listed.source.name() == *name,
        }
    }
}

#[async_trait]
impl Credential for Chain {
    fn name(&self) -> &'static str {
        "DefaultAzureCredential"
    }

    async fn token(&self, request: &TokenRequest) -> Result<AccessToken, Refusal> {
        if let Some(chosen) = self.chosen.get() {
            return self.sources[*chosen].token(request).await;
        }
        let mut tried = Vec::new();
        for (index, source) in self.sources.iter().enumerate() {
            match source.token(request).await {
                Ok(token) => {
                    // Another request may have been first: both tokens are good.
                    let _ = self.chosen.set(index);
                    tracing::debug!(source = source.name(), "the source of tokens");
                    return Ok(token);
                }
                Err(Refusal::Unavailable(why)) => tried.push((source.name(), why)),
                Err(Refusal::Failed(error)) => return Err(Refusal::Failed(error)),
            }
        }
        let resource = self.endpoints.resource(request.scope);
        Err(Refusal::Failed(Error::Auth { resource, tried }))
    }

    fn chosen(&self) -> Option<&'static str> {
        self.chosen.get().map(|index| self.sources[*index].name())
    }
}
