//! When a token ends, in the many ways that its sources write it.

use chrono::{DateTime, Local, NaiveDateTime, TimeZone, Utc};
use serde_json::Value;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A point in time: seconds since 1970 as a number or a text, or a date (`11/24/2026 10:20:30 +00:00`, the same with
/// `AM` or `PM`, or ISO 8601).
pub fn instant(value: &Value) -> Option<SystemTime> {
    if let Some(seconds) = number(value) {
        return UNIX_EPOCH.checked_add(seconds);
    }
    let text = value.as_str()?.trim();
    const WITH_ZONE: [&str; 4] = [
        "%m/%d/%Y %H:%M:%S %z",
        "%m/%d/%Y %I:%M:%S %p %z",
        "%Y-%m-%dT%H:%M:%S%.f%#z",
        "%Y-%m-%d %H:%M:%S%.f%#z",
    ];
    let date = WITH_ZONE.iter().find_map(|form| DateTime::parse_from_str(text, form).ok());
    let date = date.or_else(|| DateTime::parse_from_rfc3339(text).ok())?;
    Some(SystemTime::from(date.with_timezone(&Utc)))
}

/// A date without a zone is one of this machine's: the Azure CLI's `expiresOn`.
pub fn local_instant(value: &Value) -> Option<SystemTime> {
    let text = value.as_str()?.trim();
    const WITHOUT_ZONE: [&str; 2] = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"];
    let date = WITHOUT_ZONE.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
    match date {
        Some(date) => Some(SystemTime::from(Local.from_local_datetime(&date).earliest()?)),
        None => instant(value),
    }
}

/// A number of seconds from now on, as a number or a text.
pub fn after(value: &Value, now: SystemTime) -> Option<SystemTime> {
    now.checked_add(number(value)?)
}

fn number(value: &Value) -> Option<Duration> {
    let seconds = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// 2026-11-24 10:20:30 UTC
    const SECONDS: u64 = 1_795_515_630;

    #[test]
    fn all_forms_are_the_same_instant() {
        let expected = UNIX_EPOCH + Duration::from_secs(SECONDS);
        for value in [
            json!(SECONDS),
            json!(SECONDS as f64),
            json!(SECONDS.to_string()),
            json!("11/24/2026 10:20:30 +00:00"),
            json!("11/24/2026 10:20:30 AM +00:00"),
            json!("11/24/2026 12:20:30 +02:00"),
            json!("2026-11-24T10:20:30Z"),
            json!("2026-11-24T12:20:30.000+02:00"),
            json!("2026-11-24 10:20:30+00:00"),
        ] {
            assert_eq!(instant(&value), Some(expected), "{value}");
        }
        let windows = UNIX_EPOCH + Duration::from_secs(1_579_152_252);
        assert_eq!(instant(&json!("1/16/2020 5:24:12 AM +00:00")), Some(windows));
        for value in [json!(null), json!("soon"), json!(-5), json!({}), json!(1e300), json!("NaN")] {
            assert_eq!(instant(&value), None, "{value}");
        }
    }

    #[test]
    fn a_date_without_a_zone_is_local() {
        let local = local_instant(&json!("2026-11-24 10:20:30.123456")).unwrap();
        let date = Local.with_ymd_and_hms(2026, 11, 24, 10, 20, 30).unwrap();
        assert_eq!(local, SystemTime::from(date) + Duration::from_micros(123_456));
        assert_eq!(instant(&json!("2026-11-24 10:20:30.123456")), None, "only where it is meant");
        assert!(local_instant(&json!(SECONDS.to_string())).is_some());
    }

    #[test]
    fn seconds_from_now() {
        let now = UNIX_EPOCH + Duration::from_secs(100);
        for value in [json!(3599), json!("3599")] {
            assert_eq!(after(&value, now), Some(UNIX_EPOCH + Duration::from_secs(3699)));
        }
        assert_eq!(after(&json!("-1"), now), None);
    }
}
