//! A graph as it grows: nodes in the order they run, constants made on first use.

use super::proto::{
    AttributeProto, Dimension, GraphProto, NodeProto, TensorProto, TensorShape, TensorType, TypeProto,
    ValueInfoProto, attribute_type, data_type,
};
use olive_kernels::quant::FloatType;
use std::collections::BTreeSet;

pub(crate) const MICROSOFT: &str = "com.microsoft";

/// The element type's number in ONNX.
pub(crate) fn onnx_type(float: FloatType) -> i32 {
    match float {
        FloatType::F32 => data_type::FLOAT,
        FloatType::F16 => data_type::FLOAT16,
        FloatType::Bf16 => data_type::BFLOAT16,
    }
}

/// A dimension of an input or output.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Dim {
    Fixed(usize),
    Symbol(&'static str),
    Any,
}

#[derive(Default)]
pub(crate) struct GraphBuilder {
    nodes: Vec<NodeProto>,
    inputs: Vec<ValueInfoProto>,
    outputs: Vec<ValueInfoProto>,
    constants: BTreeSet<String>,
    /// Of inputs that may be left out.
    defaults: Vec<TensorProto>,
}

impl GraphBuilder {
    /// Adds a node of ONNX's own operators with one output, `<name>/output_0`, and gives that back.
    pub(crate) fn op(
        &mut self,
        op: &str,
        name: &str,
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
    ) -> String {
        let output = format!("{name}/output_0");
        self.node(op, "", name, inputs, &[&output], attributes);
        output
    }

    pub(crate) fn node(
        &mut self,
        op: &str,
        domain: &str,
        name: &str,
        inputs: &[&str],
        outputs: &[&str],
        attribute: Vec<AttributeProto>,
    ) {
        self.nodes.push(NodeProto {
            input: inputs.iter().map(ToString::to_string).collect(),
            output: outputs.iter().map(ToString::to_string).collect(),
            name: name.to_owned(),
            op_type: op.to_owned(),
            attribute,
            domain: domain.to_owned(),
            ..NodeProto::default()
        });
    }

    pub(crate) fn input(&mut self, name: &str, elem_type: i32, dims: &[Dim]) {
        self.inputs.push(value(name, elem_type, dims));
    }

    /// An input that may be left out; then its `Any` dimensions are zero.
    pub(crate) fn optional_input(&mut self, name: &str, elem_type: i32, dims: &[Dim]) {
        self.input(name, elem_type, dims);
        let size = |dim: &Dim| if let Dim::Fixed(n) = dim { *n as i64 } else { 0 };
        self.defaults.push(TensorProto {
            dims: dims.iter().map(size).collect(),
            data_type: elem_type,
            name: name.to_owned(),
            ..TensorProto::default()
        });
    }

    pub(crate) fn output(&mut self, name: &str, elem_type: i32, dims: &[Dim]) {
        self.outputs.push(value(name, elem_type, dims));
    }

    /// A rank-0 INT64 constant.
    pub(crate) fn int(&mut self, number: i64) -> String {
        self.constant("INT64", &number.to_string(), data_type::INT64, vec![], number.to_le_bytes().to_vec())
    }

    /// A rank-1 INT64 constant.
    pub(crate) fn ints(&mut self, numbers: &[i64]) -> String {
        let literal = format!("{numbers:?}");
        let raw = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        self.constant("INT64", &literal, data_type::INT64, vec![numbers.len() as i64], raw)
    }

    /// A rank-0 constant of the float type.
    pub(crate) fn float(&mut self, number: f64, float: FloatType) -> String {
        let kind = match float {
            FloatType::F32 => "FLOAT",
            FloatType::F16 => "FLOAT16",
            FloatType::Bf16 => "BFLOAT16",
        };
        let raw = float.to_bytes(&[number as f32]);
        self.constant(kind, &format!("{number:?}"), onnx_type(float), vec![], raw)
    }

    /// A rank-0 constant of f32 whose name says the number so.
    pub(crate) fn float_named(&mut self, literal: &str, number: f64) -> String {
        let raw = (number as f32).to_le_bytes().to_vec();
        self.constant("FLOAT", literal, data_type::FLOAT, vec![], raw)
    }

    fn constant(
        &mut self,
        kind: &str,
        literal: &str,
        data_type: i32,
        dims: Vec<i64>,
        raw_data: Vec<u8>,
    ) -> String {
        let output = format!("/model/constants/{kind}/{literal}");
        if self.constants.insert(output.clone()) {
            let tensor =
                TensorProto { dims, data_type, name: output.clone(), raw_data, ..TensorProto::default() };
            let name = format!("/model/constant_nodes/{kind}/{literal}");
            self.node("Constant", "", &name, &[], &[&output], vec![attr_tensor("value", tensor)]);
        }
        output
    }

    pub(crate) fn finish(self, name: &str, mut initializer: Vec<TensorProto>) -> GraphProto {
        initializer.extend(self.defaults);
        GraphProto {
            node: self.nodes,
            name: name.to_owned(),
            initializer,
            input: self.inputs,
            output: self.outputs,
            ..GraphProto::default()
        }
    }
}

fn value(name: &str, elem_type: i32, dims: &[Dim]) -> ValueInfoProto {
    let dim = dims
        .iter()
        .map(|dim| match dim {
            Dim::Fixed(n) => Dimension { dim_value: Some(*n as i64), ..Dimension::default() },
            Dim::Any => Dimension::default(),
            Dim::Symbol(s) => Dimension { dim_param: Some((*s).to_owned()), ..Dimension::default() },
        })
        .collect();
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorType { elem_type, shape: Some(TensorShape { dim }) }),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    }
}

fn attribute(name: &str, r#type: i32) -> AttributeProto {
    AttributeProto { name: name.to_owned(), r#type, ..AttributeProto::default() }
}

pub(crate) fn attr_int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { i: Some(i), ..attribute(name, attribute_type::INT) }
}

pub(crate) fn attr_ints(name: &str, ints: &[i64]) -> AttributeProto {
    AttributeProto { ints: ints.to_vec(), ..attribute(name, attribute_type::INTS) }
}

pub(crate) fn attr_float(name: &str, f: f64) -> AttributeProto {
    AttributeProto { f: Some(f as f32), ..attribute(name, attribute_type::FLOAT) }
}

pub(crate) fn attr_string(name: &str, s: &str) -> AttributeProto {
    AttributeProto { s: Some(s.as_bytes().to_vec()), ..attribute(name, attribute_type::STRING) }
}

pub(crate) fn attr_tensor(name: &str, t: TensorProto) -> AttributeProto {
    AttributeProto { t: Some(t), ..attribute(name, attribute_type::TENSOR) }
}

pub(crate) fn attr_graph(name: &str, g: GraphProto) -> AttributeProto {
    AttributeProto { g: Some(g), ..attribute(name, attribute_type::GRAPH) }
}
