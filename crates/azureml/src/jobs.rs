//! The jobs of a workspace: submitting, looking, cancelling, listing.

use crate::auth::Claims;
use crate::cloud::Scope;
use crate::error::{Error, Result};
use crate::http::Call;
use crate::job::{CommandJob, Identity, JobName};
use crate::secret::Secret;
use crate::status::{JobStatus, Stage};
use crate::workspace::WorkspaceClient;
use reqwest::Url;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

/// By which a service acts as the user who submits a job.
const USER_TOKEN: &str = "x-azureml-token";

/// A job as the service has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "Resource")]
pub struct Job {
    pub name: String,
    pub status: JobStatus,
    pub display_name: Option<String>,
    pub experiment_name: Option<String>,
    pub command: Option<String>,
    /// The id of what it runs on.
    pub compute_id: Option<String>,
    /// When it was submitted, in UTC as the service writes it: `2026-11-24T08:30:00.123Z`.
    pub created: Option<String>,
    pub tags: BTreeMap<String, String>,
    pub properties: BTreeMap<String, String>,
    /// Where outputs go, by their names. `default` is where logs go.
    pub outputs: BTreeMap<String, String>,
    /// Its page in Azure ML studio.
    studio: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    name: String,
    properties: Properties,
    system_data: Option<SystemData>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SystemData {
    created_at: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Properties {
    status: Option<JobStatus>,
    display_name: Option<String>,
    experiment_name: Option<String>,
    command: Option<String>,
    compute_id: Option<String>,
    #[serde(default, deserialize_with = "null_is_empty")]
    tags: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "null_is_empty")]
    properties: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "null_is_empty")]
    outputs: BTreeMap<String, Option<Output>>,
    #[serde(default, deserialize_with = "null_is_empty")]
    services: BTreeMap<String, Option<Service>>,
}

#[derive(Deserialize)]
struct Output {
    uri: Option<String>,
}

#[derive(Deserialize)]
struct Service {
    endpoint: Option<String>,
}

/// The service writes `null` for what has no entries.
fn null_is_empty<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

impl From<Resource> for Job {
    fn from(Resource { name, properties, system_data }: Resource) -> Job {
        let Properties {
            status,
            display_name,
            experiment_name,
            command,
            compute_id,
            tags,
            properties,
            outputs,
            services,
        } = properties;
        let outputs = outputs.into_iter().filter_map(|(name, output)| Some((name, output?.uri?)));
        let studio = services.into_iter().find(|(name, _)| name == "Studio");
        Job {
            name,
            status: status.unwrap_or(JobStatus::Other("Unknown".into())),
            display_name,
            experiment_name,
            command,
            compute_id,
            created: system_data.and_then(|data| data.created_at),
            tags,
            properties,
            outputs: outputs.collect(),
            studio: studio.and_then(|(_, service)| service?.endpoint),
        }
    }
}

/// Which jobs to list. All of them, if it says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// A tag and its value.
    pub tag: Option<(String, String)>,
    /// What the name begins with.
    pub name_prefix: Option<String>,
}

impl JobFilter {
    fn takes(&self, job: &Job) -> bool {
        let tagged = self.tag.as_ref().is_none_or(|(tag, value)| job.tags.get(tag) == Some(value));
        tagged && self.name_prefix.as_ref().is_none_or(|prefix| job.name.starts_with(prefix))
    }
}

impl WorkspaceClient {
    /// Submits a job. Submitting one that is there does nothing more, so that it can be done again after an answer
    /// was lost.
    ///
    /// # Errors
    /// The job is none that the service would take, another one has its name, or the service refuses for another reason.
    pub async fn put_job(&self, name: &JobName, job: &CommandJob) -> Result<Job> {
        job.check()?;
        let mut call = self.job_call(name, "");
        if job.identity == Some(Identity::UserIdentity) {
            call = call.secret_header(USER_TOKEN, &self.user_token().await?)?;
        }
        let error = match self.client().put(&call, &job.body()).await {
            Ok(job) => return Ok(job),
            Err(error) => error,
        };
        // What was accepted before its answer got lost cannot be created again.
        let may_be_there = error.is_transient()
            || error.service().is_some_and(|refusal| matches!(refusal.status, 400 | 409));
        if may_be_there
            && let Ok(Some(there)) = self.find_job(name).await
            && there.command.as_ref() == Some(&job.command)
        {
            return Ok(there);
        }
        Err(error)
    }

    /// # Errors
    /// There is no such job, or it may not be seen.
    pub async fn job(&self, name: &JobName) -> Result<Job> {
        let missing = || format!("job `{name}` in workspace {}", self.workspace());
        self.client().get(&self.job_call(name, "")).await.map_err(|error: Error| error.for_missing(missing))
    }

    /// A job that may not be there.
    ///
    /// # Errors
    /// The service does not say whether it is.
    pub async fn find_job(&self, name: &JobName) -> Result<Option<Job>> {
        match self.client().get(&self.job_call(name, "")).await {
            Ok(job) => Ok(Some(job)),
            Err(error) if Error::is_not_found(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Asks for the end of a job, and waits until that is accepted; the job ends some time later. One that has ended
    /// stays as it is.
    ///
    /// # Errors
    /// There is no such job, or the service refuses.
    pub async fn cancel_job(&self, name: &JobName) -> Result<()> {
        let error = match self.client().post_operation(&self.job_call(name, "/cancel")).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let refused = error.service().is_some_and(|refusal| matches!(refusal.status, 400 | 409));
        if refused && self.job(name).await?.status.stage() == Stage::Ended {
            return Ok(());
        }
        Err(error)
    }

    /// The jobs that the filter takes and that are not archived.
    ///
    /// # Errors
    /// The service refuses.
    pub async fn jobs(&self, filter: &JobFilter) -> Result<Vec<Job>> {
        let mut call = self.arm("/jobs").query("jobType", "Command").query("listViewType", "ActiveOnly");
        if let Some((tag, _)) = &filter.tag {
            call = call.query("tag", tag);
        }
        let mut jobs: Vec<Job> = self.client().pages(&call).await?;
        jobs.retain(|job| filter.takes(job));
        Ok(jobs)
    }

    /// The page of a job in Azure ML studio, with the tenant, which the page needs where a user has several.
    ///
    /// # Errors
    /// There is no token, which knows the tenant.
    pub async fn studio_url(&self, job: &Job) -> Result<Option<String>> {
        let Some(mut url) = job.studio.as_deref().and_then(|text| Url::parse(text).ok()) else {
            return Ok(job.studio.clone());
        };
        let tenant = Claims::of(&self.client().token(Scope::Arm).await?).and_then(|claims| claims.tenant);
        if let Some(tenant) = tenant
            && !url.query_pairs().any(|(name, _)| name == "tid")
        {
            url.query_pairs_mut().append_pair("tid", &tenant);
        }
        Ok(Some(url.into()))
    }

    fn job_call(&self, name: &JobName, rest: &str) -> Call {
        self.arm(&format!("/jobs/{name}{rest}"))
    }

    /// The token that the service takes on to act as the user: one for Azure ML itself, and none else.
    async fn user_token(&self) -> Result<Secret> {
        let token = self.client().token(Scope::MachineLearning).await?;
        let resource = self.client().endpoints().resource(Scope::MachineLearning);
        let audience = Claims::of(&token).and_then(|claims| claims.audience);
        match audience {
            Some(audience) if audience.trim_end_matches('/') != resource => Err(Error::Invalid {
                what: "the audience of the token for the job",
                value: audience,
                expected: "expected that of Azure ML: its service would not take it",
            }),
            _ => Ok(token),
        }
    }
}
