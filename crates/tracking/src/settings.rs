//! Where MLflow is and what it is to know of runs, by the variables that its own clients read.

use crate::error::TrackingError;
use olive_core::secrets;
use reqwest::Url;
use serde_json::{Map, Value};
use std::fmt;
use std::time::Duration;

/// MLflow's own two minutes are longer than anybody waits at the end of a training.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A tracking server, and how runs are logged there.
#[derive(Clone)]
pub struct MlflowSettings {
    /// Ends with `/`.
    pub(crate) server: Url,
    pub(crate) login: Login,
    /// Name of an experiment, which is made if it is not there; `None` is the default one.
    pub(crate) experiment: Option<String>,
    /// A run to go on with instead of a new one.
    pub(crate) run_id: Option<String>,
    pub(crate) tags: Vec<(String, String)>,
    /// How long an answer may take.
    pub(crate) timeout: Duration,
}

/// How to sign in.
#[derive(Clone, PartialEq)]
pub(crate) enum Login {
    /// Not, or as the address says.
    None,
    Token(String),
    Password {
        user: String,
        password: String,
    },
}

impl MlflowSettings {
    /// The settings that these variables give. As in MLflow, user and password go before a token.
    ///
    /// # Errors
    /// No server, or one that has no REST API, or a variable that MLflow would not take either.
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Result<MlflowSettings, TrackingError> {
        let uri = variable("MLFLOW_TRACKING_URI").ok_or(TrackingError::NoServer)?;
        let server = server(uri.trim())?;
        let password = variable("MLFLOW_TRACKING_USERNAME").zip(variable("MLFLOW_TRACKING_PASSWORD"));
        let login = match (password, variable("MLFLOW_TRACKING_TOKEN")) {
            (Some((user, password)), _) => Login::Password { user, password },
            (None, Some(token)) => Login::Token(token),
            (None, None) => Login::None,
        };
        match &login {
            Login::Token(secret) | Login::Password { password: secret, .. } => secrets::keep(secret),
            Login::None => {}
        }
        secrets::keep_address(&uri);
        let tags = variable("MLFLOW_TAGS").map(|text| tags(&text)).transpose()?.unwrap_or_default();
        let (experiment, run_id) = (variable("MLFLOW_EXPERIMENT_NAME"), variable("MLFLOW_RUN_ID"));
        let timeout = variable("MLFLOW_HTTP_REQUEST_TIMEOUT").map(|text| seconds(&text)).transpose()?;
        let timeout = timeout.unwrap_or(TIMEOUT);
        Ok(MlflowSettings { server, login, experiment, run_id, tags, timeout })
    }

    /// The address without user and password.
    pub(crate) fn address(&self) -> String {
        secrets::hidden(self.server.as_str()).trim_end_matches('/').to_owned()
    }
}

/// Neither the token nor the password.
impl fmt::Debug for MlflowSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MlflowSettings").field("server", &self.address()).finish_non_exhaustive()
    }
}

fn server(uri: &str) -> Result<Url, TrackingError> {
    let refused = |why| TrackingError::Uri { uri: secrets::hidden(uri).into_owned(), why };
    let scheme = uri.split_once(':').map_or(uri, |(scheme, _)| scheme).to_ascii_lowercase();
    match scheme.as_str() {
        "http" | "https" => {}
        "databricks" | "databricks-uc" => {
            return Err(refused("and Databricks' way to sign in is not known here"));
        }
        "sqlite" | "postgresql" | "mysql" | "mssql" => {
            return Err(refused("a database, which MLflow's server writes, and not its clients here"));
        }
        _ => return Err(refused("which is not the http or https address of a server")),
    }
    let directory = format!("{}/", uri.trim_end_matches('/'));
    let url = Url::parse(&directory).map_err(|_| refused("which is no address"))?;
    Ok(url)
}

/// A dictionary as JSON; what is no text in it is logged as JSON.
fn tags(text: &str) -> Result<Vec<(String, String)>, TrackingError> {
    let wrong =
        TrackingError::Variable { variable: "MLFLOW_TAGS", expected: "a JSON object of names and values" };
    let object: Map<String, Value> = serde_json::from_str(text).map_err(|_| wrong)?;
    let plain = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Ok(object.into_iter().map(|(name, value)| (name, plain(value))).collect())
}

fn seconds(text: &str) -> Result<Duration, TrackingError> {
    let seconds = text.trim().parse().ok().filter(|seconds| *seconds > 0);
    seconds.map(Duration::from_secs).ok_or(TrackingError::Variable {
        variable: "MLFLOW_HTTP_REQUEST_TIMEOUT",
        expected: "a number of seconds",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Result<MlflowSettings, TrackingError> {
        MlflowSettings::of(|name| {
            variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn only_servers_are_logged_to() {
        assert_eq!(settings(&[]).unwrap_err(), TrackingError::NoServer);
        for uri in [
            "file:///tmp/mlruns",
            "/tmp/mlruns",
            "mlruns",
            "sqlite:///mlflow.db",
            "databricks",
            "databricks://me",
        ] {
            let error = settings(&[("MLFLOW_TRACKING_URI", uri)]).unwrap_err();
            assert!(error.to_string().contains(uri), "{error}");
            assert!(olive_core::Fault::hint(&error).unwrap().contains("mlflow server"));
        }
        let uri = ("MLFLOW_TRACKING_URI", "https://host/base");
        assert_eq!(settings(&[uri]).unwrap().server.as_str(), "https://host/base/");
    }

    #[test]
    fn a_password_goes_before_a_token_and_neither_is_told() {
        let uri = ("MLFLOW_TRACKING_URI", "http://somebody:Hq7-pass@host");
        let token = ("MLFLOW_TRACKING_TOKEN", "Hq7-token");
        let user = ("MLFLOW_TRACKING_USERNAME", "me");
        let with_token = settings(&[uri, token, user]).unwrap();
        assert!(with_token.login == Login::Token("Hq7-token".into()), "a name alone is no login");
        let with_user = settings(&[uri, token, user, ("MLFLOW_TRACKING_PASSWORD", "Hq7-word")]).unwrap();
        assert!(with_user.login == Login::Password { user: "me".into(), password: "Hq7-word".into() });
        let told = format!("{with_user:?} {}", secrets::hidden("Hq7-token Hq7-word"));
        assert!(told.contains("http://host") && !told.contains("Hq7"), "{told}");
    }

    #[test]
    fn tags_are_an_object_of_anything() {
        let with = |tags| settings(&[("MLFLOW_TRACKING_URI", "http://host"), ("MLFLOW_TAGS", tags)]);
        let tags = with(r#"{"a": "b", "n": 1}"#).unwrap().tags;
        assert_eq!(tags, [("a".to_owned(), "b".to_owned()), ("n".to_owned(), "1".to_owned())]);
        assert!(matches!(with("[1]"), Err(TrackingError::Variable { .. })));
    }

    #[test]
    fn a_time_is_whole_seconds() {
        let with =
            |text| settings(&[("MLFLOW_TRACKING_URI", "http://host"), ("MLFLOW_HTTP_REQUEST_TIMEOUT", text)]);
        assert_eq!(with("3").unwrap().timeout, Duration::from_secs(3));
        assert!(["0", "soon"].iter().all(|text| matches!(with(text), Err(TrackingError::Variable { .. }))));
    }
}
