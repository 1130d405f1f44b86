//! Numbers and times for people.

use chrono::DateTime;
use olive_evaluate::Number;
use serde_json::Value;

/// Six digits that tell something.
pub fn real(value: f64) -> String {
    if !value.is_finite() {
        return value.to_string();
    }
    let magnitude = if value == 0.0 { 0.0 } else { value.abs().log10().floor() };
    if !(-6.0..12.0).contains(&magnitude) {
        return format!("{value:.3e}");
    }
    let decimals = (5.0 - magnitude).clamp(0.0, 10.0) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// The value that was measured under this name; bytes where the name says so.
pub fn number(name: &str, number: Number) -> String {
    match number {
        Number::Count(count) if name.ends_with("bytes") => bytes(count),
        Number::Count(count) => count.to_string(),
        Number::Real(value) => real(value),
    }
}

pub(crate) fn bytes(count: u64) -> String {
    match unit(count as f64) {
        Some((unit, name)) => format!("{:.1} {name}", count as f64 / unit),
        None => format!("{count} B"),
    }
}

/// With the digits that tell neighbours on an axis apart: `1.74 MB`.
pub(crate) fn exact_bytes(count: f64) -> String {
    let (unit, name) = unit(count).unwrap_or((1.0, "B"));
    format!("{} {name}", real(count / unit))
}

/// The unit for so many bytes; `None`: they are few.
fn unit(count: f64) -> Option<(f64, &'static str)> {
    [(1e9, "GB"), (1e6, "MB"), (1e3, "kB")].into_iter().find(|(unit, _)| count >= *unit)
}

pub(crate) fn duration(seconds: f64) -> String {
    match seconds {
        s if s >= 3600.0 => format!("{} h {:02} min", (s / 3600.0) as u64, (s / 60.0) as u64 % 60),
        s if s >= 60.0 => format!("{} min {:02} s", (s / 60.0) as u64, s as u64 % 60),
        s if s >= 1.0 => format!("{s:.1} s"),
        s => format!("{:.0} ms", s * 1e3),
    }
}

/// A time of a record, in UTC.
pub(crate) fn time(seconds: f64) -> String {
    let time = DateTime::from_timestamp(seconds as i64, 0);
    time.map_or_else(String::new, |time| time.format("%Y-%m-%d %H:%M:%S UTC").to_string())
}

/// An option, as a configuration has it, without the quotes of a text.
pub(crate) fn option(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_exact_enough() {
        let texts = [2583.905, 0.000_1, 1.5e-9, 3.0, 0.0, 1e15].map(real);
        assert_eq!(texts, ["2583.91", "0.0001", "1.500e-9", "3", "0", "1.000e15"]);
        assert_eq!((bytes(999), bytes(2_634_834)), ("999 B".to_owned(), "2.6 MB".to_owned()));
        assert_eq!([1_740_000.0, 2e9, 12.0].map(exact_bytes), ["1.74 MB", "2 GB", "12 B"]);
        assert_eq!(number("size-bytes", Number::Count(1_500)), "1.5 kB");
        let times = [0.012, 12.5, 75.0, 3_725.0].map(duration);
        assert_eq!(times, ["12 ms", "12.5 s", "1 min 15 s", "1 h 02 min"]);
        assert_eq!(time(1_796_000_000.0), "2026-11-30 00:53:20 UTC");
    }

    #[test]
    fn numbers_keep_six_digits() {
        let texts = [2583.905029, 0.0123456789, 1e9, 0.0, -7.5, 99.9999999].map(real);
        assert_eq!(texts, ["2583.91", "0.0123457", "1000000000", "0", "-7.5", "100"]);
    }
}
