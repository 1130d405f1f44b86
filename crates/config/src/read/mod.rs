//! The tree into [`RunConfig`]: every reference resolved, every value checked, every default filled in.

mod accelerator;
pub(crate) mod azureml_client;
mod azureml_system;
pub(crate) mod context;
mod data;
mod dataset;
mod evaluators;
mod flows;
mod mix;
mod model;
mod packaging;
mod passes;
pub(crate) mod registry;
mod resource;
mod search;
mod sets;
mod system;
mod text;

use crate::data::DataPlaces;
use crate::fields::Fields;
use crate::findings::Findings;
use crate::node::Node;
use crate::origin::{Era, Origin};
use crate::run_config::RunConfig;
use crate::tables::{CACHE_CONFIG, CacheConfig, EngineConfig, ROOT, RootOptions};
use crate::values::Values;
use azureml_client::ClientBlock;
use evaluators::{EvaluatorContext, Evaluators};
use passes::Tried;
use registry::{ConfiguredPass, Registry};
use search::Searched;
use serde_json::Value as Json;
use sets::Sets;
pub(crate) use sets::take as take_sets;
use std::path::Path;
use system::Role;

/// A configuration that is to be read.
pub(crate) struct Source<'a> {
    pub(crate) root: &'a Node,
    pub(crate) file: &'a Path,
    /// What the file says, with the overrides.
    pub(crate) document: Json,
    /// What a search tries, which was taken out of the tree.
    pub(crate) sets: Option<Sets>,
}

/// Reads a whole configuration. What it gives is to be used only if `findings` has no errors afterwards.
pub(crate) fn read<P: ConfiguredPass + ?Sized>(
    source: Source<'_>,
    local: bool,
    places: &DataPlaces,
    registry: &Registry<P>,
    findings: &mut Findings,
) -> Option<RunConfig<P>> {
    let root = source.root;
    if root.as_object().is_none() {
        findings.error(root.at, "", format!("a configuration is an object, found {}", root.describe()), None);
        return None;
    }
    let fields = Fields::open(root, "", &ROOT, findings);
    // The era of the model decides about the blocks that do not tell their own; the top level has no such defaults.
    let model = model::read(&fields, findings);
    let mut values = fields.resolve(model.era, findings);
    let RootOptions { workflow_id, data_root } = RootOptions::read(&values)?;

    let mut systems = system::Systems::read(&fields, &values, local, findings);
    let client = fields.found("azureml_client").and_then(|found| ClientBlock::read(found, findings));
    let host = systems.reference(fields.found("host"), Role::Host, findings);
    let target = systems.reference(fields.found("target"), Role::Target, findings);
    let data = data::DataConfigs::read(&fields, data_root, places, model.era, findings);
    let evaluators = Evaluators::read(&fields, findings);
    let context = EvaluatorContext { data: &data, consumer: systems.consumer(host.as_deref()) };
    let evaluator = evaluators.reference(fields.found("evaluator"), context, findings);

    let target_origin = match fields.found("target") {
        _ if local => Origin::CommandLine,
        Some(found) => found.at.map_or(Origin::CommandLine, |(line, _)| Origin::File { line }),
        None => Origin::Default(model.era),
    };
    let surroundings = passes::Surroundings {
        model: &model,
        data: &data,
        evaluators: &evaluators,
        tried: source.sets.as_ref().map_or(Tried::First, |_| Tried::All),
        host: host.as_deref(),
        target: target.as_deref(),
        target_origin,
    };
    let passes = passes::read(&fields, registry, &surroundings, &mut systems, findings);
    let flows = flows::read(&fields, &passes, model.kind, findings);
    let searched = Searched { passes: &passes, flows: &flows, evaluator: evaluator.as_ref() };
    let search = search::read(&fields, source.sets, &searched, model.era, findings);
    let packaging = packaging::read(fields.found("packaging_config"), findings);
    if let Some(input) = model.kind {
        let users = flows::users(&flows, &passes.passes, input);
        let users = users.map(|pass| systems.consumer(pass.host.as_deref().or(host.as_deref())));
        model.check_users(&users.collect::<Vec<_>>(), findings);
    }
    let context = EvaluatorContext { data: &data, consumer: systems.consumer(host.as_deref()) };
    evaluators.check_unused(context, passes.all_implemented, findings);
    data.check_unused(passes.all_implemented, findings);

    if model.input.is_none() && findings.none() {
        findings.error(root.at, "input_model", "the input model cannot be read", None);
    }
    let remote = [host, target].map(|system| system.filter(|_| !local));
    if let Some(evaluator) = evaluator {
        values.attach("evaluator", evaluator);
    }
    let engine = engine(&fields, &mut values, remote, findings);
    Some(RunConfig {
        path: source.file.to_owned(),
        document: source.document,
        local,
        workflow_id,
        azureml_client: client.and_then(ClientBlock::unchecked),
        input_model: model.input?,
        systems: systems.into_map(),
        passes: passes.passes,
        flows,
        search,
        packaging,
        engine: engine?,
        warnings: Vec::new(),
    })
}

/// Resolves what `cache_config` says as well, and which systems are meant.
fn engine(
    fields: &Fields<'_>,
    values: &mut Values,
    systems: [Option<String>; 2],
    findings: &mut Findings,
) -> Option<EngineConfig> {
    if let Some(found) = fields.found("cache_config") {
        let inner = Fields::open(found.node, &found.path, &CACHE_CONFIG, findings);
        let inner = CacheConfig::read(&inner.resolve(Era::New, findings))?;
        if let Some(dir) = inner.cache_dir.filter(|_| !values.given("cache_dir")) {
            values.set("cache_dir", dir.into());
        }
        if inner.clean_cache {
            values.set("clean_cache", true.into());
        }
    }
    if let Some(dir) = values.text("cache_dir").filter(|dir| dir.contains("://")) {
        let message = format!("the cache is a folder on this machine, found `{dir}`");
        values.error("cache_dir", message, None, findings);
    }
    for (option, system) in ["host", "target"].into_iter().zip(systems) {
        if let Some(system) = system {
            values.attach(option, system);
        }
    }
    let graph_file = graph_file(values);
    Some(EngineConfig { graph_file, ..EngineConfig::read(values)? })
}

/// As Olive has it, `models/text.onnx` is the graph in the folder `models`, if there is no folder of that name.
fn graph_file(values: &mut Values) -> Option<String> {
    let path = std::path::PathBuf::from(values.text("output_dir")?);
    let name = path.file_name()?.to_str()?.to_owned();
    if path.extension()? != "onnx" || path.is_dir() {
        return None;
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    values.set("output_dir", folder.to_string_lossy().into());
    Some(name)
}
