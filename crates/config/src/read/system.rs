//! `systems`, and the references to them.

use super::accelerator::{self, ACCELERATORS_EXAMPLE, Implicit, Missing, check_providers};
use super::azureml_system::SystemBlock;
use super::resource::Consumer;
use crate::fields::{Fields, GivenOption};
use crate::findings::Findings;
use crate::names::{list_names, nearest};
use crate::node::{Node, NodeValue};
use crate::option::Block;
use crate::origin::Era;
use crate::place::join;
use crate::run_config::{System, SystemKind};
use crate::tables::{
    AZURE_MACHINES, AZURE_ML, DOCKER, ISOLATED_ORT, LOCAL_SYSTEM, PROVIDERS, PYTHON_ENVIRONMENT,
};
use crate::values::Values;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// An object of systems, as it stands in the file.
struct Written<'n> {
    node: &'n Node,
    path: String,
    /// Olive's name for a whole machine, such as `AzureND12SSystem`, which has GPUs.
    machine: Option<&'static str>,
    /// What its accelerators leave out, which only a target must say.
    implicit: Vec<Implicit>,
}

/// What a system is referred to for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It runs passes.
    Host,
    /// The result is made for it.
    Target,
}

pub(super) struct Systems<'n> {
    map: BTreeMap<String, System>,
    /// Those of the type AzureML.
    azure_ml: BTreeMap<String, Written<'n>>,
    /// `azureml_client` of the top level.
    client: Option<GivenOption<'n>>,
    /// In the order of the file, also those that are broken: a reference to them is not dangling.
    names: Vec<String>,
    /// `engine.execution_providers` of Olive up to 0.5.
    providers: Vec<String>,
    local: bool,
    /// `systems` cannot be read, so references into it are not to blame.
    broken: bool,
    /// Systems about which it was said that they cannot be used, or that were looked at.
    said: BTreeSet<String>,
}

const TYPES: [(&str, SystemKind); 5] = [
    ("LocalSystem", SystemKind::Local),
    ("AzureML", SystemKind::AzureMl),
    ("Docker", SystemKind::Docker),
    ("PythonEnvironment", SystemKind::PythonEnvironment),
    ("IsolatedORT", SystemKind::IsolatedOrt),
];

impl SystemKind {
    /// In Olive's spelling.
    pub fn name(self) -> &'static str {
        TYPES.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    fn block(self) -> &'static Block {
        match self {
            SystemKind::Local => &LOCAL_SYSTEM,
            SystemKind::AzureMl => &AZURE_ML,
            SystemKind::Docker => &DOCKER,
            SystemKind::PythonEnvironment => &PYTHON_ENVIRONMENT,
            SystemKind::IsolatedOrt => &ISOLATED_ORT,
        }
    }

    /// Olive also had names for whole machines, those of AzureML and of Surface.
    fn from_name(name: &str) -> Option<SystemKind> {
        let known = TYPES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, kind)| *kind);
        let lower = name.to_lowercase();
        known.or(match &lower {
            _ if machine(name).is_some() => Some(SystemKind::AzureMl),
            name if name.starts_with("surface") && name.contains("system") => Some(SystemKind::Local),
            _ => None,
        })
    }
}

/// Olive's name for a machine of AzureML.
fn machine(name: &str) -> Option<&'static str> {
    AZURE_MACHINES.into_iter().find(|known| known.eq_ignore_ascii_case(name))
}

impl<'n> Systems<'n> {
    pub(super) fn read(
        root: &Fields<'n>,
        values: &Values,
        local: bool,
        findings: &mut Findings,
    ) -> Systems<'n> {
        let providers = values.texts("execution_providers").unwrap_or_default();
        let mut systems = Systems {
            map: BTreeMap::new(),
            azure_ml: BTreeMap::new(),
            client: root.found("azureml_client").cloned(),
            names: Vec::new(),
            providers,
            local,
            broken: false,
            said: BTreeSet::new(),
        };
        if let Some(found) = root.found("execution_providers") {
            check_providers(&mut systems.providers, found.node, &found.path, findings);
        }
        let Some(found) = root.found("systems") else {
            systems.broken = !root.lacks("systems");
            return systems;
        };
        let Some(entries) = found.node.as_object() else {
            systems.broken = true;
            let message = format!("expected systems by name, found {}", found.node.describe());
            findings.error(found.node.at, &found.path, message, None);
            return systems;
        };
        for entry in entries.iter().filter(|entry| !entry.key.starts_with("x-")) {
            systems.add(&entry.key, &entry.node, join(&found.path, &entry.key), findings);
        }
        systems
    }

    /// Reads a system under this name. `None`: it cannot be read, and that was said.
    fn add(&mut self, name: &str, node: &'n Node, path: String, findings: &mut Findings) -> Option<()> {
        self.names.push(name.to_owned());
        if node.as_object().is_none() {
            findings.error(node.at, path, format!("expected a system, found {}", node.describe()), None);
            return None;
        }
        let known = || Some(format!("the types are {}", list_names(TYPES.map(|(name, _)| name))));
        let Some(r#type) = node.get("type") else {
            findings.error(node.at, path, "the system needs `type`", known());
            return None;
        };
        let type_name = r#type.as_text().unwrap_or_default();
        let Some(kind) = SystemKind::from_name(type_name) else {
            let names = TYPES.iter().map(|(name, _)| *name).chain(AZURE_MACHINES);
            let near = nearest(type_name, names).map(|near| format!("did you mean `{near}`?"));
            let message = format!("expected the type of a system, found {}", r#type.describe());
            findings.error(r#type.at, join(&path, "type"), message, near.or_else(known));
            return None;
        };
        let fields = Fields::open(node, &path, kind.block(), findings);
        let values = fields.resolve(Era::New, findings);
        let mut implicit = Vec::new();
        let mut accelerators = match fields.found("accelerators") {
            Some(found) => accelerator::read(found, &self.providers, &mut implicit, findings),
            None => Vec::new(),
        };
        let machine = machine(type_name);
        if machine.is_some() {
            accelerators.retain(|accelerator| accelerator.device == "gpu");
            implicit.retain(|implicit| implicit.device == "gpu");
        }
        if kind == SystemKind::AzureMl {
            SystemBlock::read(&fields, values, findings);
            self.azure_ml.insert(name.to_owned(), Written { node, path, machine, implicit });
        }
        self.map.insert(name.to_owned(), System { kind, accelerators, azure_ml: None });
        Some(())
    }

    /// The name of the system that an option refers to, if it can be what it is meant for.
    pub(super) fn reference(
        &mut self,
        found: Option<&GivenOption<'n>>,
        role: Role,
        findings: &mut Findings,
    ) -> Option<String> {
        let found = found?;
        let name = self.name(found, findings)?;
        let kind = self.map.get(&name)?.kind;
        if self.local {
            if kind != SystemKind::Local && self.said.insert(name.clone()) {
                let kind = kind.name();
                let message =
                    format!("`{name}` ({kind}) is left alone: every pass runs on this machine (--local)");
                findings.warn(found.at, &found.path, message);
            }
            return Some(name);
        }
        match kind {
            SystemKind::Local => {}
            SystemKind::AzureMl => match role {
                Role::Host => self.check_host(&name, findings),
                Role::Target => self.check_target(&name, findings),
            },
            _ if self.said.insert(name.clone()) => {
                let message = format!(
                    "`{name}` is of the type {}, and passes cannot run on remote systems yet",
                    kind.name()
                );
                let hint = "--local runs every pass on this machine";
                findings.refuse(found.node.at, &found.path, message, Some(hint.into()));
            }
            _ => {}
        }
        Some(name)
    }

    /// The name that an option gives; a system that stands there itself is called like the option.
    fn name(&mut self, found: &GivenOption<'n>, findings: &mut Findings) -> Option<String> {
        match &found.node.value {
            NodeValue::Text(_) if self.broken => None,
            NodeValue::Text(name) if self.names.contains(name) => Some(name.clone()),
            NodeValue::Text(name) => {
                let hint = nearest(name, self.names.iter().map(String::as_str)).map_or_else(
                    || format!("`systems` has {}", list_names(self.names.iter().map(String::as_str))),
                    |near| format!("did you mean `{near}`?"),
                );
                let message = format!("there is no system `{name}`");
                findings.error(found.node.at, &found.path, message, Some(hint));
                None
            }
            NodeValue::Object(_) => {
                self.add(&found.path, found.node, found.path.clone(), findings)?;
                Some(found.path.clone())
            }
            _ => {
                let message = format!("expected the name of a system, found {}", found.node.describe());
                findings.error(found.node.at, &found.path, message, None);
                None
            }
        }
    }

    /// Whether jobs can be made for a system.
    fn check_host(&mut self, name: &str, findings: &mut Findings) {
        let (Some(written), Some(system)) = (self.azure_ml.get(name), self.map.get_mut(name)) else { return };
        if !self.said.insert(name.to_owned()) {
            return;
        }
        written.check_machine(system, findings);
        let fields = Fields::open(written.node, &written.path, &AZURE_ML, findings);
        let values = fields.resolve(Era::New, findings);
        let checked = SystemBlock::read(&fields, values, findings).checked(self.client.as_ref(), findings);
        let Some(checked) = checked else { return };
        let gpu = system.accelerators.iter().any(|accelerator| accelerator.device == "gpu");
        if gpu && checked.binary.is_none() && !olive_core::device::built_with_cuda() {
            let message = "jobs run this program, which was built without CUDA: they use no GPU";
            let hint = "name a program that was built with CUDA in `binary`";
            findings.warn_hint(written.node.at, &written.path, message, hint);
        }
        system.azure_ml = Some(Arc::new(checked));
    }

    /// Whether a system says what Olive asks of a target that is not here.
    fn check_target(&self, name: &str, findings: &mut Findings) {
        let (Some(written), Some(system)) = (self.azure_ml.get(name), self.map.get(name)) else { return };
        let Written { node, path, .. } = written;
        written.check_machine(system, findings);
        let fields = Fields::open(node, path, &AZURE_ML, findings);
        if written.machine.is_none() && system.accelerators.is_empty() && fields.lacks("accelerators") {
            let message = "AzureML and Docker system requires accelerators to be specified";
            findings.error(node.at, path, message, Some(format!("\"accelerators\": {ACCELERATORS_EXAMPLE}")));
        }
        let values = fields.resolve(Era::New, findings);
        SystemBlock::read(&fields, values, findings).client(self.client.as_ref(), findings);
        self.explicit(name, Missing::Device, findings);
    }

    /// Says that the accelerators of a target leave something out which they must say.
    fn explicit(&self, target: &str, asked: Missing, findings: &mut Findings) {
        let left_out = self.azure_ml.get(target).into_iter().flat_map(|written| &written.implicit);
        for Implicit { at, path, .. } in left_out.filter(|implicit| implicit.missing == asked) {
            let message = "AzureML and Docker system requires device and execution providers to be specified explicitly";
            findings.error(*at, path, message, Some(format!("for example {ACCELERATORS_EXAMPLE}")));
        }
    }

    /// Who uses what a pass with this host reads.
    pub(super) fn consumer(&self, host: Option<&str>) -> Consumer<'_> {
        match host.and_then(|host| self.map.get(host)) {
            Some(System { kind: SystemKind::AzureMl, azure_ml, .. }) if !self.local => {
                Consumer::Job(azure_ml.as_deref())
            }
            _ => Consumer::Unknown,
        }
    }

    /// What a graph is built for (`cpu`, `cuda`, `dml`, `webgpu`, `NvTensorRtRtx`), and a word about it if that is not what the file
    /// asks for.
    pub(super) fn execution_provider(
        &self,
        host: Option<&str>,
        target: Option<&str>,
        findings: &mut Findings,
    ) -> (String, Option<String>) {
        if let Some(target) = target.filter(|_| !self.local) {
            self.explicit(target, Missing::Providers, findings);
        }
        let accelerators =
            target.and_then(|name| self.map.get(name)).map_or(&[][..], |system| &system.accelerators);
        let wanted =
            accelerators.first().map_or(&self.providers, |accelerator| &accelerator.execution_providers);
        let Some(first) = wanted.first() else { return ("cpu".into(), None) };
        let provider =
            PROVIDERS.iter().find(|(name, _)| name == first).map_or("cpu", |(_, provider)| *provider);
        let runs_here = provider == "cpu" || provider == "cuda" && olive_core::device::built_with_cuda();
        if self.local && !runs_here {
            let message =
                format!("the model is built for the CPU of this machine, not for {first} (--local)");
            return ("cpu".into(), Some(message));
        }
        let job = host.and_then(|name| self.map.get(name)).and_then(|system| system.azure_ml.as_ref());
        if job.is_some_and(|job| job.binary.is_none()) && !runs_here {
            let message = format!(
                "the model is built for the CPU, not for {first}: jobs run this program, which has no CUDA; `binary` of the \
                 system names another"
            );
            return ("cpu".into(), Some(message));
        }
        if provider != "cpu" && !olive_core::device::built_with_cuda() {
            let message = format!(
                "the model is built for {first}, which this program cannot run; --local builds it for the CPU"
            );
            return (provider.to_owned(), Some(message));
        }
        let choices: usize =
            accelerators.iter().map(|accelerator| accelerator.execution_providers.len()).sum();
        let several = (choices > 1 || wanted.len() > 1).then(|| {
            format!("the target has several execution providers: the model is built for {first} only")
        });
        (provider.to_owned(), several)
    }

    /// Whether everything runs on this machine, whatever the file says.
    pub(super) fn local(&self) -> bool {
        self.local
    }

    pub(super) fn into_map(self) -> BTreeMap<String, System> {
        self.map
    }
}

impl Written<'_> {
    /// Olive asks accelerators of its names for machines, though it takes their GPUs only.
    fn check_machine(&self, system: &System, findings: &mut Findings) {
        if self.machine.is_some() && system.accelerators.is_empty() {
            let message = "accelerators is required for AzureML system";
            let hint = format!("\"accelerators\": {ACCELERATORS_EXAMPLE}");
            findings.error(self.node.at, &self.path, message, Some(hint));
        }
    }
}
