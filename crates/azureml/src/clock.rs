//! Time, as something that tests can replace.

use async_trait::async_trait;
use std::fmt::Debug;
use std::time::{Duration, SystemTime};

#[async_trait]
pub trait Clock: Debug + Send + Sync {
    fn now(&self) -> SystemTime;

    async fn sleep(&self, duration: Duration);
}

/// The machine's.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}
