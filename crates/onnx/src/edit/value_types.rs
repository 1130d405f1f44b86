//! The element types of a graph's values, from what its nodes do: for graphs that do not say them.

use super::graph_file::{attribute, int_attribute};
use crate::graph::MICROSOFT;
use crate::proto::{GraphProto, NodeProto, ValueInfoProto, data_type};
use std::collections::HashMap;

/// The element type of a tensor, if it is one and says so.
pub(super) fn stated(value: &ValueInfoProto) -> Option<i32> {
    let kind = value.r#type.as_ref()?.tensor_type.as_ref()?.elem_type;
    (kind != 0).then_some(kind)
}

/// What a graph states of the values inside it and of its outputs.
pub(super) fn stated_types(graph: &GraphProto) -> HashMap<String, i32> {
    let values = graph.value_info.iter().chain(&graph.output);
    values.filter_map(|value| Some((value.name.clone(), stated(value)?))).collect()
}

/// The element types of a node's outputs, by those of its inputs and of the outputs of the graphs in it. `None`: unknown, or no
/// tensor.
pub(super) fn output_types(
    node: &NodeProto,
    inputs: &[Option<i32>],
    inner: &[Vec<Option<i32>>],
) -> Vec<Option<i32>> {
    let of = |place: usize| inputs.get(place).copied().flatten();
    let number = |name: &str| int_attribute(node, name).and_then(|kind| i32::try_from(kind).ok());
    let (long, bool) = (Some(data_type::INT64), Some(data_type::BOOL));
    let all = |kind: Option<i32>| vec![kind; node.output.len()];
    match node.op_type.as_str() {
        "Cast" => all(number("to")),
        "CastLike" | "Where" => all(of(1)),
        "OneHot" => all(of(2)),
        "Shape" | "Size" | "NonZero" | "ArgMax" | "ArgMin" | "NonMaxSuppression" => all(long),
        "Equal" | "Less" | "LessOrEqual" | "Greater" | "GreaterOrEqual" | "And" | "Or" | "Not" | "Xor"
        | "IsNaN" | "IsInf" => all(bool),
        "Constant" => all(constant(node)),
        "ConstantOfShape" => {
            let value = attribute(node, "value").and_then(|value| value.t.as_ref());
            all(Some(value.map_or(data_type::FLOAT, |value| value.data_type)))
        }
        "EyeLike" | "RandomNormalLike" | "RandomUniformLike" | "Bernoulli" => all(number("dtype").or(of(0))),
        "RandomNormal" | "RandomUniform" => all(number("dtype").or(Some(data_type::FLOAT))),
        "Multinomial" => all(number("dtype").or(Some(data_type::INT32))),
        "TopK" | "MaxPool" => vec![of(0), long],
        "Unique" => vec![of(0), long, long, long],
        "Dropout" => vec![of(0), bool],
        "MatMulInteger" | "ConvInteger" => all(Some(data_type::INT32)),
        "QuantizeLinear" => all(of(2).or(number("output_dtype")).or(Some(data_type::UINT8))),
        "DynamicQuantizeLinear" => {
            vec![Some(data_type::UINT8), Some(data_type::FLOAT), Some(data_type::UINT8)]
        }
        "DequantizeLinear" => all(number("output_dtype").filter(|kind| *kind != 0).or(of(1))),
        "GatherBlockQuantized" => all(of(2)),
        "If" | "Scan" => inner.first().cloned().unwrap_or_default(),
        "Loop" => inner.first().and_then(|outputs| outputs.get(1..)).map(<[_]>::to_vec).unwrap_or_default(),
        op if node.domain == MICROSOFT && !op.starts_with("QLinear") => {
            let floats = [data_type::FLOAT, data_type::FLOAT16, data_type::BFLOAT16];
            let float = inputs.iter().flatten().find(|kind| floats.contains(kind));
            all(float.copied().or(of(0)))
        }
        _ => all(inputs.iter().copied().find(Option::is_some).flatten()),
    }
}

fn constant(node: &NodeProto) -> Option<i32> {
    let attribute = node.attribute.first()?;
    match attribute.name.as_str() {
        "value" => Some(attribute.t.as_ref()?.data_type),
        "value_float" | "value_floats" => Some(data_type::FLOAT),
        "value_int" | "value_ints" => Some(data_type::INT64),
        _ => None,
    }
}

/// Whether an output is f32 whatever the type of the inputs is.
pub(super) fn is_always_float(node: &NodeProto, output: usize) -> bool {
    match node.op_type.as_str() {
        "DynamicQuantizeLinear" => output == 1,
        op => output > 0 && output < 3 && op.ends_with("LayerNormalization"),
    }
}
