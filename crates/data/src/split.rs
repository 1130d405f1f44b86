//! The slicing syntax of `datasets`: `train[:90%]`, `train[10:20]+test`.

use crate::error::DataError;
use std::ops::Range;

/// One of the slices that `+` joins.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SplitSlice {
    /// `all` means every split.
    pub(crate) split: String,
    /// Bounds in rows or percent, negative ones from the end; `None` is open.
    from: Option<f64>,
    to: Option<f64>,
    percent: bool,
    /// `(pct1_dropremainder)`: every percent is the same number of rows.
    drop_remainder: bool,
}

/// # Errors
/// [`DataError::BadSplit`].
pub(crate) fn parse(text: &str) -> Result<Vec<SplitSlice>, DataError> {
    text.split('+')
        .map(|part| parse_part(part.trim()))
        .collect::<Result<_, String>>()
        .map_err(|reason| DataError::BadSplit { split: text.to_owned(), reason })
}

fn parse_part(text: &str) -> Result<SplitSlice, String> {
    let name_end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.')).unwrap_or(text.len());
    let (name, rest) = text.split_at(name_end);
    if name.is_empty() {
        return Err("the name is missing".into());
    }
    let mut part =
        SplitSlice { split: name.into(), from: None, to: None, percent: false, drop_remainder: false };
    if rest.is_empty() {
        return Ok(part);
    }
    let (slice, rounding) = rest
        .strip_prefix('[')
        .and_then(|r| r.split_once(']'))
        .ok_or_else(|| format!("`{rest}` is not a slice in brackets"))?;
    part.drop_remainder = match rounding {
        "" | "(closest)" => false,
        "(pct1_dropremainder)" => true,
        _ => return Err(format!("`{rounding}` is not `(closest)` or `(pct1_dropremainder)`")),
    };
    let (from, to) = slice.split_once(':').ok_or_else(|| format!("the slice `{slice}` has no colon"))?;
    let mut bound = |text: &str| -> Result<Option<f64>, String> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        let digits = match text.strip_suffix('%') {
            Some(digits) => {
                part.percent = true;
                digits
            }
            None => text,
        };
        // As an integer first: "1e3" or "inf" are no bounds.
        let number: i64 = digits.trim().parse().map_err(|_| format!("`{text}` is not a whole number"))?;
        Ok(Some(number as f64))
    };
    (part.from, part.to) = (bound(from)?, bound(to)?);
    if part.percent && [part.from, part.to].iter().flatten().any(|b| b.abs() > 100.0) {
        return Err("percentages lie between -100 and 100".into());
    }
    Ok(part)
}

impl SplitSlice {
    /// The rows it selects of a split with `rows` rows; may be empty.
    pub(crate) fn range(&self, rows: usize) -> Range<usize> {
        let n = rows as f64;
        let absolute = |bound: f64| match (self.percent, self.drop_remainder) {
            (false, _) => bound,
            // Ties to even, as Python's `round`.
            (true, false) => (bound * n / 100.0).round_ties_even(),
            (true, true) => bound * (n / 100.0).floor(),
        };
        let place = |bound: f64| {
            let bound = absolute(bound);
            (if bound < 0.0 { bound + n } else { bound }).clamp(0.0, n) as usize
        };
        let from = self.from.map_or(0, place);
        let to = self.to.map_or(rows, place);
        from..to.max(from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str, rows: usize) -> Range<usize> {
        parse(text).unwrap()[0].range(rows)
    }

    /// Expected values: `datasets` 5.2.
    #[test]
    fn slices_as_datasets_does() {
        for (rows, text, expected) in [
            (10, "train[:90%]", 0..9),
            (7, "train[10%:35%]", 1..2),
            (7, "train[-20%:]", 6..7),
            (813, "train[:90%]", 0..732),
            (813, "train[-20%:]", 650..813),
            (813, "train[33%:67%]", 268..545),
            (813, "train[3%:4%]", 24..33),
            (813, "train[:50%](pct1_dropremainder)", 0..400),
            (3, "train[10%:35%]", 0..1),
            (10, "train[-3:]", 7..10),
            (10, "train[:-1]", 0..9),
            (10, "train[:20]", 0..10),
            (7, "train[-9:2]", 0..2),
            (10, "train[-9:2]", 1..2),
            (10, "train[:]", 0..10),
        ] {
            assert_eq!(range(text, rows), expected, "{text} of {rows}");
        }
        assert!(range("train[5:2]", 10).is_empty());
        assert!(range("train[3%:4%]", 10).is_empty());
    }

    #[test]
    fn joins_parts_and_refuses_nonsense() {
        let parts = parse("train[10%:]+test").unwrap();
        assert_eq!((parts[0].split.as_str(), parts[1].split.as_str()), ("train", "test"));
        for text in ["train[2]", "train[:150%]", "train[a:]", "", "train+", "train[:1", "train[:1](x)"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
