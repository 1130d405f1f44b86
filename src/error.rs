//! The one error type that crosses module borders, what to do about it, and the exit code it means.

use std::path::{Path, PathBuf};

/// What went wrong, as the module that noticed it says it.
///
/// Every module has its own enum (`data::DataError`, …); this one only gathers them, so that `cli` can print a
/// message, its causes and a hint, and choose the exit code.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    #[error(transparent)]
    Data(#[from] crate::data::DataError),
    #[error(transparent)]
    Model(#[from] crate::model::ModelError),
    #[error(transparent)]
    Train(#[from] crate::train::TrainError),
    #[error(transparent)]
    Onnx(#[from] crate::onnx::OnnxError),
    #[error(transparent)]
    Runtime(#[from] crate::runtime::RuntimeError),
    #[error(transparent)]
    Generate(#[from] crate::decoder::GenerateError),
    #[error(transparent)]
    Engine(#[from] crate::engine::EngineError),
    #[error(transparent)]
    Cache(#[from] crate::cache::CacheError),
    #[error("failed to {action} `{}`", path.display())]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },
    #[error("a tensor operation failed")]
    Tensor(#[from] candle_core::Error),
    #[error("interrupted; what was finished is kept, and the next run goes on from there")]
    Interrupted,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// One sentence that says what to do, if there is something to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Config(e) => e.hint(),
            Error::Data(e) => e.hint(),
            Error::Model(e) => e.hint(),
            Error::Train(e) => e.hint(),
            Error::Onnx(e) => e.hint(),
            Error::Runtime(e) => e.hint(),
            Error::Generate(e) => e.hint(),
            Error::Engine(e) => e.hint(),
            Error::Cache(e) => e.hint(),
            Error::Io { source, .. } => io_hint(source),
            Error::Tensor(_) | Error::Interrupted => None,
        }
    }

    /// 2 for usage and configuration, 130 for an interruption, 1 for everything that failed while running.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Config(_) | Error::Runtime(crate::runtime::RuntimeError::Device { .. }) => 2,
            Error::Engine(e) => e.exit_code(),
            Error::Cache(e) => e.exit_code(),
            Error::Interrupted => 130,
            _ => 1,
        }
    }
}

fn io_hint(error: &std::io::Error) -> Option<String> {
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            Some("paths are relative to the folder the command was started in".into())
        }
        std::io::ErrorKind::StorageFull => Some("free some space and run again".into()),
        std::io::ErrorKind::PermissionDenied => {
            Some("check who owns the path and whether it may be written".into())
        }
        _ => None,
    }
}

/// Says what was being done to which path when an I/O call failed.
pub trait IoContext<T> {
    /// `action` completes "failed to …", for example `"read"`.
    ///
    /// # Errors
    /// The I/O error, with the action and the path.
    fn at(self, action: &'static str, path: &Path) -> Result<T>;
}

impl<T> IoContext<T> for std::io::Result<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| Error::Io { action, path: path.to_owned(), source })
    }
}
