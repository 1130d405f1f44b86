//! What a workflow may use of the world around it. Nothing in this crate reads environment variables or prints.

use crate::executor::Executor;
use crate::output::ForeignFiles;
use crate::passes::MemoryPolicy;
use crate::resource_reader::ResourceReader;
use crate::tracking::Tracking;
use olive_core::cancel::CancelFlag;
use olive_core::device::DeviceChoice;
use olive_core::event_hub::EventHub;
use olive_model::SourceOptions;
use olive_runtime::LibrarySearch;
use std::path::PathBuf;
use std::sync::Arc;

/// Made by whoever starts workflows: the command line, a test, a search.
pub struct Environment {
    /// How models of the hub are found.
    pub source: SourceOptions,
    /// Where this machine computes.
    pub device: DeviceChoice,
    /// What becomes of passes that do not fit into its memory.
    pub memory: MemoryPolicy,
    /// How ONNX Runtime is found, where an ONNX model is evaluated.
    pub library: LibrarySearch,
    /// The machine's name, for records.
    pub host: Option<String>,
    /// The user's folder, which is no place for results itself.
    pub home: Option<PathBuf>,
    /// What becomes of files in output folders that no run wrote.
    pub foreign_files: ForeignFiles,
    /// Raised to stop at the next safe point.
    pub cancel: CancelFlag,
    /// That run passes on other machines.
    pub executors: Vec<Box<dyn Executor>>,
    /// Brings models and data here that lie in Azure ML; `None` where the network is not to be used.
    pub resources: Option<Box<dyn ResourceReader>>,
    /// Where trainings are logged that ask for it.
    pub tracking: Tracking,
    /// Where the workflow says what it does.
    pub events: Arc<EventHub>,
}

impl Environment {
    /// How the input model is found by a run, which may fetch it.
    pub(crate) fn fetching(&self) -> SourceOptions {
        SourceOptions { cancel: self.cancel.clone(), ..self.source.clone() }
    }

    /// How it is looked for without fetching or converting anything.
    pub(crate) fn looking(&self) -> SourceOptions {
        SourceOptions { offline: true, read_only: true, ..self.fetching() }
    }
}
