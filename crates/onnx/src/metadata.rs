//! `genai_config.json` and the tokenizer without building a model: for an ONNX model that exists already, or for one
//! that is made elsewhere.

use super::OnnxError;
use super::decoder_graph::DecoderGraph;
use super::genai_config::{self, GENAI_CONFIG, Interface};
use super::options::BuildOptions;
use super::proto::{GraphProto, ModelProto, TensorProto};
use super::separate_adapter;
use super::side_files::{self, GenaiTokens};
use super::synced_file::write_synced;
use super::weights::Weights;
use olive_arch::Spec;
use olive_core::{Result, error::IoContext, file};
use olive_model::ModelFolder;
use prost::Message;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Writes the configuration and the tokenizer's files of a Hugging Face model into `dir`, for the graph that
/// [`build`](super::build) would write.
///
/// # Errors
/// As [`build`](super::build), apart from weights.
pub fn write_metadata(folder: &ModelFolder, options: &BuildOptions, dir: &Path) -> Result<()> {
    let interface = Interface {
        filename: options.file_name().to_owned(),
        position_ids: options.rotates_outside(),
        share_buffer: false,
    };
    write(folder, options, &interface, dir)
}

/// The same for the graph that lies in `model` beside its `config.json`. The graph, its weights and its adapters are
/// copied along, so that `dir` is whole.
///
/// # Errors
/// No graph in the folder, or several of which none is chosen; one that is not a decoder with the inputs and outputs
/// that genai_config.json would name; a file that cannot be read or written.
pub fn add_metadata(model: &Path, options: &BuildOptions, dir: &Path) -> Result<()> {
    let folder = ModelFolder::open(model)?.with_layers(options.num_hidden_layers)?;
    let path = find_graph(model, options.filename.as_deref())?;
    let damaged = |reason: String| OnnxError::Graph { path: path.clone(), reason };
    let graph = read_graph(&path)?;
    check_names(&graph, &folder.spec()?, options).map_err(damaged)?;
    let data = data_files(&graph).map_err(damaged)?;
    let filename = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let position_ids = graph.input.iter().any(|input| input.name == "position_ids");
    drop(graph);

    let adapters = names_in(model, "onnx_adapter")?;
    for name in data.iter().chain(&adapters).chain([&filename]) {
        let from = model.join(name);
        file::copy(&from, &dir.join(name)).at("copy", &from)?;
    }
    write(&folder, options, &Interface { filename, position_ids, share_buffer: false }, dir)
}

/// Writes the adapter that stays apart from the model, for the graph that [`build`](super::build) would write with it.
///
/// # Errors
/// As [`build`](super::build).
pub fn write_adapter(
    folder: &ModelFolder,
    weights: Weights,
    options: &BuildOptions,
    dir: &Path,
) -> Result<()> {
    let spec = folder.spec()?;
    let (_, _, parameters) = DecoderGraph::new(&spec, options, weights).build()?;
    separate_adapter::write(&parameters, dir)
}

fn write(folder: &ModelFolder, options: &BuildOptions, interface: &Interface, dir: &Path) -> Result<()> {
    let spec = folder.spec()?;
    let tokens = GenaiTokens::read(folder)?;
    let text = genai_config::text(folder, &spec, options, &tokens, interface)?;
    write_synced(&dir.join(GENAI_CONFIG), text.as_bytes())?;
    side_files::copy(folder, spec.context_length, dir)
}

/// The file of this name, or the only graph of the folder.
///
/// # Errors
/// There is none, or several.
pub fn find_graph(model: &Path, filename: Option<&str>) -> Result<PathBuf> {
    let missing = |reason: String| OnnxError::Graph { path: model.to_owned(), reason };
    if let Some(name) = filename {
        let path = model.join(name);
        return if path.is_file() { Ok(path) } else { Err(missing(format!("there is no `{name}`")).into()) };
    }
    match names_in(model, "onnx")?.as_slice() {
        [name] => Ok(model.join(name)),
        [] => Err(missing("there is no ONNX file".into()).into()),
        names => Err(missing(format!("`filename` must say which of {} is meant", names.join(", "))).into()),
    }
}

/// Files of the folder with this extension, in order.
fn names_in(dir: &Path, extension: &str) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in file::entries(dir).at("read", dir)? {
        let path = entry.at("read", dir)?.path();
        if path.extension().is_some_and(|e| e == extension) && path.is_file() {
            names.extend(path.file_name().and_then(|name| name.to_str()).map(str::to_owned));
        }
    }
    names.sort();
    Ok(names)
}

/// Everything that genai_config.json will name must be there; `Err` says what is not.
fn check_names(graph: &GraphProto, spec: &Spec, options: &BuildOptions) -> Result<(), String> {
    let inputs: BTreeSet<&str> = graph.input.iter().map(|value| value.name.as_str()).collect();
    let outputs: BTreeSet<&str> = graph.output.iter().map(|value| value.name.as_str()).collect();
    let caches = inputs.iter().filter(|name| name.starts_with("past_key_values.") && name.ends_with(".key"));
    let (found, layers) = (caches.count(), spec.num_layers());
    if found != layers {
        return Err(format!(
            "it has inputs for the caches of {found} layers, and config.json says {layers}; \
             `num_hidden_layers` may say otherwise"
        ));
    }
    let tokens = if options.exclude_embeds { "inputs_embeds" } else { "input_ids" };
    let mut wanted = vec![(tokens.to_owned(), &inputs), ("attention_mask".to_owned(), &inputs)];
    if !options.exclude_lm_head {
        wanted.push(("logits".to_owned(), &outputs));
    }
    for layer in 0..layers {
        for kind in ["key", "value"] {
            wanted.push((format!("past_key_values.{layer}.{kind}"), &inputs));
            wanted.push((format!("present.{layer}.{kind}"), &outputs));
        }
    }
    match wanted.into_iter().find(|(name, names)| !names.contains(name.as_str())) {
        Some((name, _)) => Err(format!("it has no input or output `{name}`")),
        None => Ok(()),
    }
}

/// Names of the files beside the graph in `path` that hold weights of it.
///
/// # Errors
/// The file cannot be read, is no ONNX model, or has weights elsewhere.
pub fn external_files(path: &Path) -> Result<BTreeSet<String>> {
    let files = data_files(&read_graph(path)?);
    Ok(files.map_err(|reason| OnnxError::Graph { path: path.to_owned(), reason })?)
}

fn read_graph(path: &Path) -> Result<GraphProto> {
    let damaged = |reason: String| OnnxError::Graph { path: path.to_owned(), reason };
    let bytes = file::read(path).at("read", path)?;
    let model = ModelProto::decode(&*bytes).map_err(|e| damaged(format!("it is not an ONNX model ({e})")))?;
    Ok(model.graph.ok_or_else(|| damaged("it has no graph".into()))?)
}

/// Files in which the weights lie.
pub(crate) fn data_files(graph: &GraphProto) -> Result<BTreeSet<String>, String> {
    let mut files = BTreeSet::new();
    collect_files(graph, &mut files);
    match files.iter().find(|name| !crate::ModelBuilderOptions::is_file_name(name)) {
        Some(name) => Err(format!("its weights lie in `{name}`, which is not beside it")),
        None => Ok(files),
    }
}

fn collect_files(graph: &GraphProto, files: &mut BTreeSet<String>) {
    let mut of_tensor = |tensor: &TensorProto| {
        let location = tensor.external_data.iter().find(|entry| entry.key == "location");
        files.extend(location.map(|entry| entry.value.clone()));
    };
    graph.initializer.iter().for_each(&mut of_tensor);
    let attributes = || graph.node.iter().flat_map(|node| &node.attribute);
    attributes().filter_map(|attribute| attribute.t.as_ref()).for_each(&mut of_tensor);
    attributes().filter_map(|attribute| attribute.g.as_ref()).for_each(|g| collect_files(g, files));
}
