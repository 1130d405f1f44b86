//! What the program asks of Azure from inside of a job.

use super::AzureMlSettings;
use super::stoppable::runtime;
use crate::SystemError;
use olive_azureml::http::{Client, ClientOptions};
use olive_azureml::keyvault::KeyVault;
use olive_core::{Result, secrets};

/// Name of the secret with the token for the Hugging Face Hub, as Olive has it.
const HF_TOKEN: &str = "hf-token";

/// The token for the Hugging Face Hub, from a key vault, as the user or the compute that the job runs as.
///
/// # Errors
/// There is no such secret, or it may not be read.
pub fn hf_token(settings: &AzureMlSettings, vault: &str) -> Result<String> {
    let options = ClientOptions { plain_http: settings.plain_http, ..ClientOptions::default() };
    let token = runtime()?.block_on(async {
        let settings = settings.in_its_cloud().await?;
        let client = Client::in_job(&settings.variables, options)?;
        Ok::<_, SystemError>(KeyVault::new(client, vault)?.secret(HF_TOKEN).await?)
    });
    let token = token?.expose().to_owned();
    secrets::keep(&token);
    Ok(token)
}
