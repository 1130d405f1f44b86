//! Which requests are sent again, and when: the rules of Microsoft's clients (`azure-core`'s `RetryPolicy`).

use chrono::DateTime;
use reqwest::Method;
use reqwest::header::HeaderMap;
use std::time::{Duration, SystemTime};

/// How a request ended that did not succeed.
#[derive(Debug, Clone, Copy)]
pub enum Outcome<'a> {
    /// With a status from 400 on.
    Refused { status: u16, headers: &'a HeaderMap },
    /// There was no connection: the service knows nothing of the request.
    NotSent,
    /// The connection ended before the answer did: the service may have done what was asked.
    Lost,
}

/// When to send a request again.
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    /// Attempts after the first.
    pub retries: u32,
    /// The pause before the second attempt, which doubles with each further one.
    pub backoff: Duration,
    /// The longest pause that is not asked for by the service.
    pub longest: Duration,
    /// Further statuses to retry, with the pause before the second attempt.
    pub also: &'static [(u16, Duration)],
    pub posts: Posts,
}

/// What is thought of a POST that may have been done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Posts {
    /// It must not be done twice.
    Once,
    /// Doing it twice does no harm: a request for a token.
    Repeatable,
}

/// Services that ask for more are not waited for.
const LONGEST_ASKED: Duration = Duration::from_secs(3600);

impl Default for RetryPolicy {
    fn default() -> RetryPolicy {
        RetryPolicy {
            retries: 3,
            backoff: Duration::from_millis(800),
            longest: Duration::from_secs(120),
            also: &[],
            posts: Posts::Once,
        }
    }
}

impl RetryPolicy {
    /// How long to wait before the request is sent again; `None` if it is not. `attempt` counts those that failed before
    /// this one; `chance`, from 0 to 1, spreads the pauses of many clients by a fifth up and down.
    ///
    /// What says `Retry-After` is retried whatever the method, because then nothing was done. Otherwise a POST is not, as
    /// it may have been done.
    pub fn delay(
        &self,
        attempt: u32,
        method: &Method,
        outcome: Outcome<'_>,
        now: SystemTime,
        chance: f64,
    ) -> Option<Duration> {
        if attempt >= self.retries {
            return None;
        }
        let backoff = match outcome {
            Outcome::Refused { status, headers } => {
                if let Some(asked) = retry_after(headers, now) {
                    return (asked <= LONGEST_ASKED).then_some(asked);
                }
                if !self.repeats(method) {
                    return None;
                }
                self.backoff_for(status)?
            }
            Outcome::NotSent => self.backoff,
            Outcome::Lost if self.repeats(method) => self.backoff,
            Outcome::Lost => return None,
        };
        let doubled = backoff.saturating_mul(2_u32.saturating_pow(attempt));
        Some(doubled.min(self.longest).mul_f64(0.8 + 0.4 * chance).min(self.longest))
    }

    /// Whether doing it twice is doing it once.
    fn repeats(&self, method: &Method) -> bool {
        let always = [Method::GET, Method::HEAD, Method::PUT, Method::DELETE, Method::OPTIONS];
        always.contains(method) || (method == Method::POST && self.posts == Posts::Repeatable)
    }

    fn backoff_for(&self, status: u16) -> Option<Duration> {
        if let Some((_, backoff)) = self.also.iter().find(|(also, _)| *also == status) {
            return Some(*backoff);
        }
        let retried = matches!(status, 408 | 429 | 500..=599) && !matches!(status, 501 | 505);
        retried.then_some(self.backoff)
    }
}

/// How long the service asks to wait: `Retry-After` in seconds or as a date, or Azure's own headers in milliseconds.
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    for name in ["retry-after-ms", "x-ms-retry-after-ms"] {
        if let Some(milliseconds) = text(name).and_then(|text| text.parse().ok()) {
            return Some(Duration::from_millis(milliseconds));
        }
    }
    let text = text("retry-after")?;
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = SystemTime::from(DateTime::parse_from_rfc2822(text).ok()?);
    Some(date.duration_since(now).unwrap_or_default())
}
