//! Numbers as people read them.

/// `1.2 s`, `3 min 05 s`, `2 h 10 min`.
pub(crate) fn duration(seconds: f64) -> String {
    if seconds < 0.0995 {
        return format!("{:.0} ms", seconds * 1e3);
    }
    if seconds < 99.95 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    if whole < 3600 {
        format!("{} min {:02} s", whole / 60, whole % 60)
    } else {
        format!("{} h {:02} min", whole / 3600, whole % 3600 / 60)
    }
}

/// `812 B`, `1.4 MB`: decimal units, as disks are sold and `ls --si` counts.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn durations() {
        let cases = [(0.012, "12 ms"), (1.25, "1.2 s"), (99.96, "1 min 40 s"), (7800.0, "2 h 10 min")];
        for (seconds, text) in cases {
            assert_eq!(super::duration(seconds), text);
        }
    }

    #[test]
    fn sizes() {
        let cases = [(812, "812 B"), (1_400_000, "1.4 MB"), (999_600, "1.0 MB"), (2_700_000_000, "2.7 GB")];
        for (bytes, text) in cases {
            assert_eq!(super::bytes(bytes), text);
        }
    }
}
