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
    let runtime = runtime()?;
    let stop = CancellationToken::new();
    let watch_flag = async {
        while !cancel.is_raised() {
            tokio::time::sleep(GLANCE).await;
        }
        stop.cancel();
        // The work notices by itself.
        std::future::pending::<()>().await;
    };
    let result = runtime.block_on(async {
        tokio::select! {
            result = work(stop.clone()) => result,
            () = watch_flag => unreachable!("it never ends"),
        }
    });
    // What waits for disks or commands ends by itself.
    runtime.shutdown_background();
    match result {
        Err(_) if cancel.is_raised() => Err(Interrupted.into()),
        result => result,
    }
}

/// What requests are sent on: this thread.
///
/// # Errors
/// [`SystemError::Runtime`]
pub(super) fn runtime() -> Result<Runtime, SystemError> {
    Builder::new_current_thread().enable_all().build().map_err(|source| SystemError::Runtime { source })
}
