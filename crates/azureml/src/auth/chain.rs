//! One source after the other, until one gives a token. From then on it is asked alone.

use super::cli::{AzureCli, AzureDeveloperCli};
use super::environment::ClientSecret;
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
        let sources = standard(environment, options, endpoints, transport)?;
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
        let mut sources: Vec<Box<dyn Credential>> = vec![
            Box::new(OnBehalfOf::new(environment, Arc::clone(endpoints), transport)?),
            Box::new(ManagedIdentity::of_job(environment, options, Arc::clone(endpoints), transport)?),
        ];
        sources.extend(standard(environment, options, endpoints, transport)?);
        Ok(Chain::new(sources, Arc::clone(endpoints)))
    }
}

/// A source by its name, and whether it is meant for machines or for people who develop.
struct Listed<'a> {
    name: &'static str,
    kind: Kind,
    is_excluded: bool,
    make: Box<dyn Fn() -> Result<Box<dyn Credential>> + 'a>,
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
) -> Result<Vec<Box<dyn Credential>>> {
    let all = [
        Listed {
            name: ClientSecret::NAME,
            kind: Kind::Production,
            is_excluded: options.exclude_environment_credential,
            make: Box::new(|| Ok(Box::new(ClientSecret::new(environment, Arc::clone(endpoints), transport)))),
        },
        Listed {
            name: WorkloadIdentity::NAME,
            kind: Kind::Production,
            is_excluded: options.exclude_workload_identity_credential,
            make: Box::new(|| {
                Ok(Box::new(WorkloadIdentity::new(environment, options, Arc::clone(endpoints), transport)))
            }),
        },
        Listed {
            name: ManagedIdentity::NAME,
            kind: Kind::Production,
            is_excluded: options.exclude_managed_identity_credential,
            make: Box::new(|| {
                Ok(Box::new(ManagedIdentity::new(environment, options, Arc::clone(endpoints), transport)?))
            }),
        },
        Listed {
            name: AzureCli::NAME,
            kind: Kind::Developer,
            is_excluded: options.exclude_cli_credential,
            make: Box::new(|| Ok(Box::new(AzureCli::new(environment, options, Arc::clone(endpoints))))),
        },
        Listed {
            name: AzureDeveloperCli::NAME,
            kind: Kind::Developer,
            is_excluded: options.exclude_developer_cli_credential,
            make: Box::new(|| {
                Ok(Box::new(AzureDeveloperCli::new(environment, options, Arc::clone(endpoints))))
            }),
        },
    ];
    let selected: Vec<&Listed<'_>> = match environment.get(SELECTION) {
        None => all.iter().collect(),
        Some(selection) => selected(&all, selection)?,
    };
    selected.into_iter().filter(|source| !source.is_excluded).map(|source| (source.make)()).collect()
}

/// Those that the variable selects: a kind, or one by its name.
fn selected<'a, 'b>(all: &'b [Listed<'a>], selection: &str) -> Result<Vec<&'b Listed<'a>>> {
    let kind = match selection.to_ascii_lowercase().as_str() {
        "prod" => Some(Kind::Production),
        "dev" => Some(Kind::Developer),
        _ => None,
    };
    let is_selected = |source: &&Listed<'_>| match kind {
        Some(kind) => source.kind == kind,
        None => source.name.eq_ignore_ascii_case(selection),
    };
    let selected: Vec<_> = all.iter().filter(is_selected).collect();
    if selected.is_empty() {
        let names: Vec<&str> = all.iter().map(|source| source.name).collect();
        return Err(Error::Variable {
            name: SELECTION,
            value: selection.into(),
            expected: format!("expected prod, dev, {}", names.join(", ")),
        });
    }
    Ok(selected)
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
        Err(Refusal::Failed(Error::Auth { resource, tried, advice: None }))
    }

    fn chosen(&self) -> Option<&'static str> {
        self.chosen.get().map(|index| self.sources[*index].name())
    }
}
