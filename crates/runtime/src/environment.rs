//! The one ONNX Runtime environment of the process.

use super::{Library, RuntimeError};
use ort::environment::Environment;
use ort::logging::LogLevel;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// ONNX Runtime allows one environment per process, and its library cannot be exchanged.
static STARTED: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

/// Starts ONNX Runtime from this library, with telemetry off, or gives the environment that already runs on it.
///
/// # Errors
/// The library cannot be loaded, or another one is already in use.
pub fn start(library: &Library) -> Result<Environment, RuntimeError> {
    let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((path, environment)) = started.as_ref() {
        return if *path == library.path {
            Ok(environment.clone())
        } else {
            Err(RuntimeError::AlreadyLoaded { path: path.clone() })
        };
    }
    let path = std::path::absolute(&library.path).unwrap_or_else(|_| library.path.clone());
    let environment = ort::init_from(&path)
        .map_err(|e| RuntimeError::NotTheLibrary { path: path.clone(), reason: e.to_string() })?
        .with_name("olive")
        .with_telemetry(false)
        .with_logger(Arc::new(log))
        .build()
        .map_err(|source| RuntimeError::Start { source })?;
    environment.set_log_level(LogLevel::Warning);
    *started = Some((library.path.clone(), environment.clone()));
    Ok(environment)
}

/// Its remarks are for those who debug; what matters comes back as an error.
fn log(level: LogLevel, category: &str, _id: &str, location: &str, message: &str) {
    tracing::debug!(target: "onnxruntime", ?level, category, location, "{message}");
}
