//! What the passes on an ONNX graph have in common: the model is read, changed and written, its companions go along.

use super::pass::{Pass, RunContext};
use crate::cache::KeyHasher;
use olive_config::option::{BOOL, INT, Opt, TEXT};
use olive_config::{ConfiguredPass, PassOptions, PassRead, Values};
use olive_core::event::Event;
use olive_core::handle::{ModelHandle, ModelKind};
use olive_core::{Result, error::IoContext, file};
use olive_model::ModelFolder;
use olive_onnx::edit::{GraphFile, Outcome};
use olive_onnx::{ModelBuilderOptions, external_files, find_graph};
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

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

/// What a pass does to a graph.
pub(crate) trait GraphEdit: Debug + Send + Sync {
    /// `dir`: where the graph will lie, for files beside it.
    ///
    /// # Errors
    /// A tensor that cannot be read, a graph that cannot be changed so, an interruption.
    fn edit(&self, file: &mut GraphFile, dir: &Path, context: &RunContext) -> Result<()>;

    /// Whether a companion of the graph does not go along, as what is in it goes elsewhere.
    fn replaces(&self, _companion: &str) -> bool {
        false
    }

    /// Whether the matrices of an adapter are to stay apart from the graph that is changed.
    fn wants_adapter_apart(&self) -> bool {
        false
    }
}

/// A pass that changes the graph of an ONNX model.
#[derive(Debug)]
pub struct GraphPass {
    name: &'static str,
    options: Box<dyn PassOptions>,
    edit: Box<dyn GraphEdit>,
}

impl GraphPass {
    /// What a configuration makes of the pass of this name, and what the plan shows of it: `own` are its options besides those
    /// about files.
    pub(crate) fn read(
        name: &'static str,
        own: &[Opt],
        values: &Values,
        options: impl PassOptions,
        edit: impl GraphEdit + 'static,
    ) -> PassRead<dyn Pass> {
        let mut shown = values.resolved("");
        shown.retain(|option| own.iter().any(|own| own.name == option.name));
        (Arc::new(GraphPass { name, options: Box::new(options), edit: Box::new(edit) }), shown)
    }
}

/// Tells what became of a graph.
pub(crate) fn tell(outcome: Outcome, context: &RunContext) {
    let message = match outcome {
        Outcome::Changed(what) => what,
        Outcome::Unchanged(why) => format!("nothing is changed: {why}"),
    };
    context.events.emit(Event::Info { message });
}

impl ConfiguredPass for GraphPass {
    fn name(&self) -> &'static str {
        self.name
    }

    fn options(&self) -> &dyn PassOptions {
        &*self.options
    }

    fn output(&self, input: ModelKind) -> Result<ModelKind, String> {
        match input {
            ModelKind::Onnx => Ok(ModelKind::Onnx),
            ModelKind::Hf | ModelKind::HfWithAdapter | ModelKind::HfWithNote => {
                Err("it changes an ONNX graph; ModelBuilder makes one first".into())
            }
        }
    }
}

impl Pass for GraphPass {
    fn version(&self) -> u32 {
        1
    }

    fn key(&self, hasher: &mut KeyHasher) -> Result<()> {
        hasher.field("options", &self.options.to_json());
        Ok(())
    }

    fn check_input(&self, model: Option<&ModelHandle>) -> Result<()> {
        let graph = model.filter(|model| model.kind() == ModelKind::Onnx);
        graph.map(|model| find_graph(model.dir(), None)).transpose().map(drop)
    }

    fn run(&self, input: &ModelHandle, dir: &Path, context: &RunContext) -> Result<ModelHandle> {
        let from = input.dir();
        let graph = find_graph(from, None)?;
        let replaced = external_files(&graph)?;
        let mut file = GraphFile::open(&graph)?;
        self.edit.edit(&mut file, dir, context)?;
        let name = file.file_name();
        file.save(dir, context.cancel, context.events)?;
        for entry in file::entries(from).at("read", from)? {
            let path = entry.at("read", from)?.path();
            let Some(companion) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let goes_along =
                companion != name && !replaced.contains(companion) && !self.edit.replaces(companion);
            if goes_along && is_companion(companion) && path.is_file() && !dir.join(companion).exists() {
                file::copy(&path, &dir.join(companion)).at("copy", &path)?;
            }
        }
        Ok(ModelHandle::Onnx { dir: dir.to_owned() })
    }

    fn wants_adapter_apart(&self) -> bool {
        self.edit.wants_adapter_apart()
    }

    fn writes(&self, name: &str) -> bool {
        let graph = name.strip_suffix(".data").unwrap_or(name);
        ModelBuilderOptions::is_file_name(graph) && graph.ends_with(".onnx") || is_companion(name)
    }
}

/// Whether a file beside a graph belongs to its model: tokenizer and configurations, an adapter.
fn is_companion(name: &str) -> bool {
    ModelFolder::is_side_file(name)
        || name == "genai_config.json"
        || name.ends_with(".onnx_adapter")
        || is_adapter(name)
}

/// The file of an adapter that lies beside its graph, in any format.
fn is_adapter(name: &str) -> bool {
    ["adapter_weights.npz", "adapter_weights.safetensors"].contains(&name)
}
