//! Float32 graphs in half precision, but for operators that are left out: those get their values cast to and fro.

use super::graph_file::GraphFile;
use super::half_values::Bounds;
use super::half_walk::{Blocked, Walk};
use super::value_types::stated;
use super::{Outcome, unchanged};
use crate::OnnxError;
use crate::adapter_file::{self, Versions};
use crate::proto::{GraphProto, data_type};
use crate::weights_file::{self, WeightsFormat};
use olive_core::error::IoContext;
use olive_core::{Result, file};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// Operators that stay in f32 where nothing else is said: those of ONNX Runtime's converter.
pub const BLOCKED: &[&str] = &[
    "ArrayFeatureExtractor",
    "Binarizer",
    "CastMap",
    "CategoryMapper",
    "CumSum",
    "DictVectorizer",
    "FeatureVectorizer",
    "Imputer",
    "LabelEncoder",
    "LinearClassifier",
    "LinearRegressor",
    "Max",
    "Min",
    "NonMaxSuppression",
    "Normalizer",
    "OneHotEncoder",
    "RandomUniformLike",
    "Range",
    "RoiAlign",
    "SVMClassifier",
    "SVMRegressor",
    "Scaler",
    "TopK",
    "TreeEnsemble",
    "TreeEnsembleClassifier",
    "TreeEnsembleRegressor",
    "Upsample",
    "ZipMap",
];

/// Names on one side of a choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// These stay in f32.
    Blocked(Vec<String>),
    /// All others do.
    Included(Vec<String>),
}

impl Choice {
    fn blocks(&self, name: &str) -> bool {
        match self {
            Choice::Blocked(names) => names.iter().any(|known| known == name),
            Choice::Included(names) => names.iter().all(|known| known != name),
        }
    }
}

/// Which inputs and outputs of the graph stay in f32.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeptTypes {
    None,
    All,
    Named(Vec<String>),
}

/// What becomes half, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Float16Options {
    pub bounds: Bounds,
    pub kept: KeptTypes,
    pub ops: Choice,
    pub nodes: Choice,
}

impl Blocked for Float16Options {
    fn blocks(&self, op: &str, name: &str) -> bool {
        self.ops.blocks(op) || self.nodes.blocks(name)
    }
}

/// # Errors
/// A tensor that cannot be read, when it is written.
pub fn float_to_float16(file: &mut GraphFile, options: &Float16Options) -> Result<Outcome> {
    let graph = file.graph();
    let kept = kept(graph, &options.kept);
    let unknown = unknown(graph, options, &kept);
    let mut graph = std::mem::take(file.graph_mut());
    let walk = Walk::new(options, options.bounds, kept, &graph);
    let done = walk.run(&mut graph);
    *file.graph_mut() = graph;
    if done.halved.is_empty() && done.nodes == 0 {
        return unchanged("nothing in it is of 32-bit floats");
    }
    let bounds = options.bounds;
    for name in &done.halved {
        let source = name.clone();
        let made = move |data: &super::graph_file::Data| Ok(bounds.halve(&data.original(&source)?));
        file.replace(name, data_type::FLOAT16, Arc::new(made));
    }
    let mut message = format!("{} tensors became f16", done.halved.len());
    if done.blocked > 0 {
        message.push_str(&format!("; nodes that stay in f32: {}", done.blocked));
    }
    if done.casts > 0 {
        message.push_str(&format!("; casts: {}", done.casts));
    }
    if !unknown.is_empty() {
        message.push_str(&format!("; the graph has no {}", unknown.join(", ")));
    }
    Ok(Outcome::Changed(message))
}

/// An adapter that lies beside the graph, for inputs that are f16 by now: its matrices become half, too, in `dir`.
///
/// # Errors
/// The file is damaged, or cannot be read or written.
pub fn adapter_to_float16(file: &GraphFile, bounds: Bounds, dir: &Path) -> Result<()> {
    let beside = file.dir().join(adapter_file::FILE);
    if !beside.is_file() {
        return Ok(());
    }
    let bytes = file::read(&beside).at("read", &beside)?;
    let damaged = |reason: &str| OnnxError::Model { path: beside.clone(), reason: reason.to_owned() };
    let mut parameters = adapter_file::decode(&bytes).map_err(damaged)?;
    let halves = file.graph().input.iter().filter(|input| stated(input) == Some(data_type::FLOAT16));
    let halves: BTreeSet<&str> = halves.map(|input| input.name.as_str()).collect();
    for parameter in &mut parameters {
        if parameter.data_type == data_type::FLOAT && halves.contains(parameter.name.as_str()) {
            parameter.bytes = bounds.halve(&parameter.bytes);
            parameter.data_type = data_type::FLOAT16;
        }
    }
    let path = dir.join(adapter_file::FILE);
    weights_file::write(&path, WeightsFormat::OnnxAdapter, &parameters, Versions::FIRST).map(drop)
}

/// Names of the inputs and outputs that stay in f32.
fn kept(graph: &GraphProto, kept: &KeptTypes) -> BTreeSet<String> {
    let floats = graph.input.iter().chain(&graph.output);
    let floats = floats.filter(|value| stated(value) == Some(data_type::FLOAT)).map(|value| &value.name);
    match kept {
        KeptTypes::None => BTreeSet::new(),
        KeptTypes::All => floats.cloned().collect(),
        KeptTypes::Named(names) => floats.filter(|name| names.contains(name)).cloned().collect(),
    }
}

/// What options name and the graph has not.
fn unknown(graph: &GraphProto, options: &Float16Options, kept: &BTreeSet<String>) -> Vec<String> {
    let (Choice::Blocked(nodes) | Choice::Included(nodes)) = &options.nodes;
    let mut known = BTreeSet::new();
    node_names(graph, &mut known);
    let nodes = nodes.iter().filter(|name| !known.contains(name.as_str()));
    let mut unknown: Vec<String> = nodes.map(|name| format!("node `{name}`")).collect();
    if let KeptTypes::Named(names) = &options.kept {
        let others = names.iter().filter(|name| !kept.contains(*name));
        unknown.extend(others.map(|name| format!("input or output `{name}` of f32")));
    }
    unknown
}

fn node_names<'a>(graph: &'a GraphProto, names: &mut BTreeSet<&'a str>) {
    for node in &graph.node {
        names.insert(&node.name);
        let attributes = node.attribute.iter();
        attributes
            .flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs))
            .for_each(|inner| node_names(inner, names));
    }
}
