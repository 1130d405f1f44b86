//! Reading ONNX folders.

use olive_onnx::proto::{GraphProto, ModelProto, TensorProto};
use prost::Message;
use std::collections::BTreeMap;
use std::path::Path;

pub fn graph(dir: &Path) -> GraphProto {
    ModelProto::decode(&*std::fs::read(dir.join("model.onnx")).unwrap()).unwrap().graph.unwrap()
}

/// All tensors of a model by name, with their bytes: initializers, which lie in the file beside the graph, and the
/// constants inside of branches.
pub fn tensors(dir: &Path, graph: &GraphProto) -> BTreeMap<String, (TensorProto, Vec<u8>)> {
    let data = std::fs::read(dir.join("model.onnx.data")).unwrap();
    let mut tensors = BTreeMap::new();
    for tensor in &graph.initializer {
        let entry = |key: &str| -> usize {
            tensor.external_data.iter().find(|e| e.key == key).unwrap().value.parse().unwrap()
        };
        let bytes = match tensor.data_location {
            1 => data[entry("offset")..][..entry("length")].to_vec(),
            _ => tensor.raw_data.clone(),
        };
        tensors.insert(tensor.name.clone(), (tensor.clone(), bytes));
    }
    let branches = graph.node.iter().flat_map(|n| &n.attribute).filter_map(|a| a.g.as_ref());
    for node in branches.flat_map(|branch| &branch.node) {
        let tensor = node.attribute[0].t.clone().unwrap();
        let bytes = tensor.raw_data.clone();
        tensors.insert(node.output[0].clone(), (tensor, bytes));
    }
    tensors
}
