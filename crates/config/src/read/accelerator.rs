//! `accelerators`: the hardware of a system.

use crate::fields::{Fields, GivenOption};
use crate::findings::Findings;
use crate::names::nearest;
use crate::node::{Node, NodeEntry, NodeValue};
use crate::origin::Era;
use crate::place::At;
use crate::run_config::Accelerator;
use crate::tables::{ACCELERATOR, AcceleratorOptions, PROVIDERS};

pub(super) const ACCELERATORS_EXAMPLE: &str =
    r#"[{"device": "gpu", "execution_providers": ["CUDAExecutionProvider"]}]"#;

/// An accelerator that leaves something out.
pub(super) struct Implicit {
    pub(super) missing: Missing,
    /// What it is taken for.
    pub(super) device: String,
    pub(super) at: At,
    pub(super) path: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    Device,
    Providers,
}

/// The accelerators of a system. `providers` are those of accelerators that name none.
pub(super) fn read(
    found: &GivenOption<'_>,
    providers: &[String],
    implicit: &mut Vec<Implicit>,
    findings: &mut Findings,
) -> Vec<Accelerator> {
    let NodeValue::List(items) = &found.node.value else {
        let message = format!("expected a list of accelerators, found {}", found.node.describe());
        let hint = format!("for example {ACCELERATORS_EXAMPLE}");
        findings.error(found.node.at, &found.path, message, Some(hint));
        return Vec::new();
    };
    let items = items.iter().enumerate();
    items
        .filter_map(|(index, item)| {
            one(item, &format!("{}[{index}]", found.path), providers, implicit, findings)
        })
        .collect()
}

fn one(
    node: &Node,
    path: &str,
    otherwise: &[String],
    implicit: &mut Vec<Implicit>,
    findings: &mut Findings,
) -> Option<Accelerator> {
    // Up to Olive 0.5 an accelerator was its device.
    let device = Node {
        value: NodeValue::Object(vec![NodeEntry { key: "device".into(), at: node.at, node: node.clone() }]),
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
    let mut missing = Vec::new();
    let device = match device {
        Some(device) => device,
        None if fields.found("device").is_some() => return None,
        None if providers.is_empty() => {
            findings.error(node.at, path, "an accelerator needs `device` or `execution_providers`", None);
            return None;
        }
        None => {
            missing.push(Missing::Device);
            if providers[0] == "CPUExecutionProvider" { "cpu".into() } else { "gpu".into() }
        }
    };
    if providers.is_empty() {
        otherwise.clone_into(&mut providers);
    }
    if providers.is_empty() {
        missing.push(Missing::Providers);
        providers.push(if device == "gpu" { "CUDAExecutionProvider" } else { "CPUExecutionProvider" }.into());
    }
    implicit.extend(missing.into_iter().map(|missing| Implicit {
        missing,
        device: device.clone(),
        at: node.at,
        path: path.to_owned(),
    }));
    Some(Accelerator { device, execution_providers: providers })
}

/// Puts names into their right spelling; unknown ones are errors.
pub(super) fn check_providers(names: &mut [String], node: &Node, path: &str, findings: &mut Findings) {
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
