//! Doing a whole operation again, of several requests, when the network or the service fails in the middle.

use crate::error::Result;
use crate::http::Client;
use std::time::Duration;

/// How often, and how long apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repetition {
    /// Attempts after the first.
    pub retries: u32,
    /// The first pause, which doubles.
    pub interval: Duration,
}

impl Default for Repetition {
    fn default() -> Repetition {
        Repetition { retries: 3, interval: Duration::from_secs(5) }
    }
}

impl Client {
    /// Does the operation, and does it again where the same may succeed later. It must do no harm twice.
    ///
    /// # Errors
    /// The last error of the operation; or somebody cancels.
    pub async fn repeated<T>(
        &self,
        repetition: Repetition,
        mut operation: impl AsyncFnMut() -> Result<T>,
    ) -> Result<T> {
        for attempt in 0..repetition.retries {
            match operation().await {
                Err(error) if error.is_transient() => {
                    let pause = repetition.interval.saturating_mul(2_u32.saturating_pow(attempt));
                    tracing::warn!(%error, ?pause, "the operation is done again");
                    self.transport().wait(pause).await?;
                }
                result => return result,
            }
        }
        operation().await
    }
}
