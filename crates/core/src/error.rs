//! The error type that crosses the borders of crates: what went wrong and where, what to do about it, and the exit code.

use crate::secrets::hidden;
use crate::shown::shown;
use std::path::{Path, PathBuf};

/// What a part of the program says when something goes wrong. Every crate has its own enum of faults.
pub trait Fault: std::error::Error + Send + Sync + 'static {
    /// One sentence that says what to do, if there is something to do.
    fn hint(&self) -> Option<String> {
        None
    }

    /// 2 for usage and configuration, 130 for an interruption, 1 for everything that failed while running.
    fn exit_code(&self) -> u8 {
        1
    }
}

/// A [`Fault`] of any crate. Whoever must tell one from the others asks for it with [`Error::downcast_ref`].
pub struct Error(Box<dyn Fault>);

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn hint(&self) -> Option<String> {
        self.0.hint().map(|hint| hidden(&hint).into_owned())
    }

    pub fn exit_code(&self) -> u8 {
        self.0.exit_code()
    }

    /// What went wrong, and after a colon each why it did.
    pub fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(inner) = cause {
            text.push_str(&format!(": {inner}"));
            cause = inner.source();
        }
        hidden(&text).into_owned()
    }

    /// The fault, if it is of this type.
    pub fn downcast_ref<F: Fault>(&self) -> Option<&F> {
        let fault: &(dyn std::error::Error + 'static) = &*self.0;
        fault.downcast_ref()
    }

    /// Whether somebody asked to stop, which is no failure.
    pub fn is_interruption(&self) -> bool {
        self.downcast_ref::<Interrupted>().is_some()
    }
}

impl<F: Fault> From<F> for Error {
    fn from(fault: F) -> Error {
        Error(Box::new(fault))
    }
}

impl std::fmt::Debug for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Without secrets, which file names, answers of servers and configurations bring along.
impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hidden(&self.0.to_string()))
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

/// Ctrl-C, at a point where work can go on from later.
#[derive(Debug, thiserror::Error)]
#[error("interrupted; what was finished is kept, and the next run goes on from there")]
pub struct Interrupted;

impl Fault for Interrupted {
    fn exit_code(&self) -> u8 {
        130
    }
}

/// An I/O call that failed, with what was being done to which path.
#[derive(Debug, thiserror::Error)]
#[error("failed to {action} `{}`", shown(path))]
pub struct IoFault {
    /// Completes "failed to …".
    pub action: &'static str,
    pub path: PathBuf,
    pub source: std::io::Error,
}

impl Fault for IoFault {
    fn hint(&self) -> Option<String> {
        match self.source.kind() {
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
}

/// Candle's own.
#[derive(Debug, thiserror::Error)]
#[error("a tensor operation failed")]
pub struct TensorFault(#[from] candle_core::Error);

impl Fault for TensorFault {}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Error {
        TensorFault(without_backtrace(error)).into()
    }
}

/// Candle's error itself. With `RUST_BACKTRACE` set, candle puts a backtrace into its message.
pub fn without_backtrace(error: candle_core::Error) -> candle_core::Error {
    match error {
        candle_core::Error::WithBacktrace { inner, .. } => without_backtrace(*inner),
        error => error,
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
        self.map_err(|source| IoFault { action, path: path.to_owned(), source }.into())
    }
}
