//! `systems`, and the references to them.

use crate::fields::{Fields, GivenOption};
use crate::findings::Findings;
use crate::names::{list_names, nearest};
use crate::node::{Node, NodeValue};
use crate::option::Block;
use crate::origin::Era;
use crate::place::join;
use crate::run_config::{Accelerator, System, SystemKind};
use crate::tables::{
    ACCELERATOR, AZURE_ML, AcceleratorOptions, DOCKER, ISOLATED_ORT, LOCAL_SYSTEM, PROVIDERS,
    PYTHON_ENVIRONMENT,
};
use crate::values::Values;
use std::collections::{BTreeMap, BTreeSet};

pub(super) struct Systems {
    map: BTreeMap<String, System>,
    /// In the order of the file, also those that are broken: a reference to them is not dangling.
    names: Vec<String>,
    /// `engine.execution_providers` of Olive up to 0.5.
    providers: Vec<String>,
    local: bool,
    /// `systems` cannot be read, so references into it are not to blame.
    broken: bool,
    /// Systems about which it was said that they cannot be used.
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

    /// Olive also had names for whole machines, such as `AzureND12SSystem`.
    fn from_name(name: &str) -> Option<SystemKind> {
        let known = TYPES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, kind)| *kind);
        let lower = name.to_lowercase();
        known.or(match &lower {
            name if name.starts_with("azure") && name.ends_with("system") => Some(SystemKind::AzureMl),
            name if name.starts_with("surface") && name.contains("system") => Some(SystemKind::Local),
            _ => None,
        })
    }
}

impl Systems {
    pub(super) fn read(root: &Fields<'_>, values: &Values, local: bool, findings: &mut Findings) -> Systems {
        let providers = values.texts("execution_providers").unwrap_or_default();
        let mut systems = Systems {
            map: BTreeMap::new(),
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
            let system = systems.system(&entry.node, &join(&found.path, &entry.key), findings);
            systems.names.push(entry.key.clone());
            systems.map.extend(system.map(|system| (entry.key.clone(), system)));
        }
        systems
    }

    fn system(&self, node: &Node, path: &str, findings: &mut Findings) -> Option<System> {
        if node.as_object().is_none() {
            findings.error(node.at, path, format!("expected a system, found {}", node.describe()), None);
            return None;
        }
        let known = || Some(format!("the types are {}", list_names(TYPES.map(|(name, _)| name))));
        let Some(r#type) = node.get("type") else {
            findings.error(node.at, path, "the system needs `type`", known());
            return None;
        };
        let name = r#type.as_text().unwrap_or_default();
        let Some(kind) = SystemKind::from_name(name) else {
            let near =
                nearest(name, TYPES.map(|(name, _)| name)).map(|near| format!("did you mean `{near}`?"));
            let message = format!("expected the type of a system, found {}", r#type.describe());
            findings.error(r#type.at, join(path, "type"), message, near.or_else(known));
            return None;
        };
        let fields = Fields::open(node, path, kind.block(), findings);
        fields.resolve(Era::New, findings);
        let accelerators = fields.found("accelerators").map(|found| self.accelerators(found, findings));
        Some(System { kind, accelerators: accelerators.unwrap_or_default() })
    }

    fn accelerators(&self, found: &GivenOption<'_>, findings: &mut Findings) -> Vec<Accelerator> {
        let NodeValue::List(items) = &found.node.value else {
            let message = format!("expected a list of accelerators, found {}", found.node.describe());
            let hint =
                "for example [{\"device\": \"gpu\", \"execution_providers\": [\"CUDAExecutionProvider\"]}]";
            findings.error(found.node.at, &found.path, message, Some(hint.into()));
            return Vec::new();
        };
        let items = items.iter().enumerate();
        items
            .filter_map(|(index, item)| self.accelerator(item, &format!("{}[{index}]", found.path), findings))
            .collect()
    }

    fn accelerator(&self, node: &Node, path: &str, findings: &mut Findings) -> Option<Accelerator> {
        // Up to Olive 0.5 an accelerator was its device.
        let device = Node {
            value: NodeValue::Object(vec![crate::node::NodeEntry {
                key: "device".into(),
                at: node.at,
                node: node.clone(),
            }]),
            at: node.at,
        };
        let fields =
            Fields::open(if node.as_text().is_some() { &device } else { node }, path, &ACCELERATOR, findings);
        let values = fields.resolve(Era::New, findings);
        let AcceleratorOptions { device, execution_providers: mut providers } =
            AcceleratorOptions::read(&values)?;
        if let Some(found) = fields.found("execution_providers") {
            check_providers(&mut providers, found.node, &found.path, findings);
        }
        let device = match device {
            Some(device) => device,
            None if fields.found("device").is_some() => return None,
            None if providers.is_empty() => {
                findings.error(node.at, path, "an accelerator needs `device` or `execution_providers`", None);
                return None;
            }
            None if providers[0] == "CPUExecutionProvider" => "cpu".into(),
            None => "gpu".into(),
        };
        if providers.is_empty() {
            providers.clone_from(&self.providers);
        }
        if providers.is_empty() {
            providers
                .push(if device == "gpu" { "CUDAExecutionProvider" } else { "CPUExecutionProvider" }.into());
        }
        Some(Accelerator { device, execution_providers: providers })
    }

    /// The name of the system that an option refers to, and whether passes can run there.
    pub(super) fn reference(
        &mut self,
        found: Option<&GivenOption<'_>>,
        findings: &mut Findings,
    ) -> Option<String> {
        let found = found?;
        let name = match &found.node.value {
            NodeValue::Text(name) => {
                if self.broken {
                    return None;
                }
                if !self.names.contains(name) {
                    let hint = nearest(name, self.names.iter().map(String::as_str)).map_or_else(
                        || format!("`systems` has {}", list_names(self.names.iter().map(String::as_str))),
                        |near| format!("did you mean `{near}`?"),
                    );
                    findings.error(
                        found.node.at,
                        &found.path,
                        format!("there is no system `{name}`"),
                        Some(hint),
                    );
                    return None;
                }
                name.clone()
            }
            NodeValue::Object(_) => {
                let system = self.system(found.node, &found.path, findings)?;
                self.names.push(found.path.clone());
                self.map.insert(found.path.clone(), system);
                found.path.clone()
            }
            _ => {
                let message = format!("expected the name of a system, found {}", found.node.describe());
                findings.error(found.node.at, &found.path, message, None);
                return None;
            }
        };
        let kind = self.map.get(&name)?.kind;
        if kind != SystemKind::Local && self.said.insert(name.clone()) {
            let kind = kind.name();
            if self.local {
                let message =
                    format!("`{name}` ({kind}) is left alone: every pass runs on this machine (--local)");
                findings.warn(found.at, &found.path, message);
            } else {
                let message =
                    format!("`{name}` is of the type {kind}, and passes cannot run on remote systems yet");
                findings.refuse(
                    found.node.at,
                    &found.path,
                    message,
                    Some("--local runs every pass on this machine".into()),
                );
            }
        }
        Some(name)
    }

    /// What a graph is built for (`cpu`, `cuda`, `dml`, `webgpu`), and a word about it if that is not what the file
    /// asks for.
    pub(super) fn execution_provider(&self, target: Option<&str>) -> (String, Option<String>) {
        let accelerators =
            target.and_then(|name| self.map.get(name)).map_or(&[][..], |system| &system.accelerators);
        let wanted =
            accelerators.first().map_or(&self.providers, |accelerator| &accelerator.execution_providers);
        let Some(first) = wanted.first() else { return ("cpu".into(), None) };
        let provider =
            PROVIDERS.iter().find(|(name, _)| name == first).map_or("cpu", |(_, provider)| *provider);
        if self.local && provider != "cpu" && !(provider == "cuda" && olive_core::device::built_with_cuda()) {
            let message =
                format!("the model is built for the CPU of this machine, not for {first} (--local)");
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

/// Puts names into their right spelling; unknown ones are errors.
fn check_providers(names: &mut [String], node: &Node, path: &str, findings: &mut Findings) {
    for (index, name) in names.iter_mut().enumerate() {
        match PROVIDERS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            Some((known, _)) => (*known).clone_into(name),
            None => {
                let (at, path) = match &node.value {
                    NodeValue::List(items) => {
                        (items.get(index).and_then(|item| item.at), format!("{path}[{index}]"))
                    }
                    _ => (node.at, path.to_owned()),
                };
                let hint = nearest(name, PROVIDERS.iter().map(|(known, _)| *known))
                    .map(|near| format!("did you mean `{near}`?"));
                findings.error(at, path, format!("there is no execution provider `{name}`"), hint);
            }
        }
    }
}
