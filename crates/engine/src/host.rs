//! Where a step is meant to run.

use olive_config::{System, SystemKind};
use std::collections::BTreeMap;

/// What `host` of a pass, or of the engine, comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    ThisMachine,
    /// An entry of `systems`.
    System {
        name: String,
        kind: SystemKind,
    },
}

impl Host {
    /// `name` is that of a system; without one it is this machine.
    pub fn of(name: Option<&str>, systems: &BTreeMap<String, System>) -> Host {
        let named = name.and_then(|name| systems.get_key_value(name));
        named.map_or(Host::ThisMachine, |(name, system)| Host::System {
            name: name.clone(),
            kind: system.kind,
        })
    }

    /// The name in `systems`.
    pub fn name(&self) -> Option<&str> {
        match self {
            Host::ThisMachine => None,
            Host::System { name, .. } => Some(name),
        }
    }
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Host::ThisMachine => write!(f, "this machine"),
            Host::System { name, kind } => write!(f, "`{name}` ({})", kind.name()),
        }
    }
}
