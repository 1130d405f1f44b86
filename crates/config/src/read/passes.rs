//! `passes`: which there are, and what stands around their options.

use super::context::PassContext;
use super::data::DataConfigs;
use super::evaluators::{EvaluatorContext, Evaluators};
use super::model::ModelFacts;
use super::registry::{PassDefinition, Registry};
use super::system::{Role, Systems};
use crate::fields::Fields;
use crate::findings::Findings;
use crate::names::{list_names, nearest};
use crate::node::{Node, NodeEntry, NodeValue};
use crate::origin::Origin;
use crate::place::{At, join};
use crate::run_config::PassConfig;
use crate::tables::{FOREIGN_PASSES, PassSurroundings, instead_of};
use olive_core::InnerPath;

/// What every pass may refer to.
pub(super) struct Surroundings<'a, 'n> {
    pub(super) model: &'a ModelFacts<'n>,
    pub(super) data: &'a DataConfigs<'n>,
    pub(super) evaluators: &'a Evaluators<'n>,
    /// Which alternatives of passes are used.
    pub(super) tried: Tried,
    /// Runs the passes that name no host.
    pub(super) host: Option<&'a str>,
    pub(super) target: Option<&'a str>,
    /// Where the choice of the target comes from.
    pub(super) target_origin: Origin,
}

/// Which alternatives of an entry of `passes` are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tried {
    /// By a run.
    First,
    /// By a search.
    All,
}

pub(super) struct PassEntries<P: ?Sized> {
    pub(super) passes: Vec<PassConfig<P>>,
    /// All names of the file, with the index into `passes` of those that could be read.
    pub(super) names: Vec<(String, Option<usize>)>,
    /// No pass is of a type that only Olive has, or that nobody has.
    pub(super) all_implemented: bool,
}

/// A pass type of Olive's that is not implemented here.
struct Foreign {
    name: String,
    r#type: String,
    at: At,
    path: String,
}

pub(super) fn read<'n, P: ?Sized>(
    root: &Fields<'n>,
    registry: &Registry<P>,
    surroundings: &Surroundings<'_, 'n>,
    systems: &mut Systems<'n>,
    findings: &mut Findings,
) -> PassEntries<P> {
    let mut passes = PassEntries { passes: Vec::new(), names: Vec::new(), all_implemented: true };
    let Some(found) = root.found("passes") else { return passes };
    let entries = match &found.node.value {
        NodeValue::Object(entries) => entries,
        _ => {
            let message = format!("expected passes by name, found {}", found.node.describe());
            findings.error(found.node.at, &found.path, message, Some(registry.example()));
            return passes;
        }
    };
    // Without passes, an evaluator measures the input model.
    if entries.is_empty() && root.found("evaluator").is_none() {
        findings.error(found.node.at, &found.path, "there is no pass", Some(registry.example()));
    }
    let mut foreign = Vec::new();
    for entry in entries.iter().filter(|entry| !entry.key.starts_with("x-")) {
        let path = join(&found.path, &entry.key);
        if let Err(refusal) = InnerPath::name(&entry.key) {
            let hint = "folders are named for passes: letters, digits, `-` and `_` will do";
            findings.error(entry.at, &path, format!("the name {refusal}"), Some(hint.into()));
        }
        let mut first = None;
        for (number, (node, path)) in
            alternatives(entry, path, surroundings.tried, findings).iter().enumerate()
        {
            let pass = definition(&entry.key, node, path, registry, &mut foreign, findings);
            passes.all_implemented &= pass.is_some();
            let place = Place { entry, node, path };
            let pass = pass.and_then(|found| read_pass(&place, found, surroundings, systems, findings));
            if number == 0 {
                first = pass;
            }
        }
        let pass = first;
        passes.names.push((entry.key.clone(), pass.is_some().then_some(passes.passes.len())));
        passes.passes.extend(pass);
    }
    report(&foreign, registry, findings);
    passes
}

/// A list of passes means alternatives. A run without a search takes the first; a search tries all of them, the first of
/// which stands for the rest.
fn alternatives<'n>(
    entry: &'n NodeEntry,
    path: String,
    tried: Tried,
    findings: &mut Findings,
) -> Vec<(&'n Node, String)> {
    let NodeValue::List(items) = &entry.node.value else { return vec![(&entry.node, path)] };
    if items.len() > 1 && tried == Tried::First {
        let message = format!("of {} alternatives the first is used: nothing is searched", items.len());
        findings.warn(entry.at, &path, message);
    }
    if items.is_empty() {
        return vec![(&entry.node, path)];
    }
    let count = if tried == Tried::All { items.len() } else { 1 };
    items.iter().take(count).enumerate().map(|(index, item)| (item, format!("{path}[{index}]"))).collect()
}

/// The definition of the pass's type, unless the type is not ours.
fn definition<P: ?Sized>(
    name: &str,
    node: &Node,
    path: &str,
    registry: &Registry<P>,
    foreign: &mut Vec<Foreign>,
    findings: &mut Findings,
) -> Option<&'static PassDefinition<P>> {
    let known = || Some(format!("the types are {}", list_names(registry.names())));
    if node.as_object().is_none() {
        findings.error(node.at, path, format!("expected a pass, found {}", node.describe()), None);
        return None;
    }
    let Some(r#type) = node.get("type") else {
        findings.error(node.at, path, "the pass needs `type`", known());
        return None;
    };
    let Some(text) = r#type.as_text() else {
        let message = format!("expected the type of a pass, found {}", r#type.describe());
        findings.error(r#type.at, join(path, "type"), message, known());
        return None;
    };
    if let Some(definition) = registry.find(text) {
        return Some(definition);
    }
    if !FOREIGN_PASSES.iter().any(|known| known.eq_ignore_ascii_case(text))
        && let Some(near) = nearest(text, registry.names())
    {
        let message = format!("there is no pass type `{text}`");
        findings.error(r#type.at, join(path, "type"), message, Some(format!("did you mean `{near}`?")));
        return None;
    }
    let type_name = FOREIGN_PASSES.iter().find(|known| known.eq_ignore_ascii_case(text)).unwrap_or(&text);
    foreign.push(Foreign {
        name: name.into(),
        r#type: (*type_name).into(),
        at: r#type.at,
        path: path.into(),
    });
    None
}

/// One error for all of them, with what to do instead of the first that is left out on purpose.
fn report<P: ?Sized>(foreign: &[Foreign], registry: &Registry<P>, findings: &mut Findings) {
    let Some(first) = foreign.first() else { return };
    let places: Vec<String> = foreign
        .iter()
        .map(|pass| match pass.at {
            Some((line, _)) => format!("{} (`{}`, line {line})", pass.r#type, pass.name),
            None => format!("{} (`{}`)", pass.r#type, pass.name),
        })
        .collect();
    let (path, what) = match foreign {
        [_] => (join(&first.path, "type"), "a pass is not implemented"),
        _ => ("passes".to_owned(), "some passes are not implemented"),
    };
    let instead = foreign
        .iter()
        .find_map(|pass| instead_of(&pass.r#type).map(|text| format!("{}: {text}", pass.r#type)));
    let hint = instead.unwrap_or_else(|| format!("implemented are {}", list_names(registry.names())));
    findings.unimplemented_passes(first.at, path, format!("{what}: {}", places.join(", ")), hint);
}

/// An entry of `passes`: as it stands there, and which of its alternatives is used.
struct Place<'n, 'a> {
    entry: &'n NodeEntry,
    node: &'n Node,
    path: &'a str,
}

fn read_pass<'n, P: ?Sized>(
    place: &Place<'n, '_>,
    definition: &'static PassDefinition<P>,
    surroundings: &Surroundings<'_, 'n>,
    systems: &mut Systems<'n>,
    findings: &mut Findings,
) -> Option<PassConfig<P>> {
    let fields = Fields::open(place.node, place.path, definition.block, findings);
    let era = fields.era().unwrap_or(surroundings.model.era);
    let values = fields.resolve(era, findings);
    if values.given("disable_search") && !values.bool("disable_search") && surroundings.tried == Tried::First
    {
        values.warn("disable_search", "`disable_search` is not used: nothing is searched", findings);
    }
    let host = systems.reference(fields.found("host"), Role::Host, findings);
    let PassSurroundings { clean_run_cache } = PassSurroundings::read(&values)?;
    let evaluation = EvaluatorContext {
        data: surroundings.data,
        consumer: systems.consumer(host.as_deref().or(surroundings.host)),
    };
    let evaluator = surroundings.evaluators.reference(fields.found("evaluator"), evaluation, findings);
    let context = PassContext {
        era,
        model: surroundings.model,
        data: surroundings.data,
        systems,
        host: host.as_deref().or(surroundings.host),
        target: surroundings.target,
        target_origin: surroundings.target_origin,
    };
    let (pass, resolved) = (definition.read)(&fields, values, &context, findings)?;
    Some(PassConfig {
        name: place.entry.key.clone(),
        pass,
        host: host.filter(|_| !systems.local()),
        clean_run_cache,
        evaluator,
        era,
        resolved,
        position: place.entry.at.or(place.node.at),
    })
}
