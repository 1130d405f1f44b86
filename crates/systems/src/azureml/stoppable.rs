//! Requests on this thread, which an interruption ends.

use crate::SystemError;
use olive_core::Result;
use olive_core::cancel::CancelFlag;
use olive_core::error::Interrupted;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

/// How often the flag is looked at.
const GLANCE: Duration = Duration::from_millis(100);

/// Does `work`, whose requests end by the token that it gets when somebody interrupts.
///
/// # Errors
/// Those of the work, or [`Interrupted`] where it ends with one after an interruption.
pub(super) fn stoppable<T>(
    cancel: &CancelFlag,
    work: impl AsyncFnOnce(CancellationToken) -> Result<T>,
) -> Result<T> {
    let requests = Requests::new()?;
    requests.run(cancel, async || work(requests.stop()).await)
}

/// The same in several parts, between which something else is done: connections stay open.
pub(super) struct Requests {
    /// `None` only while it goes.
    runtime: Option<Runtime>,
    stop: CancellationToken,
}

impl Requests {
    /// # Errors
    /// [`SystemError::Runtime`]
    pub(super) fn new() -> Result<Requests, SystemError> {
        Ok(Requests { runtime: Some(runtime()?), stop: CancellationToken::new() })
    }

    /// The token by which requests are to end when somebody interrupts.
    pub(super) fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// # Errors
    /// Those of the work, or [`Interrupted`] where it ends with one after an interruption.
    pub(super) fn run<T>(&self, cancel: &CancelFlag, work: impl AsyncFnOnce() -> Result<T>) -> Result<T> {
        let watch_flag = async {
            while !cancel.is_raised() {
                tokio::time::sleep(GLANCE).await;
            }
            self.stop.cancel();
            // The work notices by itself.
            std::future::pending::<()>().await;
        };
        let runtime = self.runtime.as_ref().expect("it goes with these requests");
        let result = runtime.block_on(async {
            tokio::select! {
                result = work() => result,
                () = watch_flag => unreachable!("it never ends"),
            }
        });
        match result {
            Err(_) if cancel.is_raised() => Err(Interrupted.into()),
            result => result,
        }
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        // What waits for disks or commands ends by itself.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// What requests are sent on: this thread.
///
/// # Errors
/// [`SystemError::Runtime`]
pub(super) fn runtime() -> Result<Runtime, SystemError> {
    Builder::new_current_thread().enable_all().build().map_err(|source| SystemError::Runtime { source })
}
