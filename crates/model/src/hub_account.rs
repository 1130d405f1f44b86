//! Whose token it is.

use super::ModelError;
use super::hub_download::AGENT;
use olive_core::Result;
use serde::Deserialize;
use std::time::Duration;

/// The public hub.
const PUBLIC: &str = "https://huggingface.co";

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The owner of a token.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Account {
    pub name: String,
}

/// Asks the hub (`endpoint`, or the public one) whose token this is.
///
/// # Errors
/// [`ModelError::Account`]: nobody's, or the hub cannot be asked.
pub fn account(token: &str, endpoint: Option<&str>) -> Result<Account> {
    let endpoint = endpoint.unwrap_or(PUBLIC).trim_end_matches('/').to_owned();
    let fail =
        |reason: String, hint: &'static str| ModelError::Account { endpoint: endpoint.clone(), reason, hint };
    let unreachable = "check the network and HF_ENDPOINT";
    let ask = async {
        let client = reqwest::Client::builder()
            .user_agent(AGENT)
            .timeout(PATIENCE)
            // The token is for this host only.
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        let answer = client.get(format!("{endpoint}/api/whoami-v2")).bearer_auth(token).send().await?;
        let status = answer.status();
        Ok::<_, reqwest::Error>((status, answer.bytes().await?))
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| fail(error.to_string(), unreachable))?;
    let answer = runtime.block_on(ask);
    // Not waiting for what the system is still asked, a name for example.
    runtime.shutdown_background();
    let (status, body) = answer.map_err(|error| {
        let mut cause: &dyn std::error::Error = &error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        fail(format!("it cannot be reached ({cause})"), unreachable)
    })?;
    match status.as_u16() {
        200 => Ok(serde_json::from_slice(&body)
            .map_err(|_| fail("the answer is not one of the hub".into(), "check HF_ENDPOINT"))?),
        401 | 403 => Err(fail(
            format!("it does not know this token ({status})"),
            "make one with read access on the page `settings/tokens` of the hub",
        )
        .into()),
        _ => Err(fail(format!("it answers {status}"), unreachable).into()),
    }
}
