//! What jobs take in: code, models, data.

use super::client::WorkspaceClient;
use super::resource::{Body, Identified, checked};
use crate::error::{Error, Result};
use crate::secret::Secret;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where the files of a code asset are to be put.
#[derive(Debug, Clone)]
pub struct PendingUpload {
    /// The container, without rights.
    pub blob_uri: String,
    /// The same, with the right to write.
    pub sas_uri: Secret,
}

/// A registered model.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Model {
    /// Where it is: an `azureml:` address.
    pub model_uri: String,
    /// `custom_model`, `mlflow_model`, …
    pub model_type: Option<String>,
}

/// A registered file or folder.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Data {
    pub data_uri: String,
    /// `uri_file`, `uri_folder`, `mltable`
    pub data_type: Option<String>,
}

/// Something that is looked at for its properties.
#[derive(Deserialize)]
struct Resource<P> {
    properties: P,
}

/// How the hash of a code asset's content is made; the service computes it again.
const HASH_VERSION: &str = "202208";

/// Code assets are named by a random id, and have one version.
const ONLY_VERSION: &str = "1";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PendingUploadRequest {
    pending_upload_type: &'static str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PendingUploadAnswer {
    blob_reference_for_consumption: BlobReference,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BlobReference {
    blob_uri: String,
    credential: BlobCredential,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BlobCredential {
    sas_uri: Option<Secret>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CodeProperties<'a> {
    code_uri: &'a str,
    is_anonymous: bool,
    properties: BTreeMap<&'static str, &'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ModelProperties<'a> {
    model_type: &'a str,
    model_uri: &'a str,
    is_anonymous: bool,
    is_archived: bool,
    tags: &'a BTreeMap<String, String>,
    properties: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DataProperties<'a> {
    data_type: &'a str,
    data_uri: &'a str,
    is_anonymous: bool,
}

impl WorkspaceClient {
    /// The id of a code asset whose content has this hash, if one is there. `code` is the name under which it would be
    /// uploaded: the service looks at all of them.
    ///
    /// # Errors
    /// The service refuses.
    pub async fn code_with_hash(&self, code: &str, hash: &str) -> Result<Option<String>> {
        let name = checked("the code asset", code)?;
        let call = self
            .arm(&format!("/codes/{name}/versions"))
            .query("hash", hash)
            .query("hashVersion", HASH_VERSION);
        let found: Vec<Identified> = self.client().pages(&call).await?;
        Ok(found.into_iter().next().map(|code| code.id))
    }

    /// Where the files of a new code asset are to be put.
    ///
    /// # Errors
    /// The service refuses, or gives no rights.
    pub async fn start_code_upload(&self, code: &str) -> Result<PendingUpload> {
        let name = checked("the code asset", code)?;
        let path = format!("/codes/{name}/versions/{ONLY_VERSION}/startPendingUpload");
        let request = PendingUploadRequest { pending_upload_type: "TemporaryBlobReference" };
        let answer: PendingUploadAnswer = self.client().post(&self.arm(&path), &request).await?;
        let BlobReference { blob_uri, credential } = answer.blob_reference_for_consumption;
        let sas_uri = credential.sas_uri.ok_or_else(|| Error::Invalid {
            what: "the place for the code",
            value: blob_uri.clone(),
            expected: "expected one with the right to write (SAS)",
        })?;
        Ok(PendingUpload { blob_uri, sas_uri })
    }

    /// Makes a code asset of a folder that was uploaded. `hash` is that of its content. Returns its id.
    ///
    /// # Errors
    /// The service refuses.
    pub async fn put_code(&self, code: &str, code_uri: &str, hash: &str) -> Result<String> {
        let hashes = BTreeMap::from([("hash_sha256", hash), ("hash_version", HASH_VERSION)]);
        let properties = CodeProperties { code_uri, is_anonymous: true, properties: hashes };
        let call = self.version("codes", code, ONLY_VERSION)?;
        let made: Identified = self.client().put(&call, &Body { properties }).await?;
        Ok(made.id)
    }

    /// # Errors
    /// There is no such model, or it may not be seen.
    pub async fn model(&self, name: &str, version: &str) -> Result<Model> {
        let call = self.version("models", name, version)?;
        let found: Resource<Model> =
            self.existing(&call, &format!("model `{name}` of version `{version}`")).await?;
        Ok(found.properties)
    }

    /// The id of a model: what a job names as its input.
    ///
    /// # Errors
    /// The name or the version is none.
    pub fn model_id(&self, name: &str, version: &str) -> Result<String> {
        let name = checked("the model", name)?;
        let version = checked("the version of the model", version)?;
        Ok(format!("{}/models/{name}/versions/{version}", self.workspace().path()))
    }

    /// The version of a model that was registered last; `None` if there is none.
    ///
    /// # Errors
    /// The service refuses.
    pub async fn latest_model_version(&self, name: &str) -> Result<Option<String>> {
        #[derive(Deserialize)]
        struct Named {
            name: String,
        }
        #[derive(Deserialize)]
        struct First {
            value: Vec<Named>,
        }
        let call = self
            .arm(&format!("/models/{}/versions", checked("the model", name)?))
            .query("$orderBy", "createdtime desc")
            .query("$top", "1");
        match self.client().get::<First>(&call).await {
            Ok(First { value }) => Ok(value.into_iter().next().map(|model| model.name)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Registers a model of the type `custom_model` whose files are there. Returns its id.
    ///
    /// # Errors
    /// The service refuses.
    pub async fn put_model(
        &self,
        name: &str,
        version: &str,
        model_uri: &str,
        tags: &BTreeMap<String, String>,
        properties: &BTreeMap<String, String>,
    ) -> Result<String> {
        let properties = ModelProperties {
            model_type: "custom_model",
            model_uri,
            is_anonymous: false,
            is_archived: false,
            tags,
            properties,
        };
        let call = self.version("models", name, version)?;
        let made: Identified = self.client().put(&call, &Body { properties }).await?;
        Ok(made.id)
    }

    /// # Errors
    /// There is no such data, or it may not be seen.
    pub async fn data(&self, name: &str, version: &str) -> Result<Data> {
        let call = self.version("data", name, version)?;
        let found: Resource<Data> =
            self.existing(&call, &format!("data `{name}` of version `{version}`")).await?;
        Ok(found.properties)
    }

    /// Registers a file (`uri_file`) or folder (`uri_folder`) that is there. Returns its id.
    ///
    /// # Errors
    /// The service refuses.
    pub async fn put_data(
        &self,
        name: &str,
        version: &str,
        data_type: &str,
        data_uri: &str,
    ) -> Result<String> {
        let properties = DataProperties { data_type, data_uri, is_anonymous: false };
        let call = self.version("data", name, version)?;
        let made: Identified = self.client().put(&call, &Body { properties }).await?;
        Ok(made.id)
    }
}
