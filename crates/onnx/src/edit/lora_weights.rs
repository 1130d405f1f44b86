//! Where a graph has the matrices of LoRA adapters, by the names that exporters give them.

use super::graph_file::GraphFile;
use crate::proto::NodeProto;
use std::collections::BTreeSet;

/// One of the two matrices of a pair, which differ in the dimension that is the rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Half {
    /// `[in, rank]`.
    A,
    /// `[rank, out]`.
    B,
}

impl Half {
    pub(super) fn rank_axis(self) -> usize {
        match self {
            Half::A => 1,
            Half::B => 0,
        }
    }
}

/// A tensor of an adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LoraTensor {
    pub name: String,
    /// What it is to be called.
    pub new: String,
    /// `None`: codes, or what belongs to them, whose shape is not to change.
    pub half: Option<Half>,
}

/// What was found: tensors of the graph, and inputs that are matrices of adapters already.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub tensors: Vec<LoraTensor>,
    pub inputs: Vec<(String, Half)>,
}

/// Parts of the names of PyTorch's older exporter for the default adapter, behind that of the layer.
const OLDER: [(&str, Half); 4] =
    [("default_0_1", Half::B), ("default_1", Half::B), ("default_0", Half::A), ("default", Half::A)];

/// The layer that a node of an adapter belongs to, `model.layers.0.self_attn.q_proj.lora_A`, and which half of it the node is.
fn module_of(node: &NodeProto) -> Option<(String, Half)> {
    let path = node.name.trim_start_matches('/').replace('/', ".");
    let (module, last) = path.rsplit_once('.')?;
    let is_product = match node.op_type.as_str() {
        "MatMul" => last == "MatMul",
        "MatMulNBits" => ["MatMul", "MatMul_Q4", "MatMul_Q8", "MatMulNBits"].contains(&last),
        _ => false,
    };
    let (layer, part) = module.rsplit_once('.').filter(|_| is_product)?;
    let half = match part {
        "lora_A" => Half::A,
        "lora_B" => Half::B,
        older => OLDER.iter().find(|(name, _)| *name == older)?.1,
    };
    let name = match half {
        Half::A => "lora_A",
        Half::B => "lora_B",
    };
    Some((format!("{layer}.{name}"), half))
}

/// All of them, in the order of the nodes that read them.
pub(super) fn find(file: &GraphFile) -> Found {
    let inputs: BTreeSet<&str> = file.graph().input.iter().map(|input| input.name.as_str()).collect();
    let mut found = Found::default();
    let mut seen = BTreeSet::new();
    for node in &file.graph().node {
        let Some((module, half)) = module_of(node) else { continue };
        let Some(weight) = node.input.get(1) else { continue };
        if inputs.contains(weight.as_str()) {
            found.inputs.push((weight.clone(), half));
            continue;
        }
        let codes = || ["weight", "scale", "zero_point"].map(|part| format!("{module}.quant.{part}"));
        let source = file.producer(weight).map(|place| &file.graph().node[place]);
        let tensors: Vec<(String, String, Option<Half>)> = match (node.op_type.as_str(), source) {
            ("MatMul", None) => vec![(weight.clone(), own_name(weight, &module), Some(half))],
            ("MatMul", Some(source)) if source.op_type == "DequantizeLinear" => {
                source.input.iter().cloned().zip(codes()).map(|(name, new)| (name, new, None)).collect()
            }
            ("MatMulNBits", None) => {
                let parts = node.input[1..].iter().take(3).cloned();
                parts.zip(codes()).map(|(name, new)| (name, new, None)).collect()
            }
            _ => continue,
        };
        let is_new =
            |name: &String| !name.is_empty() && !seen.contains(name) && file.initializer(name).is_some();
        let new: Vec<_> = tensors.into_iter().filter(|(name, ..)| is_new(name)).collect();
        seen.extend(new.iter().map(|(name, ..)| name.clone()));
        found.tensors.extend(new.into_iter().map(|(name, new, half)| LoraTensor { name, new, half }));
    }
    found
}

/// Exporters of today give matrices of adapters names that say so, which stay.
fn own_name(weight: &str, module: &str) -> String {
    match weight.contains("lora_A") || weight.contains("lora_B") {
        true => weight.to_owned(),
        false => format!("{module}.weight"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_nodes_say_the_layer_and_the_half() {
        let node = |op: &str, name: &str| NodeProto {
            op_type: op.into(),
            name: name.into(),
            ..NodeProto::default()
        };
        let of = |op, name| module_of(&node(op, name));
        let wanted = |half, end: &str| Some((format!("model.layers.0.attn.q_proj.{end}"), half));
        assert_eq!(of("MatMul", "/model/layers.0/attn/q_proj/lora_A/MatMul"), wanted(Half::A, "lora_A"));
        assert_eq!(
            of("MatMulNBits", "/model/layers.0/attn/q_proj/lora_B/MatMul_Q4"),
            wanted(Half::B, "lora_B")
        );
        assert_eq!(of("MatMul", "/model/layers.0/attn/q_proj/default_1/MatMul"), wanted(Half::B, "lora_B"));
        assert_eq!(of("MatMul", "/model/layers.0/attn/q_proj/default/MatMul"), wanted(Half::A, "lora_A"));
        assert_eq!(of("MatMul", "/model/layers.0/attn/q_proj/MatMul"), None);
        assert_eq!(of("Add", "/model/layers.0/attn/q_proj/lora/Add"), None);
    }
}
