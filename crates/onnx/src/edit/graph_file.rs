//! A model file whose weights stay where they are until they are written.

use crate::OnnxError;
use crate::metadata::data_files;
use crate::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, StringStringEntry, TensorProto, data_type,
};
use crate::synced_file::write_synced;
use olive_core::cancel::CancelFlag;
use olive_core::event::{Event, EventSink, Unit};
use olive_core::{Result, error::IoContext, file};
use olive_model::mapped_file::MappedFile;
use prost::Message;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Tensors below this size stay in the model file, as Olive's `size_threshold` has it.
const INLINE: u64 = 1024;

/// Makes the bytes of a new tensor, when it is written.
pub type Made = Arc<dyn Fn(&Data) -> Result<Vec<u8>> + Send + Sync>;

/// A model that is edited.
pub struct GraphFile {
    path: PathBuf,
    model: ModelProto,
    data: Data,
    /// Tensors that lie in a file that is there already: its name, and the offset.
    placed: BTreeMap<String, (String, u64)>,
}

/// The bytes of a model's tensors.
#[derive(Default)]
pub struct Data {
    path: PathBuf,
    files: BTreeMap<String, MappedFile>,
    /// The tensors as they were read.
    tensors: BTreeMap<String, TensorProto>,
    made: BTreeMap<String, Made>,
}

impl GraphFile {
    /// # Errors
    /// The file cannot be read, is no ONNX model, or its weights lie in files that are not beside it or too short.
    pub fn open(path: &Path) -> Result<GraphFile> {
        let damaged = |reason: String| OnnxError::Model { path: path.to_owned(), reason };
        let bytes = file::read(path).at("read", path)?;
        let mut model =
            ModelProto::decode(&*bytes).map_err(|e| damaged(format!("it is not an ONNX model ({e})")))?;
        drop(bytes);
        let Some(graph) = model.graph.as_mut() else { return Err(damaged("it has no graph".into()).into()) };
        let dir = path.parent().unwrap_or(Path::new("."));
        let mut files = BTreeMap::new();
        for name in data_files(graph).map_err(damaged)? {
            let path = dir.join(&name);
            let open = file::open(&path).at("open", &path)?;
            files.insert(name, MappedFile::open(&open, &path).at("map", &path)?);
        }
        let tensors = graph.initializer.iter().map(|tensor| (tensor.name.clone(), tensor.clone())).collect();
        let data = Data { path: path.to_owned(), files, tensors, made: BTreeMap::new() };
        for tensor in &graph.initializer {
            data.check(tensor)?;
        }
        bring_in(graph, &data, 0)?;
        Ok(GraphFile { path: path.to_owned(), model, data, placed: BTreeMap::new() })
    }

    pub fn graph(&self) -> &GraphProto {
        self.model.graph.as_ref().expect("checked when it was opened")
    }

    pub fn graph_mut(&mut self) -> &mut GraphProto {
        self.model.graph.as_mut().expect("checked when it was opened")
    }

    pub fn data(&self) -> &Data {
        &self.data
    }

    /// Its name in the folder.
    pub fn file_name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    pub fn initializer(&self, name: &str) -> Option<&TensorProto> {
        self.graph().initializer.iter().find(|tensor| tensor.name == name)
    }

    /// The node that gives this value.
    pub fn producer(&self, value: &str) -> Option<usize> {
        self.graph().node.iter().position(|node| node.output.iter().any(|output| output == value))
    }

    /// A name that nothing has yet: this one, or with a number.
    pub fn free_node_name(&self, name: &str) -> String {
        let taken = |name: &str| self.graph().node.iter().any(|node| node.name == name);
        let mut free = name.to_owned();
        let mut number = 0;
        while taken(&free) {
            free = format!("{name}_{number}");
            number += 1;
        }
        free
    }

    /// Adds a tensor whose bytes are made when it is written.
    pub fn add(&mut self, name: &str, data_type: i32, dims: &[usize], made: Made) {
        let tensor = TensorProto {
            dims: dims.iter().map(|dim| *dim as i64).collect(),
            data_type,
            name: name.to_owned(),
            ..TensorProto::default()
        };
        self.data.made.insert(name.to_owned(), made);
        self.graph_mut().initializer.push(tensor);
    }

    /// Gives a tensor another type, of the same shape, and bytes that are made when it is written, perhaps of
    /// [those that it had](Data::original).
    pub fn replace(&mut self, name: &str, data_type: i32, made: Made) {
        let known = self.graph_mut().initializer.iter_mut().find(|tensor| tensor.name == name);
        if let Some(tensor) = known {
            *tensor = TensorProto {
                dims: std::mem::take(&mut tensor.dims),
                data_type,
                name: name.to_owned(),
                doc_string: std::mem::take(&mut tensor.doc_string),
                metadata_props: std::mem::take(&mut tensor.metadata_props),
                ..TensorProto::default()
            };
            self.data.made.insert(name.to_owned(), made);
        }
    }

    /// Says that the bytes of a tensor lie in a file beside the graph, which is not written with it.
    pub fn place(&mut self, name: &str, file: &str, offset: u64) {
        self.placed.insert(name.to_owned(), (file.to_owned(), offset));
    }

    /// The folder that it was read from.
    pub fn dir(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    /// Adds a small tensor of whole numbers.
    pub fn add_ints(&mut self, name: &str, values: &[i64]) {
        let raw_data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let dims = vec![values.len() as i64];
        let tensor = TensorProto {
            dims,
            data_type: data_type::INT64,
            name: name.to_owned(),
            raw_data,
            ..TensorProto::default()
        };
        self.data.tensors.insert(name.to_owned(), tensor.clone());
        self.graph_mut().initializer.push(tensor);
    }

    /// Removes tensors that no node reads.
    pub fn remove_unused(&mut self) {
        let mut used = BTreeSet::new();
        collect_inputs(self.graph(), &mut used);
        used.extend(self.graph().output.iter().map(|output| output.name.clone()));
        self.graph_mut().initializer.retain(|tensor| used.contains(&tensor.name));
    }

    /// Makes the operators' version at least this.
    pub fn raise_opset(&mut self, version: i64) {
        for opset in &mut self.model.opset_import {
            if opset.domain.as_deref().unwrap_or_default().is_empty() {
                opset.version = opset.version.max(version);
            }
        }
    }

    /// Makes sure that the operators of this domain can be named.
    pub fn import(&mut self, domain: &str) {
        let known = self.model.opset_import.iter().any(|opset| opset.domain.as_deref() == Some(domain));
        if !known {
            let opset = crate::proto::OperatorSetId { domain: Some(domain.to_owned()), version: 1 };
            self.model.opset_import.push(opset);
        }
    }

    /// Writes the model into another folder, under its name, with its weights in one file beside it.
    ///
    /// # Errors
    /// A tensor that cannot be made or read, a file that cannot be written, an interruption.
    pub fn save(mut self, dir: &Path, cancel: &CancelFlag, events: &dyn EventSink) -> Result<()> {
        let name = self.file_name();
        let location = format!("{name}.data");
        let path = dir.join(&location);
        let mut initializers = std::mem::take(&mut self.graph_mut().initializer);
        let phase = "write weights";
        let total = Some(initializers.len() as u64);
        events.emit(Event::PhaseStarted { phase: phase.into(), total, unit: Unit::Tensors });
        let mut out: Option<BufWriter<File>> = None;
        let mut offset = 0u64;
        for (done, tensor) in initializers.iter_mut().enumerate() {
            cancel.check()?;
            if let (Some((file, offset)), Some(size)) =
                (self.placed.get(&tensor.name), self.data.size(tensor))
            {
                make_external(tensor, file, *offset, size);
            } else if let Some(size) = self.data.size(tensor).filter(|size| *size >= INLINE) {
                let file = match &mut out {
                    Some(file) => file,
                    None => out
                        .insert(BufWriter::with_capacity(1 << 20, File::create(&path).at("create", &path)?)),
                };
                let bytes = self.data.bytes_of(tensor)?;
                if bytes.len() as u64 != size {
                    return Err(self.data.damaged(&tensor.name, "has not the size of its shape").into());
                }
                file.write_all(&bytes).at("write", &path)?;
                make_external(tensor, &location, offset, size);
                offset += size;
            } else if tensor.data_location == 1 || self.data.made.contains_key(&tensor.name) {
                let bytes = self.data.bytes_of(tensor)?.into_owned();
                tensor.external_data.clear();
                tensor.data_location = 0;
                tensor.raw_data = bytes;
            }
            events.emit(Event::PhaseProgress { done: done as u64 + 1 });
        }
        if let Some(file) = out {
            let file = file.into_inner().map_err(std::io::IntoInnerError::into_error).at("write", &path)?;
            file.sync_all().at("sync", &path)?;
        }
        self.graph_mut().initializer = initializers;
        events.emit(Event::PhaseFinished { phase: phase.into() });
        write_synced(&dir.join(name), &self.model.encode_to_vec())
    }
}

fn make_external(tensor: &mut TensorProto, location: &str, offset: u64, size: u64) {
    let entry = |key: &str, value: String| StringStringEntry { key: key.to_owned(), value };
    *tensor = TensorProto {
        dims: std::mem::take(&mut tensor.dims),
        data_type: tensor.data_type,
        name: std::mem::take(&mut tensor.name),
        doc_string: std::mem::take(&mut tensor.doc_string),
        metadata_props: std::mem::take(&mut tensor.metadata_props),
        external_data: vec![
            entry("location", location.to_owned()),
            entry("offset", offset.to_string()),
            entry("length", size.to_string()),
        ],
        data_location: 1,
        ..TensorProto::default()
    };
}

/// How deep graphs may lie in each other.
const DEPTH: usize = 16;

/// Tensors of nodes that lie in other files become part of the model file.
fn bring_in(graph: &mut GraphProto, data: &Data, depth: usize) -> Result<()> {
    if depth > DEPTH {
        return Err(data.damaged(&graph.name, "lies too deep in other graphs").into());
    }
    let inline = |tensor: &mut TensorProto| -> Result<()> {
        if tensor.data_location == 1 {
            tensor.raw_data = data.bytes_of(tensor)?.into_owned();
            tensor.external_data.clear();
            tensor.data_location = 0;
        }
        Ok(())
    };
    for attribute in graph.node.iter_mut().flat_map(|node| &mut node.attribute) {
        attribute.t.iter_mut().chain(&mut attribute.tensors).try_for_each(inline)?;
        for inner in attribute.g.iter_mut().chain(&mut attribute.graphs) {
            inner.initializer.iter_mut().try_for_each(inline)?;
            bring_in(inner, data, depth + 1)?;
        }
    }
    Ok(())
}

fn collect_inputs(graph: &GraphProto, used: &mut BTreeSet<String>) {
    for node in &graph.node {
        used.extend(node.input.iter().cloned());
        for attribute in &node.attribute {
            attribute.g.iter().chain(&attribute.graphs).for_each(|inner| {
                collect_inputs(inner, used);
                used.extend(inner.output.iter().map(|output| output.name.clone()));
            });
        }
    }
}

impl Data {
    /// The bytes of a tensor of the model, little-endian.
    ///
    /// # Errors
    /// There is no such tensor, or it cannot be made.
    pub fn bytes(&self, name: &str) -> Result<Cow<'_, [u8]>> {
        match (self.made.get(name), self.tensors.get(name)) {
            (Some(made), _) => Ok(Cow::Owned(made(self)?)),
            (None, Some(tensor)) => self.bytes_of(tensor),
            (None, None) => Err(self.damaged(name, "is not there").into()),
        }
    }

    fn bytes_of<'a>(&'a self, tensor: &'a TensorProto) -> Result<Cow<'a, [u8]>> {
        match self.made.get(&tensor.name) {
            Some(made) => Ok(Cow::Owned(made(self)?)),
            None => self.stored(tensor),
        }
    }

    /// The bytes that a tensor had when it was read.
    ///
    /// # Errors
    /// There was no such tensor, or its values are no numbers.
    pub fn original(&self, name: &str) -> Result<Cow<'_, [u8]>> {
        match self.tensors.get(name) {
            Some(tensor) => self.stored(tensor),
            None => Err(self.damaged(name, "is not there").into()),
        }
    }

    fn stored<'a>(&'a self, tensor: &'a TensorProto) -> Result<Cow<'a, [u8]>> {
        if tensor.data_location == 1 {
            return Ok(Cow::Borrowed(self.external(tensor).map_err(|why| self.damaged(&tensor.name, &why))?));
        }
        if !tensor.raw_data.is_empty() {
            return Ok(Cow::Borrowed(&tensor.raw_data));
        }
        typed_bytes(tensor)
            .map(Cow::Owned)
            .ok_or_else(|| self.damaged(&tensor.name, "is not of numbers").into())
    }

    /// Bytes that a tensor takes; `None`: that cannot be said, and it stays in the model file.
    fn size(&self, tensor: &TensorProto) -> Option<u64> {
        let count =
            tensor.dims.iter().try_fold(1u64, |count, dim| count.checked_mul(u64::try_from(*dim).ok()?))?;
        Some(count.checked_mul(data_type::bits(tensor.data_type)?)?.div_ceil(8))
    }

    fn check(&self, tensor: &TensorProto) -> Result<()> {
        if tensor.data_location == 1 {
            self.external(tensor).map_err(|why| self.damaged(&tensor.name, &why))?;
        }
        Ok(())
    }

    fn external(&self, tensor: &TensorProto) -> Result<&[u8], String> {
        let entry = |key: &str| {
            tensor.external_data.iter().find(|entry| entry.key == key).map(|entry| entry.value.as_str())
        };
        let location = entry("location").ok_or("does not say where its data lies")?;
        let map = self.files.get(location).ok_or("lies in a file that is not there")?;
        let number =
            |text: &str| text.parse::<usize>().map_err(|_| format!("has the offset or length `{text}`"));
        let offset = entry("offset").map_or(Ok(0), number)?;
        let size =
            self.size(tensor).and_then(|size| usize::try_from(size).ok()).ok_or("is of an unknown size")?;
        let length = entry("length").map_or(Ok(size), number)?;
        if length != size {
            return Err(format!("takes {length} bytes, and its shape {size}"));
        }
        let end = offset.checked_add(length).ok_or("lies behind the end of its file")?;
        map.get(offset..end).ok_or_else(|| "lies behind the end of its file".to_owned())
    }

    pub(crate) fn damaged(&self, tensor: &str, why: &str) -> OnnxError {
        OnnxError::Model { path: self.path.clone(), reason: format!("`{tensor}` {why}") }
    }
}

/// Values that are stored one by one.
fn typed_bytes(tensor: &TensorProto) -> Option<Vec<u8>> {
    let TensorProto { float_data, int32_data, int64_data, double_data, uint64_data, .. } = tensor;
    Some(match tensor.data_type {
        data_type::FLOAT => float_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        data_type::INT64 => int64_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        11 => double_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        13 => uint64_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        12 => uint64_data.iter().flat_map(|v| (*v as u32).to_le_bytes()).collect(),
        data_type::INT32 => int32_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        kind => match data_type::bits(kind)? {
            16 => int32_data.iter().flat_map(|v| (*v as u16).to_le_bytes()).collect(),
            2 | 4 | 8 => int32_data.iter().map(|v| *v as u8).collect(),
            _ => return None,
        },
    })
}

/// The whole number that a node's attribute is.
pub(super) fn int_attribute(node: &NodeProto, name: &str) -> Option<i64> {
    attribute(node, name)?.i
}

pub(super) fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name == name)
}

/// A node of ONNX's own operators, or of Microsoft's.
pub(super) fn node(
    op: &str,
    name: &str,
    inputs: &[&str],
    outputs: &[&str],
    attributes: Vec<AttributeProto>,
) -> NodeProto {
    let domain = match op {
        "MatMulNBits" | "GatherBlockQuantized" => crate::graph::MICROSOFT,
        _ => "",
    };
    NodeProto {
        input: inputs.iter().map(ToString::to_string).collect(),
        output: outputs.iter().map(ToString::to_string).collect(),
        name: name.to_owned(),
        op_type: op.to_owned(),
        attribute: attributes,
        domain: domain.to_owned(),
        ..NodeProto::default()
    }
}

/// Dimensions as sizes.
pub(super) fn sizes(tensor: &TensorProto) -> Vec<usize> {
    tensor.dims.iter().map(|dim| usize::try_from(*dim).unwrap_or_default()).collect()
}
