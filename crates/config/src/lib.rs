//! `olive-config.json`: both of Olive's grammars, read into one canonical form with every default filled in.
//!
//! The way of a file: `json` or `yaml` parse it into one tree with places (`node`), `overrides` edits the tree, and
//! `read` turns it into [`RunConfig`] by the `tables`, from which also come the JSON Schema and the documentation. The
//! passes there are come from the program, as a [`Registry`].

mod azureml;
mod data;
mod data_readers;
pub mod error;
mod evaluators;
mod fields;
mod findings;
mod json;
mod json_texts;
mod load;
mod markdown;
mod names;
mod node;
pub mod option;
mod origin;
mod overrides;
mod packaging;
mod place;
mod read;
mod run_config;
mod schema;
mod search;
mod statement;
mod tables;
pub mod training;
mod unique_keys;
mod value;
mod values;
mod yaml;

/// The canonical form: what a configuration means, whatever grammar it was written in.
pub mod canonical {
    pub use crate::azureml::{
        AzureMlClient, AzureMlPlace, AzureMlResource, AzureMlSystem, CredentialOptions, EnvironmentVersion,
        ImageEnvironment, ImageSource, JobEnvironment, JobResources, JobTimeout, NameFault, ResourcePath,
        Workspace,
    };
    pub use crate::data::*;
    pub use crate::evaluators::{
        DummyInput, Evaluator, Generation, Goal, GoalKind, LmTasks, Measure, Measures, Metric, MetricData,
        MetricKind, MtebTasks, MultipleChoice, RowPrompt, Statistic, SubMetric, Timing,
    };
    pub use crate::origin::*;
    pub use crate::packaging::Packaging;
    pub use crate::run_config::*;
    pub use crate::search::{
        Alternative, ChosenValue, ExecutionOrder, PassChoice, PointOrder, RandomOrder, Sampler, Search,
        SearchPoint, SearchSpace, SearchStrategy, SearchedOption, SearchedPass,
    };
    pub use crate::tables::EngineConfig;
    pub use crate::training::*;
}

pub use canonical::*;
pub use data_readers::READERS;
pub use error::{ConfigError, Diagnostic};
pub use fields::{Fields, GivenOption};
pub use findings::Findings;
pub use load::LoadOptions;
pub use markdown::markdown;
pub use names::{list_names, nearest};
pub use node::Node;
pub use place::{At, join};
pub use read::azureml_client::client_of;
pub use read::context::PassContext;
pub use read::registry::{ConfiguredPass, PassDefinition, PassOptions, PassRead, Registry};
pub use schema::json_schema;
pub use statement::OptionValue;
pub use tables::{FOREIGN_PASSES, PASS};
pub use values::{Setting, Values};
