//! From a package to a job of Azure ML.

use super::AzureMlSettings;
use super::connection::Connection;
use super::job_name::{TAG, job_name};
use super::job_note::JobNote;
use super::known::Work;
use super::transfer::transfer;
use crate::SystemError;
use crate::pack::{Package, Source};
use crate::program::{self, Program};
use olive_azureml::blob::Container;
use olive_azureml::job::{
    CommandJob, Identity, InputMode, JobInput, JobName, JobOutput, Limits, OutputMode, Resources,
    Source as InputSource, Target,
};
use olive_azureml::jobs::Job;
use olive_azureml::status::{JobStatus, Stage};
use olive_azureml::transfer::Progress;
use olive_azureml::upload::upload_for_job;
use olive_azureml::uri::AssetUri;
use olive_azureml::workspace::{Compute, ComputeKind, Datastore, EnvironmentImage, EnvironmentSpec};
use olive_config::{EnvironmentVersion, ImageEnvironment, ImageSource, JobEnvironment};
use olive_core::event::Event;
use olive_core::{Result, error::IoContext, shown};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Jobs of passes are listed together under this name, as Olive's were.
const EXPERIMENT: &str = "olive-pass";

/// The name that the SDK gives environments of one job only.
const ANONYMOUS: &str = "CliV2AnonymousEnvironment";

/// A job that is on its way, or at its end.
pub(super) struct Submission {
    pub(super) name: JobName,
    pub(super) job: Job,
}

impl Work<'_> {
    /// Uploads what the job needs, and puts it, unless it is there. `None`: an earlier attempt failed after it had done some of
    /// the steps, which are taken in.
    pub(super) async fn submit(
        &mut self,
        connection: &Connection,
        package: &Package,
    ) -> Result<Option<Submission>> {
        let program = program::fit(self.system.binary.as_deref().or(self.settings.program.as_deref()))?;
        let compute = connection.workspace.compute(&self.system.compute).await.map_err(SystemError::from)?;
        self.say_credential(connection);
        let (store, container) = connection.store(&self.system.datastore).await?;
        self.say_program(&program);
        let inputs = self.upload(connection, &store, package, &program.path).await?;
        let environment_id = self.environment(connection, &store, &container).await?;
        let draft = self.draft(package, inputs, environment_id, &compute)?;
        for number in 1.. {
            let workflow = &self.execution.config.workflow_id;
            let name = job_name(workflow, &draft, number);
            let first = job_name(workflow, &draft, 1);
            let found = connection.workspace.find_job(&name).await.map_err(SystemError::from)?;
            if found.as_ref().is_some_and(|job| has_no_result(&job.status)) {
                let before = self.done;
                self.keep_finished(connection, &name).await;
                if self.done > before {
                    return Ok(None);
                }
                continue;
            }
            let job = match found {
                Some(job) => job,
                None => {
                    let kept = format!("olive/{first}/kept");
                    let job = with_outputs(draft, &store, &result_folder(&name), &kept);
                    // Whoever interrupts must know whether there is a job.
                    let put = async || connection.patient.put_job(&name, &job).await;
                    let client = connection.workspace.client();
                    client.repeated(connection.repetition, put).await.map_err(SystemError::from)?
                }
            };
            self.announce(connection, &name, &job).await?;
            return Ok(Some(Submission { name, job }));
        }
        unreachable!("some number is free")
    }

    fn say_credential(&self, connection: &Connection) {
        if let Some(source) = connection.workspace.client().credential() {
            let workspace = connection.workspace.workspace();
            let message = format!("signed in to {workspace} with {source}");
            self.execution.events.emit(Event::Info { message });
        }
    }

    fn say_program(&self, program: &Program) {
        if let Some(glibc) = program.glibc {
            let message = format!("the job runs {}, which needs {glibc}", shown(&program.path));
            self.execution.events.emit(Event::Info { message });
        }
    }

    /// Says which job it is, and notes it in the record of the run, also when somebody interrupts: the job is there.
    async fn announce(&self, connection: &Connection, name: &JobName, job: &Job) -> Result<()> {
        let page = connection.patient.studio_url(job).await.map_err(SystemError::from)?;
        let link = page.as_ref().map(|page| format!(" Job link: {page}")).unwrap_or_default();
        let message = format!("job {name} on {} is {}.{link}", self.system.compute, job.status);
        self.execution.events.emit(Event::Info { message });
        if let Some(notes) = &self.execution.jobs {
            let workspace = connection.workspace.workspace().path();
            let note = JobNote { job: name.to_string(), workspace, page };
            notes.write(self.chain.key(), &serde_json::to_value(note).expect("a note is plain data"))?;
        }
        Ok(())
    }

    /// Uploads the program, the description and all inputs. What is there already is not sent again.
    async fn upload(
        &self,
        connection: &Connection,
        store: &Datastore,
        package: &Package,
        program: &Path,
    ) -> Result<BTreeMap<String, JobInput>> {
        let stage = tempfile::tempdir().at("create", &std::env::temp_dir())?;
        let description = stage.path().join("job.json");
        let text = serde_json::to_vec(&package.description).expect("a description is plain data");
        std::fs::write(&description, text).at("write", &description)?;
        // Under this name whatever it is called here: the name is a part of the hash.
        let program = link(program, &stage.path().join("program/olive"))?;
        let mut inputs = BTreeMap::new();
        for (name, path) in [("program", program), ("description", description)] {
            let uri = self.upload_one(connection, store, &path, name).await?;
            inputs.insert(name.to_owned(), JobInput::UriFile(downloaded(uri.to_string())));
        }
        for (name, source) in &package.inputs {
            let input = match source {
                Source::Files(files) => {
                    let folder = stage.path().join("inputs").join(name);
                    for (below, path) in files {
                        link(path, &folder.join(below))?;
                    }
                    let uri = self.upload_one(connection, store, &folder, name).await?;
                    JobInput::UriFolder(downloaded(uri.to_string()))
                }
                Source::File(address) => JobInput::UriFile(downloaded(self.address(connection, address)?)),
                Source::Folder(address) | Source::Left { address, .. } => {
                    JobInput::UriFolder(downloaded(self.address(connection, address)?))
                }
                Source::Model(address) => {
                    JobInput::CustomModel(downloaded(self.address(connection, address)?))
                }
            };
            inputs.insert(name.clone(), input);
        }
        Ok(inputs)
    }

    /// An address that the configuration has, as jobs take it.
    fn address(&self, connection: &Connection, address: &str) -> Result<String> {
        let uri: AssetUri = address.parse().map_err(SystemError::from)?;
        Ok(uri.for_job(connection.workspace.workspace(), "models"))
    }

    async fn upload_one(
        &self,
        connection: &Connection,
        store: &Datastore,
        path: &Path,
        what: &str,
    ) -> Result<AssetUri> {
        let first = Some(format!("sending {what}"));
        let Connection { workspace, repetition, .. } = connection;
        let upload = async |progress: Progress<'_>| upload_for_job(workspace, store, path, progress).await;
        transfer(workspace.client(), *repetition, self.execution.events, "upload", first, upload).await
    }

    /// The id of the environment of the job.
    async fn environment(
        &self,
        connection: &Connection,
        store: &Datastore,
        container: &Container,
    ) -> Result<String> {
        let workspace = &connection.workspace;
        let image = match &self.system.environment {
            JobEnvironment::Image(image) => image,
            JobEnvironment::Registered { name, version, otherwise } => {
                let found = match version {
                    EnvironmentVersion::Exact(version) => workspace.environment(name, version).await,
                    EnvironmentVersion::Latest => workspace.latest_environment(name).await,
                };
                match (found, otherwise) {
                    (Err(error), Some(image)) if error.is_not_found() => image,
                    (found, _) => return Ok(found.map_err(SystemError::from)?),
                }
            }
        };
        let spec = self.environment_spec(connection, store, container, image).await?;
        let name = image.name.as_deref().unwrap_or(ANONYMOUS);
        let version = match &image.version {
            Some(version) => version.clone(),
            None => hash(&serde_json::to_string(&spec).expect("an environment is plain data")),
        };
        Ok(workspace.put_environment(name, &version, &spec).await.map_err(SystemError::from)?)
    }

    async fn environment_spec(
        &self,
        connection: &Connection,
        store: &Datastore,
        container: &Container,
        image: &ImageEnvironment,
    ) -> Result<EnvironmentSpec> {
        let is_anonymous = image.name.is_none();
        let (image, conda) = match &image.source {
            ImageSource::Registry { image, conda_file } => {
                let read = |path: &PathBuf| std::fs::read_to_string(path).at("read", path);
                (EnvironmentImage::Existing(image.clone()), conda_file.as_ref().map(read).transpose()?)
            }
            ImageSource::Build { context, dockerfile } => {
                let uri = self.upload_one(connection, store, context, "the build context").await?;
                let (_, path) = uri.stored().expect("an upload lies in a datastore");
                let image = EnvironmentImage::Build {
                    context_uri: format!("{}/{path}", container.url()),
                    dockerfile_path: dockerfile.to_string_lossy().into_owned(),
                };
                (image, None)
            }
        };
        Ok(EnvironmentSpec { image, conda, is_anonymous })
    }

    /// The job, without its outputs, which are named for it.
    fn draft(
        &self,
        package: &Package,
        inputs: BTreeMap<String, JobInput>,
        environment_id: String,
        compute: &Compute,
    ) -> Result<CommandJob> {
        let system = self.system;
        let passes = package.description.passes.join(", ");
        let types: Vec<&str> = self.chain.steps[self.done..].iter().map(|step| step.pass.name()).collect();
        let mut tags = system.tags.clone();
        tags.insert("Pass".into(), types.join(","));
        tags.insert(TAG.into(), env!("CARGO_PKG_VERSION").into());
        let is_kubernetes = matches!(compute.kind, ComputeKind::Kubernetes { .. });
        let instance_type = match &system.resources.instance_type {
            Some(name) => Some(name.clone()),
            None if self.wants_gpu() => {
                compute.instance_type_with_gpu().map_err(SystemError::from)?.map(str::to_owned)
            }
            None => None,
        };
        Ok(CommandJob {
            display_name: Some(passes.clone()),
            description: Some(format!("olive: {passes}")),
            experiment_name: Some(EXPERIMENT.into()),
            tags,
            environment_id,
            compute_id: Some(compute.id.clone()),
            command: command(package, self.settings, system.hf_token_vault.as_deref()),
            environment_variables: self.variables(),
            inputs,
            resources: Some(Resources {
                instance_count: Some(1),
                instance_type: instance_type.filter(|_| is_kubernetes),
                shm_size: system.resources.shm_size.clone(),
                docker_args: system.resources.docker_args.clone(),
            }),
            limits: system
                .timeout
                .map(|limit| Limits::Command { timeout: Duration::from_secs(limit.seconds) }),
            // Only Azure ML's own machines can act as the user.
            identity: Some(if is_kubernetes {
                Identity::Managed { client_id: None }
            } else {
                Identity::UserIdentity
            }),
            ..CommandJob::default()
        })
    }

    fn wants_gpu(&self) -> bool {
        let system = self.chain.host.name().and_then(|name| self.execution.config.systems.get(name));
        system.is_some_and(|system| system.accelerators.iter().any(|accelerator| accelerator.device == "gpu"))
    }

    /// What everybody who sees the job may know.
    fn variables(&self) -> BTreeMap<String, String> {
        let mut variables = BTreeMap::from([("RUST_BACKTRACE".to_owned(), "0".to_owned())]);
        if let Some(vault) = &self.system.hf_token_vault {
            variables.insert("HF_LOGIN".into(), "True".into());
            variables.insert("KEYVAULT_NAME".into(), vault.clone());
        }
        variables
    }
}

/// Blobs have no right to be executed, so the program is copied.
fn command(package: &Package, settings: &AzureMlSettings, vault: Option<&str>) -> String {
    let mut command = "dir=$(mktemp -d) && cp ${{inputs.program}} $dir/olive && chmod +x $dir/olive && \
                       exec $dir/olive run-job --log-format json --description ${{inputs.description}}"
        .to_owned();
    command.push_str(&format!(" --device {}", settings.device));
    for name in package.inputs.keys() {
        command.push_str(&format!(" --input {name}=${{{{inputs.{name}}}}}"));
    }
    if let Some(vault) = vault {
        command.push_str(&format!(" --hf-token-vault {vault}"));
    }
    command.push_str(" --outputs ${{outputs.result}} --kept ${{outputs.kept}} --scratch $dir/scratch");
    command
}

fn with_outputs(mut job: CommandJob, store: &Datastore, result: &str, kept: &str) -> CommandJob {
    let folder = |path: &str, mode| {
        let uri = AssetUri::datastore(&store.name, format!("{path}/")).to_string();
        JobOutput::UriFolder(Target { uri: Some(uri), mode: Some(mode) })
    };
    job.outputs.insert("result".into(), folder(result, OutputMode::Upload));
    job.outputs.insert("kept".into(), folder(kept, OutputMode::ReadWriteMount));
    job
}

/// An input that is copied to the compute's disk: weights are mapped, and read more than once.
fn downloaded(uri: String) -> InputSource {
    InputSource { uri, mode: Some(InputMode::Download) }
}

/// A job that ended without a result, or will, is not taken up.
fn has_no_result(status: &JobStatus) -> bool {
    match status {
        JobStatus::Completed => false,
        JobStatus::CancelRequested => true,
        other => other.stage() == Stage::Ended,
    }
}

/// Where the result of a job goes in the datastore.
pub(super) fn result_folder(name: &JobName) -> String {
    format!("olive/{name}/result")
}

/// A link to a file under another name.
fn link(from: &Path, to: &Path) -> Result<PathBuf> {
    let from = std::path::absolute(from).at("find", from)?;
    let folder = to.parent().expect("below the stage");
    std::fs::create_dir_all(folder).at("create", folder)?;
    std::os::unix::fs::symlink(&from, to).at("link", &from)?;
    Ok(to.to_owned())
}

fn hash(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().to_string()
}
