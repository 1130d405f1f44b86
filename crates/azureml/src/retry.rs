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
        is_passing(status).then_some(self.backoff)
    }
}

/// Whether a service that answers with this status may answer otherwise later.
pub fn is_passing(status: u16) -> bool {
    matches!(status, 408 | 429 | 500..=599) && !matches!(status, 501 | 505)
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

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::{HeaderName, HeaderValue};

    /// Thu, 26 Nov 2026 10:00:00 GMT
    const NOW: u64 = 1_795_687_200;

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    /// The pause in milliseconds after a first refusal, with chance in the middle.
    fn after_refusal(method: Method, status: u16, pairs: &[(&'static str, &'static str)]) -> Option<u128> {
        let headers = headers(pairs);
        let outcome = Outcome::Refused { status, headers: &headers };
        RetryPolicy::default().delay(0, &method, outcome, now(), 0.5).map(|delay| delay.as_millis())
    }

    #[test]
    fn statuses_and_methods_decide() {
        let table = [
            (Method::GET, 408, Some(800)),
            (Method::HEAD, 429, Some(800)),
            (Method::PUT, 500, Some(800)),
            (Method::DELETE, 503, Some(800)),
            (Method::OPTIONS, 599, Some(800)),
            (Method::GET, 501, None),
            (Method::GET, 505, None),
            (Method::GET, 400, None),
            (Method::GET, 401, None),
            (Method::GET, 404, None),
            (Method::PUT, 409, None),
            (Method::POST, 429, None),
            (Method::POST, 503, None),
            (Method::PATCH, 503, None),
        ];
        for (method, status, expected) in table {
            assert_eq!(after_refusal(method.clone(), status, &[]), expected, "{method} {status}");
        }
    }

    #[test]
    fn what_the_service_asks_for_holds_for_all() {
        type Pairs = &'static [(&'static str, &'static str)];
        let table: [(Pairs, Option<u128>); 9] = [
            (&[("retry-after", "7")], Some(7000)),
            (&[("retry-after", "0.5")], Some(500)),
            (&[("retry-after", "Thu, 26 Nov 2026 10:01:30 GMT")], Some(90_000)),
            (&[("retry-after", "Thu, 26 Nov 2026 09:00:00 GMT")], Some(0)),
            (&[("retry-after-ms", "250"), ("retry-after", "7")], Some(250)),
            (&[("x-ms-retry-after-ms", "1500")], Some(1500)),
            (&[("retry-after", "3601")], None),
            (&[("retry-after", "soon")], None),
            (&[("retry-after", "-1")], None),
        ];
        for (pairs, expected) in table {
            assert_eq!(after_refusal(Method::POST, 409, pairs), expected, "{pairs:?}");
        }
        assert_eq!(after_refusal(Method::GET, 503, &[("retry-after", "soon")]), Some(800), "as without");
    }

    #[test]
    fn pauses_double_up_to_a_limit_and_attempts_end() {
        let policy = RetryPolicy { retries: 20, ..RetryPolicy::default() };
        let delay = |attempt, chance| {
            let delay = policy.delay(attempt, &Method::GET, Outcome::Lost, now(), chance);
            delay.map(|delay| delay.as_millis())
        };
        assert_eq!([0, 1, 2, 3].map(|attempt| delay(attempt, 0.5)), [800, 1600, 3200, 6400].map(Some));
        assert_eq!((delay(0, 0.0), delay(0, 1.0)), (Some(640), Some(960)), "a fifth down and up");
        assert_eq!((delay(10, 0.5), delay(19, 1.0)), (Some(120_000), Some(120_000)));
        assert_eq!(delay(20, 0.5), None);
        let asked = headers(&[("retry-after", "1")]);
        let refused = Outcome::Refused { status: 429, headers: &asked };
        assert_eq!(
            RetryPolicy::default().delay(2, &Method::GET, refused, now(), 0.5),
            Some(Duration::from_secs(1))
        );
        assert_eq!(RetryPolicy::default().delay(3, &Method::GET, refused, now(), 0.5), None);
    }

    #[test]
    fn lost_connections_are_tried_again_where_it_does_no_harm() {
        let tried = |method: Method, outcome, policy: RetryPolicy| {
            policy.delay(0, &method, outcome, now(), 0.5).is_some()
        };
        let policy = RetryPolicy::default();
        assert!(tried(Method::PUT, Outcome::Lost, policy), "the name is the caller's: the same again");
        assert!(!tried(Method::POST, Outcome::Lost, policy), "it may have been done");
        assert!(tried(Method::POST, Outcome::NotSent, policy), "nobody heard of it");
        let tokens = RetryPolicy { posts: Posts::Repeatable, ..policy };
        assert!(tried(Method::POST, Outcome::Lost, tokens));
    }
}
