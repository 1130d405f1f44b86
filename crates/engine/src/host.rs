//! Where a step is meant to run.

use crate::EngineError;
use olive_config::{AzureMlSystem, System, SystemKind};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What `host` of a pass, or of the engine, comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    ThisMachine,
    /// An entry of `systems`.
    System {
        name: String,
        kind: SystemKind,
    },
    /// An entry of `systems` whose jobs run passes.
    AzureMl {
        name: String,
        system: Arc<AzureMlSystem>,
    },
}

impl Host {
    /// `name` is that of a system; without one it is this machine.
    pub fn of(name: Option<&str>, systems: &BTreeMap<String, System>) -> Host {
        let named = name.and_then(|name| systems.get_key_value(name));
        named.map_or(Host::ThisMachine, |(name, system)| match &system.azure_ml {
            Some(azure_ml) => Host::AzureMl { name: name.clone(), system: Arc::clone(azure_ml) },
            None => Host::System { name: name.clone(), kind: system.kind },
        })
    }

    /// Whether passes run in this process.
    pub fn is_here(&self) -> bool {
        match self {
            Host::ThisMachine => true,
            Host::System { kind, .. } => *kind == SystemKind::Local,
            Host::AzureMl { .. } => false,
        }
    }

    /// The compute whose jobs run passes.
    pub fn azure_ml(&self) -> Option<&AzureMlSystem> {
        match self {
            Host::AzureMl { system, .. } => Some(system),
            _ => None,
        }
    }

    /// Whether the files that the host is given from this machine are there.
    ///
    /// # Errors
    /// [`EngineError::HostFile`]: the first that is not.
    pub(crate) fn check_files(&self) -> Result<(), EngineError> {
        let Host::AzureMl { name, system } = self else { return Ok(()) };
        match system.files().into_iter().find(|(_, path)| !path.is_file()) {
            Some((option, path)) => Err(EngineError::HostFile { system: name.clone(), option, path }),
            None => Ok(()),
        }
    }

    /// The name in `systems`.
    pub fn name(&self) -> Option<&str> {
        match self {
            Host::ThisMachine => None,
            Host::System { name, .. } | Host::AzureMl { name, .. } => Some(name),
        }
    }
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Host::ThisMachine => write!(f, "this machine"),
            Host::System { name, kind } => write!(f, "`{name}` ({})", kind.name()),
            Host::AzureMl { name, system } => {
                write!(f, "`{name}` ({}, compute {})", SystemKind::AzureMl.name(), system.compute)
            }
        }
    }
}
