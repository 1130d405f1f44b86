//! A client of the fake.

use async_trait::async_trait;
use olive_azureml::clock::Clock;
use olive_azureml::cloud::PlainHttp;
use olive_azureml::environment::Environment;
use olive_azureml::http::{Client, ClientOptions};
use olive_azureml::workspace::{EnvironmentImage, EnvironmentSpec, Workspace, WorkspaceClient};
use olive_azureml_fake::FakeAzure;
use olive_azureml_fake::place::{RESOURCE_GROUP, SUBSCRIPTION, WORKSPACE, workspace_path};
use olive_azureml_fake::world::FakeOptions;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub async fn start(options: FakeOptions) -> (FakeAzure, WorkspaceClient) {
    let fake = FakeAzure::start(options).await.unwrap();
    let workspace = Workspace::new(SUBSCRIPTION, RESOURCE_GROUP, WORKSPACE).unwrap();
    let client = client(fake.variables());
    (fake, WorkspaceClient::new(client, workspace))
}

/// The machine's time, without pauses.
#[derive(Debug)]
struct Hurried;

#[async_trait]
impl Clock for Hurried {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration.min(Duration::from_millis(5))).await;
    }
}

pub fn options() -> ClientOptions {
    ClientOptions { plain_http: PlainHttp::Loopback, clock: Arc::new(Hurried), ..ClientOptions::default() }
}

pub fn client(variables: Vec<(String, String)>) -> Client {
    Client::new(&variables.into_iter().collect::<Environment>(), options()).unwrap()
}

/// A job that the service takes, once its environment is there.
pub async fn job(workspace: &WorkspaceClient) -> Value {
    let image = EnvironmentImage::Existing("image:1".into());
    let spec = EnvironmentSpec { image, conda: None, is_anonymous: true };
    let environment = workspace.put_environment("env", "1", &spec).await.unwrap();
    json!({"properties": {"jobType": "Command", "command": "echo ${{inputs.x}}", "environmentId": environment,
        "computeId": format!("{}/computes/gpu-cluster", workspace_path()), "tags": {"Pass": "LoRA"},
        "inputs": {"x": {"jobInputType": "literal", "value": "1"}},
        "outputs": {"out": {"jobOutputType": "uri_folder", "mode": "Upload"}}}})
}
