//! The environment of AzureML jobs: a registered one, or an image.

use crate::node::{Node, NodeValue};
use crate::option::{Block, Kind, Misfit, MisfitPlace, Special};
use crate::options;
use crate::values::Setting;
use serde_json::{Value as Json, json};
use std::path::PathBuf;

/// The container of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobEnvironment {
    /// One of the workspace. If it is not there, `otherwise` is used.
    Registered {
        name: String,
        version: EnvironmentVersion,
        otherwise: Option<ImageEnvironment>,
    },
    Image(ImageEnvironment),
}

impl JobEnvironment {
    /// The image, where one is named.
    pub fn image(&self) -> Option<&ImageEnvironment> {
        match self {
            JobEnvironment::Registered { otherwise, .. } => otherwise.as_ref(),
            JobEnvironment::Image(image) => Some(image),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvironmentVersion {
    Exact(String),
    Latest,
}

/// An environment that is made for the jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageEnvironment {
    pub name: Option<String>,
    pub version: Option<String>,
    pub source: ImageSource,
}

/// Where the image of a container comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageSource {
    /// It is pulled. With a conda file, AzureML builds an image with that Python first, which takes minutes and which no
    /// pass needs.
    Registry { image: String, conda_file: Option<PathBuf> },
    /// AzureML builds it from `dockerfile`, a path in the folder `context` of this machine.
    Build { context: PathBuf, dockerfile: PathBuf },
}

pub(crate) static AML_DOCKER_CONFIG: Block = Block {
    name: "aml_docker_config",
    doc: "The image of AzureML jobs: `base_image`, or `dockerfile` with `build_context_path`.",
    wrapper: None,
    outer: &[],
    parts: &[DOCKER],
    open: None,
};

options! {
    /// `aml_docker_config`, as written.
    pub struct DockerOptions {
        DOCKER {
            /// Image that is pulled.
            pub base_image: Option<String>;
            /// File that builds the image, in `build_context_path`.
            pub dockerfile: Option<PathBuf>;
            /// Folder that the build sees.
            pub build_context_path: Option<PathBuf>;
            /// Python environment; used with `build_conda_env` only, as no pass needs Python.
            pub conda_file_path: Option<PathBuf>;
            /// Name under which the environment is registered.
            pub name: Option<String>;
            /// Version under which the environment is registered.
            pub version: Option<String> = Kind::Special(&VERSION) => version;
            /// Arguments of the build.
            - "build_args" = Kind::Any, ignored("AzureML builds images without arguments");
        }
    }
}

pub(crate) static AML_ENVIRONMENT_CONFIG: Block = Block {
    name: "aml_environment_config",
    doc: "A registered environment of AzureML: `name` with `version`, or with the `label` `latest`.",
    wrapper: None,
    outer: &[],
    parts: &[ENVIRONMENT],
    open: None,
};

options! {
    /// `aml_environment_config`, as written.
    pub struct EnvironmentOptions {
        ENVIRONMENT {
            /// Name of the environment.
            pub name: Option<String>;
            /// Version of the environment.
            pub version: Option<String> = Kind::Special(&VERSION) => version;
            /// `latest`, instead of a version.
            pub label: Option<String>;
        }
    }
}

/// A version: files have it as a text or as a number.
pub(super) static VERSION: Special = Special {
    value: "a text or a whole number",
    schema: || json!({"type": ["string", "integer", "null"]}),
    check: |node| match &node.value {
        NodeValue::Text(_) | NodeValue::Int(_) => Ok(()),
        _ => Err(expected("a version", node)),
    },
};

pub(super) fn version(setting: &Setting) -> Option<Option<String>> {
    Some(scalar(&setting.json))
}

/// A text, a number or a truth value as a text.
pub(super) fn scalar(json: &Json) -> Option<String> {
    match json {
        Json::String(text) => Some(text.clone()),
        Json::Number(_) | Json::Bool(_) => Some(json.to_string()),
        _ => None,
    }
}

pub(super) fn expected(what: &str, node: &Node) -> Misfit {
    let message = format!("expected {what}, found {}", node.describe());
    Misfit { message, hint: None, place: MisfitPlace::Value }
}
