//! When a request is sent again.

use reqwest::header::HeaderMap;
use std::time::Duration;

/// Requests for the same before a failure is told.
pub(crate) const ATTEMPTS: u32 = 5;

/// The pause before the second attempt, which doubles with each further one.
const PAUSE: Duration = Duration::from_millis(500);

/// A hub that asks for more is not waited for. Its limits are counted in windows of five minutes.
const LONGEST: Duration = Duration::from_secs(330);

/// Whether a server that answers with this status may answer otherwise later.
pub(crate) fn is_passing(status: u16) -> bool {
    matches!(status, 408 | 429 | 500..=599) && !matches!(status, 501 | 505 | 507)
}

/// How long to wait before the attempt after the `attempt`-th (from 1); `None` if there is none. `chance`, from 0 to 1, spreads
/// the pauses of many clients.
pub(crate) fn pause(attempt: u32, headers: Option<&HeaderMap>, chance: f64) -> Option<Duration> {
    if attempt >= ATTEMPTS {
        return None;
    }
    match headers.and_then(asked) {
        Some(asked) => (asked <= LONGEST).then_some(asked),
        None => Some((PAUSE * 2_u32.pow(attempt - 1)).mul_f64(0.8 + 0.4 * chance)),
    }
}

/// What the server asks for: `Retry-After` in seconds, or the end of the window in `RateLimit` (`"api";r=0;t=55`).
fn asked(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(seconds) = text("retry-after").and_then(|text| text.trim().parse::<f64>().ok()) {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let fields: Vec<&str> = text("ratelimit")?.split(';').map(str::trim).collect();
    let is_used_up = fields.contains(&"r=0");
    let seconds = fields.iter().find_map(|field| field.strip_prefix("t="))?.parse().ok()?;
    is_used_up.then(|| Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::{HeaderName, HeaderValue};

    #[test]
    fn pauses_double_unless_the_server_names_one() {
        let of = |pairs: &[(&'static str, &'static str)]| -> HeaderMap {
            let header = |(name, value): &(&'static str, &'static str)| {
                (HeaderName::from_static(name), HeaderValue::from_static(value))
            };
            pairs.iter().map(header).collect()
        };
        let after = |attempt, pairs: &[(&'static str, &'static str)]| {
            pause(attempt, Some(&of(pairs)), 0.5).map(|pause| pause.as_millis())
        };
        assert_eq!([1, 2, 3, 4].map(|n| after(n, &[])), [500, 1000, 2000, 4000].map(Some));
        assert_eq!(after(5, &[("retry-after", "1")]), None);
        assert_eq!(after(1, &[("retry-after", "2.5")]), Some(2500));
        assert_eq!(after(1, &[("retry-after", "3600")]), None);
        assert_eq!(after(1, &[("retry-after", "-1")]), Some(500), "as without");
        assert_eq!(after(1, &[("ratelimit", "\"api\";r=0;t=55")]), Some(55_000));
        assert_eq!(after(1, &[("ratelimit", "\"api\";r=7;t=55")]), Some(500));
        let passing: Vec<u16> = [400, 401, 403, 404, 408, 409, 412, 429, 500, 501, 503, 507]
            .into_iter()
            .filter(|s| is_passing(*s))
            .collect();
        assert_eq!(passing, [408, 429, 500, 503]);
    }
}
