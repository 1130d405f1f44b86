//! ExtractAdapters: the matrices of LoRA adapters leave the graph, which takes them as inputs or reads them from a file of theirs.

use super::graph_file::{Data, GraphFile, sizes};
use super::lora_weights::{Found, Half, LoraTensor, find};
use super::{Outcome, unchanged};
use crate::OnnxError;
use crate::adapter_file::{self, AdapterParameter, Versions};
use crate::proto::{Dimension, GraphProto, TensorProto, TensorShape, TensorType, TypeProto, ValueInfoProto};
use crate::weights_file::{self, WeightsFormat};
use olive_core::Result;
use olive_core::error::IoContext;
use olive_core::file;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// The file without its suffix.
const STEM: &str = "adapter_weights";

/// How adapters are kept apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtractOptions {
    pub format: WeightsFormat,
    pub matrices: Matrices,
}

/// What the matrices become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matrices {
    /// Tensors of the graph whose bytes lie in the adapter's file.
    External,
    Inputs {
        rank: Rank,
        /// What an input is that is not given.
        missing: Missing,
    },
}

/// The rank that inputs of matrices in float may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rank {
    /// That of the adapter.
    Fixed,
    Any,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// An error.
    Refused,
    /// No adapter, where the matrix is of floats.
    None,
}

/// Writes the adapter into `dir`, where the graph will lie.
///
/// # Errors
/// A tensor that cannot be read, a file that cannot be read or written.
pub fn extract_adapters(file: &mut GraphFile, options: ExtractOptions, dir: &Path) -> Result<Outcome> {
    let Found { tensors, inputs } = find(file);
    let beside = file.dir().join(adapter_file::FILE);
    let parameters = if !tensors.is_empty() {
        take(file, &tensors)?
    } else if inputs.is_empty() {
        return unchanged("the graph has no matrices of an adapter");
    } else if !beside.is_file() {
        return unchanged("the matrices of its adapter are inputs already, and there is no file with them");
    } else {
        let bytes = file::read(&beside).at("read", &beside)?;
        let damaged = |reason: &str| OnnxError::Model { path: beside.clone(), reason: reason.to_owned() };
        adapter_file::decode(&bytes).map_err(damaged)?
    };
    let halves: BTreeMap<&str, Half> = tensors
        .iter()
        .filter_map(|tensor| Some((tensor.new.as_str(), tensor.half?)))
        .chain(inputs.iter().map(|(name, half)| (name.as_str(), *half)))
        .collect();
    let name = format!("{STEM}{}", options.format.suffix());
    let offsets = weights_file::write(&dir.join(&name), options.format, &parameters, Versions::FIRST)?;
    for (parameter, offset) in parameters.iter().zip(offsets) {
        let half = halves.get(parameter.name.as_str()).copied();
        forget(file.graph_mut(), &parameter.name);
        match options.matrices {
            Matrices::External => {
                add(file, parameter, &parameter.dims, parameter.bytes.clone());
                file.place(&parameter.name, &name, offset);
            }
            Matrices::Inputs { rank, missing } => add_input(file, parameter, half, rank, missing),
        }
    }
    let count = parameters.len();
    Ok(Outcome::Changed(match options.matrices {
        Matrices::External => {
            format!("{count} tensors of an adapter lie in {name}, where the graph reads them")
        }
        Matrices::Inputs { .. } => {
            format!("{count} tensors of an adapter are inputs of the graph, and lie in {name}")
        }
    }))
}

/// Reads tensors of the graph, and gives them their new names.
fn take(file: &mut GraphFile, tensors: &[LoraTensor]) -> Result<Vec<AdapterParameter>> {
    let mut parameters = Vec::with_capacity(tensors.len());
    for LoraTensor { name, new, .. } in tensors {
        let Some(tensor) = file.initializer(name) else { continue };
        parameters.push(AdapterParameter {
            name: new.clone(),
            dims: sizes(tensor),
            data_type: tensor.data_type,
            bytes: file.data().bytes(name)?.into_owned(),
        });
        if name != new {
            let graph = file.graph_mut();
            graph.initializer.retain(|tensor| tensor.name != *name);
            graph.value_info.retain(|value| value.name != *name);
            let inputs = graph.node.iter_mut().flat_map(|node| &mut node.input);
            inputs.filter(|input| *input == name).for_each(|input| input.clone_from(new));
        }
    }
    Ok(parameters)
}

/// Takes a name out of the graph, but for the nodes that read it.
fn forget(graph: &mut GraphProto, name: &str) {
    graph.initializer.retain(|tensor| tensor.name != name);
    graph.input.retain(|input| input.name != name);
    graph.value_info.retain(|value| value.name != name);
}

fn add(file: &mut GraphFile, parameter: &AdapterParameter, dims: &[usize], bytes: Vec<u8>) {
    file.add(&parameter.name, parameter.data_type, dims, Arc::new(move |_: &Data| Ok(bytes.clone())));
}

/// Makes an input of a matrix. Codes have a shape that their node says, too, and no value that means no adapter.
fn add_input(
    file: &mut GraphFile,
    parameter: &AdapterParameter,
    half: Option<Half>,
    rank: Rank,
    missing: Missing,
) {
    let axis = half.map(Half::rank_axis).filter(|axis| *axis < parameter.dims.len());
    let any = axis.filter(|_| rank == Rank::Any);
    let dim = |(place, size): (usize, &usize)| match any == Some(place) {
        true => Dimension { dim_param: Some("lora_r".into()), ..Dimension::default() },
        false => Dimension { dim_value: Some(*size as i64), ..Dimension::default() },
    };
    let shape = TensorShape { dim: parameter.dims.iter().enumerate().map(dim).collect() };
    let tensor_type = TensorType { elem_type: parameter.data_type, shape: Some(shape) };
    file.graph_mut().input.push(ValueInfoProto {
        name: parameter.name.clone(),
        r#type: Some(TypeProto { tensor_type: Some(tensor_type), ..TypeProto::default() }),
        ..ValueInfoProto::default()
    });
    if let Some(axis) = axis.filter(|_| missing == Missing::None) {
        let mut dims = parameter.dims.clone();
        if any.is_some() {
            dims[axis] = 0;
            file.graph_mut().initializer.push(TensorProto {
                dims: dims.iter().map(|size| *size as i64).collect(),
                data_type: parameter.data_type,
                name: parameter.name.clone(),
                ..TensorProto::default()
            });
        } else {
            add(file, parameter, &dims, vec![0; parameter.bytes.len()]);
        }
    }
}
