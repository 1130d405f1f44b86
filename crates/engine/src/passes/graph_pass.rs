//! What the passes on an ONNX graph have in common: the model is read, changed and written, its companions go along.

use super::pass::RunContext;
use olive_config::option::{BOOL, INT, Opt, TEXT};
use olive_core::handle::{ModelHandle, ModelKind};
use olive_core::{Result, error::IoContext, file};
use olive_onnx::edit::GraphFile;
use olive_onnx::{ModelBuilderOptions, external_files};
use std::path::{Path, PathBuf};

/// Options of Olive's about the file with the weights, which here always lies beside the graph.
pub(crate) static EXTERNAL_DATA: &[Opt] = &[
    Opt::new(
        "save_as_external_data",
        BOOL,
        "Whether weights lie in a file of their own; here they always do.",
    )
    .quiet(),
    Opt::new("all_tensors_to_one_file", BOOL, "Whether that is one file; here it is.").quiet(),
    Opt::new("external_data_name", TEXT, "Its name.")
        .ignored_unless("null", "the weights lie in a file with the name of the graph and `.data`"),
    Opt::new("size_threshold", INT, "Bytes from which on a tensor lies there; here 1024.").quiet(),
    Opt::new("convert_attribute", BOOL, "Whether tensors of nodes lie there as well; here they do not.")
        .quiet(),
];

/// The kind of model that a pass on a graph makes of another.
pub(crate) fn output(input: ModelKind) -> Result<ModelKind, String> {
    match input {
        ModelKind::Onnx => Ok(ModelKind::Onnx),
        ModelKind::Hf | ModelKind::HfWithAdapter | ModelKind::HfWithNote => {
            Err("it changes an ONNX graph; ModelBuilder makes one first".into())
        }
    }
}

/// The graph of a folder: the one that genai_config.json names, or the only one.
///
/// # Errors
/// There is none, or several.
pub(crate) fn graph_of(dir: &Path) -> Result<PathBuf> {
    olive_onnx::find_graph(dir, None)
}

/// Changes the graph of `input` and writes the model into `dir`.
///
/// # Errors
/// The model cannot be read or written, what `change` says.
pub(crate) fn change(
    input: &ModelHandle,
    dir: &Path,
    context: &RunContext,
    change: impl FnOnce(&mut GraphFile) -> Result<()>,
) -> Result<ModelHandle> {
    let from = input.dir();
    let graph = graph_of(from)?;
    let replaced = external_files(&graph)?;
    let mut file = GraphFile::open(&graph)?;
    change(&mut file)?;
    let name = file.file_name();
    file.save(dir, context.cancel, context.events)?;
    for entry in file::entries(from).at("read", from)? {
        let path = entry.at("read", from)?.path();
        let Some(companion) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if companion != name && !replaced.contains(companion) && is_companion(companion) && path.is_file() {
            file::copy(&path, &dir.join(companion)).at("copy", &path)?;
        }
    }
    Ok(ModelHandle::Onnx { dir: dir.to_owned() })
}

/// Whether a file beside a graph belongs to its model: tokenizer and configurations, an adapter.
fn is_companion(name: &str) -> bool {
    olive_model::ModelFolder::is_side_file(name)
        || name == "genai_config.json"
        || name.ends_with(".onnx_adapter")
}

/// Whether such a pass writes a file of this name.
pub(crate) fn writes(name: &str) -> bool {
    let graph = name.strip_suffix(".data").unwrap_or(name);
    ModelBuilderOptions::is_file_name(graph) && graph.ends_with(".onnx") || is_companion(name)
}
