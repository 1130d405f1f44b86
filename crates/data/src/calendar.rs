//! Calendar dates and `strftime`, in UTC.

use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use std::time::SystemTime;

/// `2024-02-29`, the day `days` after 1970-01-01.
pub(super) fn date(days: i64) -> String {
    let day = i32::try_from(days).ok().and_then(NaiveDate::from_epoch_days);
    // Beyond the calendar, hundreds of thousands of years away.
    day.map_or_else(|| format!("{days} days after 1970-01-01"), |day| day.to_string())
}

/// No code of two letters becomes more than this many bytes for each of them.
pub(super) const LONGEST_CODE: usize = 32;

/// `strftime` of this moment in UTC.
pub(super) fn strftime_now(format: &str) -> String {
    strftime(format, SystemTime::now().into())
}

/// `strftime` of noon of a day.
pub(super) fn strftime_on(format: &str, day: NaiveDate) -> String {
    strftime(format, day.and_time(NaiveTime::from_hms_opt(12, 0, 0).unwrap_or_default()).and_utc())
}

fn strftime(format: &str, moment: DateTime<Utc>) -> String {
    let items: Vec<Item> = StrftimeItems::new_lenient(format).collect();
    moment.format_with_items(items.iter()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_calendar() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(-1), "1969-12-31");
        assert_eq!(date(19_782), "2024-02-29");
        assert_eq!(date(-719_162), "0001-01-01");
        assert!(date(i64::MAX).ends_with("after 1970-01-01"));
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        assert_eq!(strftime("%a %d %b %Y, %I:%M %p", at(1_709_251_199)), "Thu 29 Feb 2024, 11:59 PM");
        assert_eq!(strftime("%F %T|%y|%e|%%", at(0)), "1970-01-01 00:00:00|70| 1|%");
        // As glibc: no padding, and what is no code stays.
        assert_eq!(strftime("%A, %B %-d %E%", at(0)), "Thursday, January 1 %E%");
    }
}
