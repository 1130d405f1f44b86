//! What of the settings cannot be used. What goes wrong while a run is logged stops nothing, and is told in words.

use olive_core::Fault;

/// Why nothing can be logged to MLflow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrackingError {
    #[error("`MLFLOW_TRACKING_URI` names no server to log to")]
    NoServer,
    #[error("the network is not to be used, and the MLflow server is behind it")]
    Offline,
    #[error("`MLFLOW_TRACKING_URI` is `{uri}`, {why}")]
    Uri { uri: String, why: &'static str },
    #[error("`{variable}` is not as MLflow has it: expected {expected}")]
    Variable { variable: &'static str, expected: &'static str },
    #[error("no connection to MLflow can be set up: {0}")]
    Connection(String),
}

impl Fault for TrackingError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            TrackingError::NoServer | TrackingError::Uri { .. } => {
                "start `mlflow server`, and set MLFLOW_TRACKING_URI to its address, such as http://127.0.0.1:5000; \
                 or leave `mlflow` out of `report_to`"
                    .into()
            }
            TrackingError::Offline => {
                "run without --offline and --sandbox, or leave `mlflow` out of `report_to`".into()
            }
            TrackingError::Variable { variable, .. } => format!("correct {variable}, or unset it"),
            TrackingError::Connection(_) => "see the certificates of this system".into(),
        })
    }

    fn exit_code(&self) -> u8 {
        2
    }
}
