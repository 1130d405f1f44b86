//! What a configuration means, whatever grammar it was written in.
//!
//! What serialises enters cache keys and manifests; what must not enter a key (paths that only say where a file lies,
//! log levels, origins) is marked `skip`.

use crate::azureml::{AzureMlClient, AzureMlSystem, ResourcePath};
use crate::error::Diagnostic;
use crate::evaluators::Evaluator;
use crate::origin::{Era, ResolvedOption};
use crate::packaging::Packaging;
use crate::search::Search;
use crate::tables::EngineConfig;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// A whole configuration, checked: every reference resolves, every option has a value. `P` is a pass of the program that
/// reads it.
#[derive(Debug)]
pub struct RunConfig<P: ?Sized> {
    /// The file it was read from.
    pub path: PathBuf,
    /// What the file says, with the overrides.
    pub document: serde_json::Value,
    /// Whether every pass runs on this machine, whatever the file says.
    pub local: bool,
    pub workflow_id: String,
    /// The workspace of what names no other; `None` if the file names none, or if that is left alone.
    pub azureml_client: Option<AzureMlClient>,
    pub input_model: InputModel,
    pub systems: BTreeMap<String, System>,
    /// In the order of the file. `pass_flows` and list-valued passes give several flows; `flows` indexes `passes`.
    pub passes: Vec<PassConfig<P>>,
    pub flows: Vec<Vec<usize>>,
    /// A search, if one is on; the passes then are its first point.
    pub search: Option<Search>,
    /// Archives of the results.
    pub packaging: Vec<Packaging>,
    pub engine: EngineConfig,
    pub warnings: Vec<Diagnostic>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum InputModel {
    HuggingFace {
        /// A folder or a hub id, as written, or a place in AzureML.
        model_path: ResourcePath,
        adapter_path: Option<ResourcePath>,
        /// Revision on the hub.
        revision: Option<String>,
        task: String,
        /// Accepted, never needed: no remote code is run.
        trust_remote_code: bool,
    },
    Onnx {
        model_path: ResourcePath,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub struct System {
    pub kind: SystemKind,
    pub accelerators: Vec<Accelerator>,
    /// What its jobs need: set for systems of the kind AzureML that run passes.
    pub azure_ml: Option<Arc<AzureMlSystem>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SystemKind {
    Local,
    AzureMl,
    Docker,
    PythonEnvironment,
    IsolatedOrt,
}

/// For example `gpu` with `CUDAExecutionProvider`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Accelerator {
    /// `cpu`, `gpu`, `npu`, …
    pub device: String,
    pub execution_providers: Vec<String>,
}

/// One entry of `passes`.
#[derive(Debug)]
pub struct PassConfig<P: ?Sized> {
    /// Key in `passes`.
    pub name: String,
    pub pass: Arc<P>,
    /// Name in `systems`, if the pass overrides the engine's host.
    pub host: Option<String>,
    /// Run again even if cached.
    pub clean_run_cache: bool,
    /// Measures its result, where that of the engine would otherwise.
    pub evaluator: Option<Arc<Evaluator>>,
    pub era: Era,
    /// For printing: every option, its value, and where it comes from.
    pub resolved: Vec<ResolvedOption>,
    /// Line and column of the entry.
    pub position: Option<(usize, usize)>,
}

// Derived, it would ask for passes that can be cloned.
impl<P: ?Sized> Clone for PassConfig<P> {
    fn clone(&self) -> PassConfig<P> {
        PassConfig {
            name: self.name.clone(),
            pass: Arc::clone(&self.pass),
            host: self.host.clone(),
            clean_run_cache: self.clean_run_cache,
            evaluator: self.evaluator.clone(),
            era: self.era,
            resolved: self.resolved.clone(),
            position: self.position,
        }
    }
}
