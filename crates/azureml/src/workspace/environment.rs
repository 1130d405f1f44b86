//! Environments: the images that jobs run in.

use super::client::WorkspaceClient;
use super::resource::{Body, Identified, checked};
use crate::error::{Error, Result};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

/// What an environment is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentSpec {
    pub image: EnvironmentImage,
    /// The YAML text of a conda environment, from which the service builds an image on top.
    pub conda: Option<String>,
    /// Whether it is of one job only, and not listed.
    pub is_anonymous: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvironmentImage {
    /// One that exists, which is pulled as it is.
    Existing(String),
    /// One that the service builds.
    Build {
        /// The address of an uploaded folder, with a slash at the end.
        context_uri: String,
        /// In that folder.
        dockerfile_path: String,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Build<'a> {
    context_uri: &'a str,
    dockerfile_path: &'a str,
}

/// As `EnvironmentVersionProperties` of the control plane.
impl Serialize for EnvironmentSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match &self.image {
            EnvironmentImage::Existing(image) => map.serialize_entry("image", image)?,
            EnvironmentImage::Build { context_uri, dockerfile_path } => {
                map.serialize_entry("build", &Build { context_uri, dockerfile_path })?;
            }
        }
        if let Some(conda) = &self.conda {
            map.serialize_entry("condaFile", conda)?;
        }
        map.serialize_entry("osType", "Linux")?;
        map.serialize_entry("isAnonymous", &self.is_anonymous)?;
        map.serialize_entry("isArchived", &false)?;
        map.end()
    }
}

#[derive(Deserialize)]
struct Container {
    properties: ContainerProperties,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerProperties {
    latest_version: Option<String>,
}

impl WorkspaceClient {
    /// Creates the environment, or leaves it as it is if it is there. Returns its id.
    ///
    /// # Errors
    /// The service refuses.
    pub async fn put_environment(&self, name: &str, version: &str, spec: &EnvironmentSpec) -> Result<String> {
        let call = self.version("environments", name, version)?;
        let made: Identified = self.client().put(&call, &Body { properties: spec }).await?;
        Ok(made.id)
    }

    /// The id of an environment that is there.
    ///
    /// # Errors
    /// There is none of this name and version.
    pub async fn environment(&self, name: &str, version: &str) -> Result<String> {
        let call = self.version("environments", name, version)?;
        let found: Identified =
            self.existing(&call, &format!("environment `{name}` of version `{version}`")).await?;
        Ok(found.id)
    }

    /// The id of an environment's latest version.
    ///
    /// # Errors
    /// There is none of this name.
    pub async fn latest_environment(&self, name: &str) -> Result<String> {
        let call = self.arm(&format!("/environments/{}", checked("the environment", name)?));
        let found: Container = self.existing(&call, &format!("environment `{name}`")).await?;
        let version = found.properties.latest_version.ok_or_else(|| Error::Invalid {
            what: "the environment",
            value: name.into(),
            expected: "expected one that has a version",
        })?;
        self.environment(name, &version).await
    }
}
