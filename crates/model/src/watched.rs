//! Work that somebody looks at while it goes on.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

/// Between two looks.
const TICK: Duration = Duration::from_millis(100);

/// Does work until it ends. `on_tick` is called at the beginning and while it goes on, and may end it.
///
/// # Errors
/// Those of `on_tick`.
pub async fn watched<T, E>(
    work: impl Future<Output = T>,
    mut on_tick: impl FnMut() -> Result<(), E>,
) -> Result<T, E> {
    let mut work = pin!(work);
    let mut ticks = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            biased;
            _ = ticks.tick() => on_tick()?,
            result = &mut work => return Ok(result),
        }
    }
}
