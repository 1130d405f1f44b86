//! The walk through a graph that becomes half, node by node, and through the graphs in its nodes.

use super::graph_file::int_attribute;
use super::half_scope::{Form, Scope, Value};
use super::half_values::Bounds;
use super::value_types::{is_always_float, output_types, stated as stated_type, stated_types};
use crate::graph::{attr_int, attr_tensor};
use crate::proto::{GraphProto, NodeProto, TensorProto, ValueInfoProto, data_type};
use std::cell::Cell;
use std::collections::{BTreeSet, HashMap};

/// Says which nodes stay in f32.
pub(super) trait Blocked {
    fn blocks(&self, op: &str, name: &str) -> bool;
}

/// What was done.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// Initialisers whose bytes are to become f16.
    pub halved: Vec<String>,
    /// Nodes that work in f16 now.
    pub nodes: usize,
    /// Nodes that stay in f32.
    pub blocked: usize,
    pub casts: usize,
}

pub(super) struct Walk<'a> {
    blocked: &'a dyn Blocked,
    bounds: Bounds,
    /// Inputs and outputs of the graph that stay in f32.
    kept: BTreeSet<String>,
    /// What nodes read that become half.
    read: BTreeSet<String>,
    counts: [Cell<usize>; 3],
}

/// Places in [`Walk::counts`].
const NODES: usize = 0;
const BLOCKED: usize = 1;
const CASTS: usize = 2;

/// Operators with a type of their own for what they make.
const TYPED: [&str; 8] = [
    "Bernoulli",
    "EyeLike",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "SequenceEmpty",
];

/// Whether an operator takes f32 there, whatever else it takes.
fn is_float_input(op: &str, place: usize) -> bool {
    match op {
        "Resize" => place == 2,
        "GroupNorm" | "SkipGroupNorm" => place == 1 || place == 2,
        _ => false,
    }
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        blocked: &'a dyn Blocked,
        bounds: Bounds,
        kept: BTreeSet<String>,
        graph: &GraphProto,
    ) -> Walk<'a> {
        let mut walk = Walk { blocked, bounds, kept, read: BTreeSet::new(), counts: Default::default() };
        walk.note_reads(graph);
        walk
    }

    fn note_reads(&mut self, graph: &GraphProto) {
        self.read.extend(graph.output.iter().map(|output| output.name.clone()));
        for node in &graph.node {
            if self.blocked.blocks(&node.op_type, &node.name) {
                continue;
            }
            let inputs = node.input.iter().enumerate();
            let halves = inputs.filter(|(place, _)| !is_float_input(&node.op_type, *place));
            self.read.extend(halves.map(|(_, name)| name.clone()));
            for attribute in &node.attribute {
                attribute.g.iter().chain(&attribute.graphs).for_each(|inner| self.note_reads(inner));
            }
        }
    }

    pub(super) fn run(self, graph: &mut GraphProto) -> Done {
        let (scope, _) = self.graph(graph, None, Form::Half);
        let is_half = |tensor: &&TensorProto| {
            tensor.data_type == data_type::FLOAT
                && scope.get(&tensor.name).is_some_and(|value| value.half.as_ref() == Some(&tensor.name))
        };
        let halved = graph.initializer.iter().filter(is_half).map(|tensor| tensor.name.clone()).collect();
        let [nodes, blocked, casts] = self.counts.map(Cell::into_inner);
        Done { halved, nodes, blocked, casts }
    }

    /// Changes a graph and gives its values and the types that its outputs had. `form`: what its own values become; those of a
    /// graph in a blocked node stay.
    fn graph<'s>(
        &self,
        graph: &mut GraphProto,
        outer: Option<&'s Scope<'s>>,
        form: Form,
    ) -> (Scope<'s>, Vec<Option<i32>>) {
        let mut scope = Scope::inside(outer);
        self.enter(graph, &mut scope, form);
        let stated = stated_types(graph);
        let outputs: BTreeSet<&str> = graph.output.iter().map(|output| output.name.as_str()).collect();
        let mut nodes = Vec::with_capacity(graph.node.len());
        for node in std::mem::take(&mut graph.node) {
            let is_free = form == Form::Half && !self.blocked.blocks(&node.op_type, &node.name);
            match alias(&node, &scope).filter(|_| is_free && !outputs.contains(node.output[0].as_str())) {
                Some(value) => scope.insert(&node.output[0], value),
                None => self.node(node, &stated, &mut scope, form, &mut nodes),
            }
        }
        let kinds =
            graph.output.iter().map(|output| scope.kind(&output.name).or_else(|| stated_type(output)));
        let kinds: Vec<Option<i32>> = kinds.collect();
        let before = nodes.len();
        for (output, kind) in graph.output.iter_mut().zip(&kinds) {
            self.leave(output, *kind, &mut scope, form, &mut nodes);
        }
        self.count(CASTS, nodes.len() - before);
        graph.node = nodes;
        graph.value_info.retain_mut(|info| restate(info, &scope));
        (scope, kinds)
    }

    fn is_kept(&self, scope: &Scope, name: &str) -> bool {
        scope.is_outermost() && self.kept.contains(name)
    }

    fn count(&self, what: usize, more: usize) {
        self.counts[what].set(self.counts[what].get() + more);
    }

    /// Inputs and initialisers.
    fn enter(&self, graph: &mut GraphProto, scope: &mut Scope, form: Form) {
        for input in &mut graph.input {
            let Some(kind) = stated_type(input) else { continue };
            let own = if self.is_kept(scope, &input.name) { Form::Float } else { form };
            scope.insert(&input.name, Value::of(kind, &input.name, own));
            if kind == data_type::FLOAT && own == Form::Half {
                state(input, data_type::FLOAT16);
            }
        }
        for tensor in &mut graph.initializer {
            let name = tensor.name.as_str();
            let is_half = match scope.own(name) {
                Some(input) => input.kind == data_type::FLOAT && input.float.is_none(),
                None => form == Form::Half && self.read.contains(name) && !self.is_kept(scope, name),
            };
            let own = if is_half { Form::Half } else { Form::Float };
            scope.insert(name, Value::of(tensor.data_type, name, own));
            if is_half && !scope.is_outermost() {
                self.bounds.halve_tensor(tensor);
            }
        }
    }

    /// `around`: what the values of its graph become; `nodes`: those that were written so far.
    fn node(
        &self,
        mut node: NodeProto,
        stated: &HashMap<String, i32>,
        scope: &mut Scope,
        around: Form,
        nodes: &mut Vec<NodeProto>,
    ) {
        let kinds: Vec<Option<i32>> = node.input.iter().map(|name| scope.kind(name)).collect();
        let is_blocked = around == Form::Float || self.blocked.blocks(&node.op_type, &node.name);
        let form = if is_blocked { Form::Float } else { Form::Half };
        let before = nodes.len();
        for (place, name) in node.input.iter_mut().enumerate() {
            let own = if is_float_input(&node.op_type, place) { Form::Float } else { form };
            *name = scope.name(name, own, nodes);
        }
        self.count(CASTS, nodes.len() - before);
        let mut inner = Vec::new();
        for graph in node.attribute.iter_mut().flat_map(|a| a.g.iter_mut().chain(&mut a.graphs)) {
            inner.push(self.graph(graph, Some(scope), form).1);
        }
        let mut types = output_types(&node, &kinds, &inner);
        types.resize(node.output.len(), None);
        for (place, known) in types.iter_mut().enumerate() {
            let name = node.output[place].clone();
            let kind = stated.get(&name).copied().or(*known).filter(|_| !name.is_empty());
            let Some(kind) = kind else { continue };
            *known = Some(kind);
            let own = if is_always_float(&node, place) { Form::Float } else { form };
            let new = match own {
                _ if kind != data_type::FLOAT => name.clone(),
                Form::Half if self.is_kept(scope, &name) => format!("{name}_as_fp16"),
                Form::Float if around == Form::Half && !self.is_kept(scope, &name) => {
                    format!("{name}_as_fp32")
                }
                Form::Half | Form::Float => name.clone(),
            };
            scope.insert(&name, Value::of(kind, &new, own));
            node.output[place] = new;
        }
        if kinds.iter().chain(&types).any(|kind| *kind == Some(data_type::FLOAT)) {
            self.count(if is_blocked { BLOCKED } else { NODES }, 1);
        }
        if !is_blocked {
            self.change_attributes(&mut node);
        }
        nodes.push(node);
    }

    /// An output of a graph that had this type.
    fn leave(
        &self,
        output: &mut ValueInfoProto,
        kind: Option<i32>,
        scope: &mut Scope,
        form: Form,
        nodes: &mut Vec<NodeProto>,
    ) {
        let form = if self.is_kept(scope, &output.name) { Form::Float } else { form };
        if scope.is_outermost() {
            scope.give(&output.name, form, nodes);
        } else {
            output.name = scope.name(&output.name, form, nodes);
        }
        if kind == Some(data_type::FLOAT) && form == Form::Half {
            state(output, data_type::FLOAT16);
        }
    }

    fn change_attributes(&self, node: &mut NodeProto) {
        let op = node.op_type.as_str();
        let typed = if op == "Cast" { "to" } else { "dtype" };
        if op == "Cast" || TYPED.contains(&op) {
            let kind = node.attribute.iter_mut().find(|attribute| attribute.name == typed);
            match kind {
                Some(kind) if kind.i == Some(data_type::FLOAT.into()) => {
                    kind.i = Some(data_type::FLOAT16.into());
                }
                None if ["RandomNormal", "RandomUniform", "SequenceEmpty"].contains(&op) => {
                    node.attribute.push(attr_int("dtype", data_type::FLOAT16.into()));
                }
                Some(_) | None => {}
            }
        }
        if op == "ConstantOfShape" && node.attribute.is_empty() {
            let zero = TensorProto {
                dims: vec![1],
                data_type: data_type::FLOAT16,
                raw_data: vec![0; 2],
                ..TensorProto::default()
            };
            node.attribute.push(attr_tensor("value", zero));
        }
        for attribute in &mut node.attribute {
            if op == "Constant" {
                self.bounds.halve_constant(attribute);
            }
            let tensors = attribute.t.iter_mut().chain(&mut attribute.tensors);
            tensors.for_each(|tensor| self.bounds.halve_tensor(tensor));
        }
    }
}

/// What a `Cast` gives that has nothing to do any more: the value that it takes.
fn alias(node: &NodeProto, scope: &Scope) -> Option<Value> {
    let (Some(input), "Cast", [_]) = (node.input.first(), node.op_type.as_str(), node.output.as_slice())
    else {
        return None;
    };
    let to = i32::try_from(int_attribute(node, "to")?).ok()?;
    let value = scope.get(input)?;
    match (value.kind, to) {
        (data_type::FLOAT, data_type::FLOAT) => Some(value.clone()),
        (data_type::FLOAT, data_type::FLOAT16) | (data_type::FLOAT16, data_type::FLOAT) => {
            value.half.is_some().then(|| Value { kind: to, half: value.half.clone(), float: None })
        }
        _ => None,
    }
}

fn state(value: &mut ValueInfoProto, kind: i32) {
    if let Some(tensor) = value.r#type.as_mut().and_then(|of| of.tensor_type.as_mut()) {
        tensor.elem_type = kind;
    }
}

/// Says the type that a value has now; `false`: there is none of that name any more.
fn restate(info: &mut ValueInfoProto, scope: &Scope) -> bool {
    let Some(value) = scope.get(&info.name) else { return true };
    let is_half = value.half.as_ref() == Some(&info.name);
    let is_there = is_half || value.float.as_ref() == Some(&info.name);
    if value.kind == data_type::FLOAT && is_half {
        state(info, data_type::FLOAT16);
    }
    is_there
}
