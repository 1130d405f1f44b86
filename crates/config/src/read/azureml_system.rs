//! Systems of the type `AzureML`: their form, and whether jobs can be made for them.

use super::azureml_client::{ClientBlock, check};
use crate::azureml::{
    AML_DOCKER_CONFIG, AML_ENVIRONMENT_CONFIG, AzureMlClient, AzureMlSystem, AzureMlSystemOptions, AzureName,
    DockerOptions, EnvironmentOptions, EnvironmentVersion, ImageEnvironment, ImageSource, JOB_RESOURCES,
    JobEnvironment, JobResourceOptions, JobResources,
};
use crate::fields::{Fields, GivenOption};
use crate::findings::Findings;
use crate::option::Block;
use crate::origin::Era;
use crate::values::Values;

/// What jobs run in where Olive would make an environment of its own.
const MANAGED_IMAGE: &str = "mcr.microsoft.com/azureml/openmpi4.1.0-cuda11.8-cudnn8-ubuntu22.04";

/// A system of which the form was checked.
pub(super) struct SystemBlock<'s, 'n> {
    fields: &'s Fields<'n>,
    values: Values,
    docker: Option<Values>,
    environment: Option<Values>,
    resources: Option<Values>,
}

impl<'s, 'n> SystemBlock<'s, 'n> {
    /// Checks the form, which must be right even where nothing runs on the system. `values` are those of the fields.
    pub(super) fn read(
        fields: &'s Fields<'n>,
        values: Values,
        findings: &mut Findings,
    ) -> SystemBlock<'s, 'n> {
        let mut inner = |option: &str, block: &'static Block| {
            let found = fields.found(option).filter(|found| found.node.as_object().is_some())?;
            let fields = Fields::open(found.node, &found.path, block, findings);
            Some(fields.resolve(Era::New, findings))
        };
        let docker = inner("aml_docker_config", &AML_DOCKER_CONFIG);
        let environment = inner("aml_environment_config", &AML_ENVIRONMENT_CONFIG);
        let resources = inner("resources", &JOB_RESOURCES);
        if let Some(client) = fields.found("azureml_client") {
            ClientBlock::read(client, findings);
        }
        SystemBlock { fields, values, docker, environment, resources }
    }

    /// The client of the system, its own or that of the top level. `None`: there is none, and that was said.
    pub(super) fn client<'f>(
        &'f self,
        top: Option<&'f GivenOption<'n>>,
        findings: &mut Findings,
    ) -> Option<ClientBlock<'n>> {
        let Some(found) = self.fields.found("azureml_client").or(top) else {
            if !self.fields.misspells("azureml_client") {
                let hint = "give `azureml_client` with `subscription_id`, `resource_group` and `workspace_name`, at the top level or in the system; --local runs every pass on this machine";
                let message = "azureml_client is required for AzureML system";
                findings.error(self.fields.at, &self.fields.path, message, Some(hint.into()));
            }
            return None;
        };
        ClientBlock::read(found, findings)
    }

    /// The system as its jobs need it. `None`: something is missing or cannot be used, and that was said.
    pub(super) fn checked(
        self,
        top: Option<&GivenOption<'n>>,
        findings: &mut Findings,
    ) -> Option<AzureMlSystem> {
        let options = AzureMlSystemOptions::read(&self.values)?;
        let client = self.client(top, findings);
        let compute = self.compute(&options, findings);
        self.check_conda(&options, findings);
        let environment = self.environment(&options, findings);
        let resources = self.resources(findings);
        let one = self.one_machine(&options, findings);
        let datastore =
            check(AzureName::Datastore, "datastores", &options.datastores, &self.values, findings);
        let client = client.map(|client| self.reached(client, &options, findings));
        let (client, hf_token_vault) = client??;
        Some(AzureMlSystem {
            client,
            compute: compute?,
            environment: environment?,
            hf_token_vault,
            tags: options.tags,
            resources: resources?,
            datastore: datastore.then_some(options.datastores)?,
            download_intermediate: options.download_intermediate,
            timeout: options.timeout,
            binary: options.binary,
        })
        .filter(|_| one)
    }

    /// The client and, where the jobs log in to the hub, the key vault with the token.
    fn reached(
        &self,
        client: ClientBlock<'n>,
        options: &AzureMlSystemOptions,
        findings: &mut Findings,
    ) -> Option<(AzureMlClient, Option<String>)> {
        let asked = self.fields.found("hf_token").filter(|_| options.hf_token);
        let vault = asked.map(|asked| client.key_vault(asked, findings));
        let client = client.checked(findings)?;
        let vault = match vault {
            Some(found) => Some(found?),
            None => None,
        };
        Some((client, vault))
    }

    fn compute(&self, options: &AzureMlSystemOptions, findings: &mut Findings) -> Option<String> {
        let Some(compute) = options.aml_compute.clone() else {
            if self.fields.lacks("aml_compute") {
                let hint = AzureName::Compute.advice().to_owned();
                findings.error(self.fields.at, &self.fields.path, "AzureML needs `aml_compute`", Some(hint));
            }
            return None;
        };
        // The SDK's spelling of a compute in the workspace.
        let compute = compute.strip_prefix("azureml:").unwrap_or(&compute);
        check(AzureName::Compute, "aml_compute", compute, &self.values, findings).then(|| compute.to_owned())
    }

    /// An environment that is built with conda needs the file that says with what, and an image to build on.
    fn check_conda(&self, options: &AzureMlSystemOptions, findings: &mut Findings) {
        if !options.build_conda_env {
            return;
        }
        let docker = self.docker.as_ref();
        let given = |option: &str| docker.is_some_and(|docker| docker.given(option));
        let message = if !given("conda_file_path") {
            "there is no conda file to build the environment with"
        } else if given("dockerfile") && given("build_context_path") {
            "an image that a Dockerfile describes is not built with a conda file"
        } else {
            return;
        };
        let hint = "give `aml_docker_config` both `base_image` and `conda_file_path`, or leave `build_conda_env` out: passes need \
                    no Python";
        self.values.error("build_conda_env", message, Some(hint.into()), findings);
    }

    fn environment(&self, options: &AzureMlSystemOptions, findings: &mut Findings) -> Option<JobEnvironment> {
        let image = self.docker.as_ref().map(|docker| image(docker, options, findings));
        let registered = self.environment.as_ref().map(|environment| registered(environment, findings));
        match (registered, image) {
            (Some(registered), image) => {
                let (name, version) = registered?;
                let otherwise = match image {
                    Some(image) => Some(image?),
                    None => None,
                };
                Some(JobEnvironment::Registered { name, version, otherwise })
            }
            (None, Some(image)) => image.map(JobEnvironment::Image),
            (None, None) if options.olive_managed_env => {
                let source = ImageSource::Registry { image: MANAGED_IMAGE.to_owned(), conda_file: None };
                Some(JobEnvironment::Image(ImageEnvironment { name: None, version: None, source }))
            }
            (None, None) => {
                let slipped = ["aml_docker_config", "aml_environment_config"]
                    .iter()
                    .any(|option| self.fields.misspells(option) || self.fields.found(option).is_some());
                if !slipped {
                    let message = "either aml_docker_config or aml_environment_config should be provided";
                    let hint =
                        format!("for example \"aml_docker_config\": {{\"base_image\": \"{MANAGED_IMAGE}\"}}");
                    findings.error(self.fields.at, &self.fields.path, message, Some(hint));
                }
                None
            }
        }
    }

    fn resources(&self, findings: &mut Findings) -> Option<JobResources> {
        let Some(values) = &self.resources else { return Some(JobResources::default()) };
        let JobResourceOptions { instance_type, instance_count, shm_size, docker_args, properties } =
            JobResourceOptions::read(values)?;
        let several = instance_count.is_some_and(|count| count > 1);
        if several {
            values.error("instance_count", SEVERAL, Some(SEVERAL_HINT.into()), findings);
        }
        let kind = instance_type.as_deref();
        let kind =
            kind.is_none_or(|kind| check(AzureName::InstanceType, "instance_type", kind, values, findings));
        (!several && kind).then_some(JobResources { instance_type, shm_size, docker_args, properties })
    }

    fn one_machine(&self, options: &AzureMlSystemOptions, findings: &mut Findings) -> bool {
        let one = options.instance_count == 1;
        if !one {
            self.values.error("instance_count", SEVERAL, Some(SEVERAL_HINT.into()), findings);
        }
        one
    }
}

const SEVERAL: &str = "several machines per job are not supported yet";
const SEVERAL_HINT: &str = "set `instance_count` to 1";

/// The environment that `aml_docker_config` describes.
fn image(
    values: &Values,
    options: &AzureMlSystemOptions,
    findings: &mut Findings,
) -> Option<ImageEnvironment> {
    let DockerOptions { base_image, dockerfile, build_context_path, conda_file_path, name, version } =
        DockerOptions::read(values)?;
    let source = match (build_context_path, dockerfile, base_image) {
        (Some(context), Some(dockerfile), _) => ImageSource::Build { context, dockerfile },
        (_, _, Some(image)) => {
            if !check(AzureName::Image, "base_image", &image, values, findings) {
                return None;
            }
            if conda_file_path.is_some() && !options.build_conda_env {
                let message = "`conda_file_path` is not used: passes need no Python, so the image is pulled as it is (`build_conda_env` builds one)";
                values.warn("conda_file_path", message, findings);
            }
            let conda_file = conda_file_path.filter(|_| options.build_conda_env);
            ImageSource::Registry { image, conda_file }
        }
        _ => {
            let message = "One of build_context_path/dockerfile or base_image must be provided";
            let hint =
                format!("\"base_image\": \"{MANAGED_IMAGE}\", or both `dockerfile` and `build_context_path`");
            values.error("base_image", message, Some(hint), findings);
            return None;
        }
    };
    if let Some(name) = &name
        && !check(AzureName::Environment, "name", name, values, findings)
    {
        return None;
    }
    Some(ImageEnvironment { name, version, source })
}

/// The environment that `aml_environment_config` names.
fn registered(values: &Values, findings: &mut Findings) -> Option<(String, EnvironmentVersion)> {
    let EnvironmentOptions { name, version, label } = EnvironmentOptions::read(values)?;
    let Some(name) = name else {
        let hint = AzureName::Environment.advice().to_owned();
        values.error("name", "aml_environment_config needs `name`", Some(hint), findings);
        return None;
    };
    let sound = check(AzureName::Environment, "name", &name, values, findings);
    let version = match (version, label.as_deref()) {
        (Some(version), None) => check(AzureName::Version, "version", &version, values, findings)
            .then_some(EnvironmentVersion::Exact(version))?,
        (None, Some("latest")) => EnvironmentVersion::Latest,
        (None, Some(label)) => {
            let message = format!("the label `{label}` cannot be looked up: `latest` is the one that can");
            values.error("label", message, Some("give `version` instead".into()), findings);
            return None;
        }
        (Some(_), Some(_)) => {
            values.error(
                "label",
                "`version` and `label` exclude each other",
                Some("keep one of them".into()),
                findings,
            );
            return None;
        }
        (None, None) => {
            let message = "aml_environment_config needs `version`, or `\"label\": \"latest\"`";
            values.error("version", message, Some(AzureName::Version.advice().into()), findings);
            return None;
        }
    };
    sound.then_some((name, version))
}
