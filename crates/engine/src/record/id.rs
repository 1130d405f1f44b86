//! Names of run records: `20261129T204501Z-1a2b3c4d`, the start in UTC and a part that tells runs of one second apart: the
//! fraction of the second in 2⁻²⁰, so that names sort by time, and three digits that are anything.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

const TIME: usize = "20261129T204501Z".len();
const SHORT: usize = 8;
/// Digits of the fraction of a second.
const FRACTION: usize = 5;
const FRACTION_BITS: u32 = 4 * FRACTION as u32;

/// A name that no other run has, of this process or of another one.
pub(super) fn fresh() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let mut hasher = blake3::Hasher::new();
    for part in
        [since.as_nanos() as u64, u64::from(std::process::id()), COUNT.fetch_add(1, Ordering::Relaxed)]
    {
        hasher.update(&part.to_le_bytes());
    }
    let fraction = (u64::from(since.subsec_nanos()) << FRACTION_BITS) / 1_000_000_000;
    let rest = &hasher.finalize().to_hex()[..SHORT - FRACTION];
    format!("{}-{fraction:0FRACTION$x}{rest}", utc(since.as_secs()))
}

/// Whether a folder of this name is a record of ours.
pub(super) fn is_id(name: &str) -> bool {
    let bytes = name.as_bytes();
    let digits = |range: std::ops::Range<usize>| bytes[range].iter().all(u8::is_ascii_digit);
    bytes.len() == TIME + 1 + SHORT
        && digits(0..8)
        && bytes[8] == b'T'
        && digits(9..15)
        && bytes[15..=TIME] == *b"Z-"
        && bytes[TIME + 1..].iter().all(u8::is_ascii_hexdigit)
}

/// Seconds since 1970 as `20261129T204501Z`.
fn utc(seconds: u64) -> String {
    let (mut days, second) = (seconds / 86_400, seconds % 86_400);
    let is_leap =
        |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!(
        "{year:04}{month:02}{:02}T{:02}{:02}{:02}Z",
        days + 1,
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_dates() {
        let cases = [
            (0, "19700101T000000Z"),
            (951_782_399, "20000228T235959Z"),
            (951_782_400, "20000229T000000Z"),
            (951_868_800, "20000301T000000Z"),
            (1_798_761_599, "20261231T235959Z"),
            (4_107_542_400, "21000301T000000Z"),
        ];
        for (seconds, text) in cases {
            assert_eq!(utc(seconds), text);
        }
    }

    #[test]
    fn names_differ_and_are_recognised() {
        let (one, two) = (fresh(), fresh());
        assert_ne!(one, two);
        std::thread::sleep(Duration::from_millis(1));
        assert!(fresh() > two, "names sort by time, also within a second");
        assert!(is_id(&one) && is_id(&two));
        for other in
            ["", "notes", "20261129T204501Z", "20261129T204501Z-1a2b3c4", "20261129T204501Z-1a2b3c4x"]
        {
            assert!(!is_id(other), "{other}");
        }
    }
}
