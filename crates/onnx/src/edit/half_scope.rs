//! Under which names a value can be had while a graph becomes half: in f32, in f16, or both, with the casts between them.

use super::graph_file::node;
use crate::graph::attr_int;
use crate::proto::{NodeProto, data_type};
use std::collections::HashMap;

/// The form in which a node takes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Half,
    Float,
}

impl Form {
    fn kind(self) -> i32 {
        match self {
            Form::Half => data_type::FLOAT16,
            Form::Float => data_type::FLOAT,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Form::Half => "fp16",
            Form::Float => "fp32",
        }
    }
}

/// A value of the graph by the type that it had.
#[derive(Debug, Clone, Default)]
pub(super) struct Value {
    pub kind: i32,
    /// Its name in f16; of values that are no f32, their name.
    pub half: Option<String>,
    /// Its name in f32.
    pub float: Option<String>,
}

impl Value {
    /// One that has this name only.
    pub(super) fn of(kind: i32, name: &str, form: Form) -> Value {
        let name = Some(name.to_owned());
        match form {
            Form::Float if kind == data_type::FLOAT => Value { kind, half: None, float: name },
            Form::Half | Form::Float => Value { kind, half: name, float: None },
        }
    }
}

/// The values that the nodes of a graph see.
#[derive(Default)]
pub(super) struct Scope<'a> {
    outer: Option<&'a Scope<'a>>,
    values: HashMap<String, Value>,
}

impl<'a> Scope<'a> {
    pub(super) fn inside(outer: Option<&'a Scope<'a>>) -> Scope<'a> {
        Scope { outer, values: HashMap::new() }
    }

    pub(super) fn insert(&mut self, name: &str, value: Value) {
        self.values.insert(name.to_owned(), value);
    }

    pub(super) fn is_outermost(&self) -> bool {
        self.outer.is_none()
    }

    /// A value of this graph.
    pub(super) fn own(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name).or_else(|| self.outer?.get(name))
    }

    pub(super) fn kind(&self, name: &str) -> Option<i32> {
        self.get(name).map(|value| value.kind).filter(|kind| *kind != 0)
    }

    /// The name of a value in this form. Where it has none yet, a cast that gives it joins `nodes`.
    pub(super) fn name(&mut self, name: &str, form: Form, nodes: &mut Vec<NodeProto>) -> String {
        let Some(value) = self.get(name) else { return name.to_owned() };
        if value.kind != data_type::FLOAT {
            return value.half.clone().unwrap_or_else(|| name.to_owned());
        }
        let (there, other) = match form {
            Form::Half => (&value.half, &value.float),
            Form::Float => (&value.float, &value.half),
        };
        if let Some(there) = there {
            return there.clone();
        }
        let Some(other) = other.clone() else { return name.to_owned() };
        let mut to = if other == name { format!("{name}_cast_to_{}", form.word()) } else { name.to_owned() };
        if !self.is_outermost() && !self.values.contains_key(name) {
            // The graph around may make the same cast, under its name.
            to = format!("{name}_cast_to_{}_inside", form.word());
        }
        self.cast(name, &other, &to, form, nodes);
        to
    }

    /// Makes sure that a value can be had in this form under its own name.
    pub(super) fn give(&mut self, name: &str, form: Form, nodes: &mut Vec<NodeProto>) {
        let Some(value) = self.get(name).filter(|value| value.kind == data_type::FLOAT) else { return };
        let (there, other) = match form {
            Form::Half => (&value.half, &value.float),
            Form::Float => (&value.float, &value.half),
        };
        if there.as_deref() != Some(name)
            && let Some(other) = other.clone()
        {
            self.cast(name, &other, name, form, nodes);
        }
    }

    /// Adds a cast of `name`, from the name that it has in the other form, to this one, under the name `to`.
    fn cast(&mut self, name: &str, from: &str, to: &str, form: Form, nodes: &mut Vec<NodeProto>) {
        let kind = attr_int("to", form.kind().into());
        let title = format!("{name}_cast_to_{}_node", form.word());
        nodes.push(node("Cast", &title, &[from], &[to], vec![kind]));
        let mut value = self.get(name).cloned().unwrap_or_default();
        match form {
            Form::Half => value.half = Some(to.to_owned()),
            Form::Float => value.float = Some(to.to_owned()),
        }
        self.values.insert(name.to_owned(), value);
    }
}
