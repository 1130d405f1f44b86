//! `pass_flows`, and whether each pass can take what the one before it gives.

use super::passes::PassEntries;
use super::registry::ConfiguredPass;
use crate::fields::Fields;
use crate::findings::Findings;
use crate::names::{list_names, nearest};
use crate::node::{Node, NodeValue};
use crate::place::join;
use crate::run_config::PassConfig;
use olive_core::handle::ModelKind;

/// The flows as indices into the passes. Without `pass_flows` there is one, in the order of the file.
pub(super) fn read<P: ConfiguredPass + ?Sized>(
    root: &Fields<'_>,
    passes: &PassEntries<P>,
    input: Option<ModelKind>,
    findings: &mut Findings,
) -> Vec<Vec<usize>> {
    let flows = match root.found("pass_flows") {
        None => vec![passes.names.iter().map(|(_, index)| *index).collect()],
        Some(found) => match &found.node.value {
            NodeValue::List(items) if !items.is_empty() => items
                .iter()
                .enumerate()
                .map(|(index, item)| flow(item, &format!("{}[{index}]", found.path), passes, findings))
                .collect(),
            _ => {
                let message = format!("expected lists of pass names, found {}", found.node.describe());
                findings.error(found.node.at, &found.path, message, None);
                Vec::new()
            }
        },
    };
    // A pass that could not be read hides what comes after it, and is itself the error to mend.
    let complete = flows.iter().flatten().all(Option::is_some);
    if let Some(input) = input.filter(|_| complete && passes.all_implemented) {
        for flow in &flows {
            check(flow.iter().flatten().copied(), input, passes, findings);
        }
    }
    flows.into_iter().map(|flow| flow.into_iter().flatten().collect()).collect()
}

fn flow<P: ?Sized>(
    node: &Node,
    path: &str,
    passes: &PassEntries<P>,
    findings: &mut Findings,
) -> Vec<Option<usize>> {
    let NodeValue::List(items) = &node.value else {
        findings.error(
            node.at,
            path,
            format!("expected a list of pass names, found {}", node.describe()),
            None,
        );
        return Vec::new();
    };
    let names = || passes.names.iter().map(|(name, _)| name.as_str());
    if items.is_empty() {
        let hint = format!("`passes` has {}", list_names(names()));
        findings.error(node.at, path, "a flow needs at least one pass", Some(hint));
    }
    let mut flow = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let Some(name) = item.as_text() else {
            findings.error(
                item.at,
                path,
                format!("expected the name of a pass, found {}", item.describe()),
                None,
            );
            continue;
        };
        match passes.names.iter().find(|(known, _)| known == name) {
            Some((_, index)) => flow.push(*index),
            None => {
                let hint = nearest(name, names()).map_or_else(
                    || format!("`passes` has {}", list_names(names())),
                    |near| format!("did you mean `{near}`?"),
                );
                findings.error(item.at, path, format!("there is no pass `{name}`"), Some(hint));
            }
        }
    }
    flow
}

/// The passes that work on the input model itself: the first of a flow, and those that take the model with an adapter.
pub(super) fn users<'a, P: ConfiguredPass + ?Sized>(
    flows: &'a [Vec<usize>],
    passes: &'a [PassConfig<P>],
    input: ModelKind,
) -> impl Iterator<Item = &'a PassConfig<P>> {
    flows.iter().flat_map(move |flow| {
        let mut kind = Some(input);
        flow.iter().enumerate().map_while(move |(number, index)| {
            let pass = &passes[*index];
            let before = kind.filter(|kind| number == 0 || *kind == ModelKind::HfWithAdapter)?;
            kind = pass.pass.output(before).ok();
            Some(pass)
        })
    })
}

/// Follows the model through the passes, up to the first that cannot take it.
fn check<P: ConfiguredPass + ?Sized>(
    flow: impl Iterator<Item = usize>,
    input: ModelKind,
    passes: &PassEntries<P>,
    findings: &mut Findings,
) {
    let mut kind = input;
    let mut before = "the input model".to_owned();
    for index in flow {
        let pass = &passes.passes[index];
        match pass.pass.output(kind) {
            Ok(output) => kind = output,
            Err(reason) => {
                let message = format!("{} cannot follow {before}: {reason}", pass.pass.name());
                findings.error(pass.position, join("passes", &pass.name), message, None);
                return;
            }
        }
        before = format!("`{}` ({})", pass.name, pass.pass.name());
    }
}
