//! AzureML: the workspace, the systems whose jobs run passes, and what lies there.

mod client;
mod environment;
mod job_system;
mod names;
mod place;
mod resource;

pub(crate) use client::{AZUREML_CLIENT, AzureMlClientOptions, DEFAULT_AUTH_PARAMS};
pub use client::{AzureMlClient, CredentialOptions, Workspace};
pub(crate) use environment::{AML_DOCKER_CONFIG, AML_ENVIRONMENT_CONFIG, DockerOptions, EnvironmentOptions};
pub use environment::{EnvironmentVersion, ImageEnvironment, ImageSource, JobEnvironment};
pub(crate) use job_system::{AZURE_ML_OPTIONS, AzureMlSystemOptions, JOB_RESOURCES, JobResourceOptions};
pub use job_system::{AzureMlSystem, JobResources, JobTimeout};
pub(crate) use names::AzureName;
pub use names::NameFault;
pub use place::AzureMlPlace;
pub(crate) use resource::{
    AZUREML_DATASTORE, AZUREML_JOB_OUTPUT, AZUREML_MODEL, AZUREML_REGISTRY_MODEL, DatastoreOptions,
    JobOutputOptions, ModelAssetOptions, RegistryModelOptions,
};
pub use resource::{AzureMlResource, ResourcePath};
