//! AzureML: the workspace, the systems whose jobs run passes, and what lies there.

mod client;
mod job_system;
mod names;
mod resource;

pub(crate) use client::{AZUREML_CLIENT, AzureMlClientOptions, DEFAULT_AUTH_PARAMS};
pub use client::{AzureMlClient, CredentialOptions, Workspace};
pub(crate) use job_system::{
    AML_DOCKER_CONFIG, AML_ENVIRONMENT_CONFIG, AZURE_ML_OPTIONS, AzureMlSystemOptions, DockerOptions,
    EnvironmentOptions, JOB_RESOURCES, JobResourceOptions,
};
pub use job_system::{
    AzureMlSystem, EnvironmentVersion, ImageEnvironment, ImageSource, JobEnvironment, JobResources,
    JobTimeout,
};
pub(crate) use names::AzureName;
pub(crate) use resource::{
    AZUREML_DATASTORE, AZUREML_JOB_OUTPUT, AZUREML_MODEL, AZUREML_REGISTRY_MODEL, DatastoreOptions,
    JobOutputOptions, ModelAssetOptions, RegistryModelOptions,
};
pub use resource::{AzureMlPlace, AzureMlResource, ResourcePath};
