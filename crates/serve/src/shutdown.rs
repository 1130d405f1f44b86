//! The wish that the server stop.

use std::sync::Arc;
use tokio::sync::watch;

/// Raised once, from any thread; all copies see it.
#[derive(Debug, Clone)]
pub struct Shutdown(Arc<watch::Sender<bool>>);

impl Shutdown {
    /// Stops taking connections, and gives answers under way some seconds.
    pub fn raise(&self) {
        self.0.send_replace(true);
    }

    pub fn is_raised(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits for it.
    pub(crate) async fn raised(&self) {
        // The sender cannot go while `self` is there.
        let _ = self.0.subscribe().wait_for(|raised| *raised).await;
    }
}

impl Default for Shutdown {
    fn default() -> Shutdown {
        Shutdown(Arc::new(watch::Sender::new(false)))
    }
}
