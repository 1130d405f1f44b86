//! `generation` marks: templates put them around what the assistant says, for training on answers only. They print nothing.

use regex::{Captures, Regex};
use std::ops::Range;
use std::sync::LazyLock;

/// Characters that no text has, as Unicode keeps them for programs: what stands between marks is put between these.
const SIGNS: [char; 2] = ['\u{fdd0}', '\u{fdd1}'];

/// The filter that puts a text between signs.
pub(super) const FILTER: &str = "generation";

static TAGS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\{%([-+]?)\s*(end)?generation\s*([-+]?)%\}").expect("the pattern is constant")
});

/// What becomes of marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marks {
    Silent,
    /// They leave signs.
    Signs,
}

/// Whether a template has marks.
pub(super) fn are_in(source: &str) -> bool {
    TAGS.is_match(source)
}

/// A template whose marks are tags that there are.
pub(super) fn replaced(source: &str, marks: Marks) -> String {
    let (begin, end) = match marks {
        Marks::Silent => ("if true", "endif"),
        Marks::Signs => ("filter generation", "endfilter"),
    };
    let tag = |c: &Captures<'_>| {
        let tag = if c.get(2).is_some() { end } else { begin };
        format!("{{%{} {tag} {}%}}", &c[1], &c[3])
    };
    TAGS.replace_all(source, tag).into_owned()
}

/// What the filter makes of a text.
pub(super) fn between_signs(text: &str) -> String {
    format!("{}{text}{}", SIGNS[0], SIGNS[1])
}

/// A text without its signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarkedText {
    pub text: String,
    /// Bytes of it that stood between signs, in order; those that touch are one.
    pub ranges: Vec<Range<usize>>,
}

/// A text without its signs, and what stood between them. `None`: they do not pair, as the text has some of its own.
pub(super) fn ranges(marked: &str) -> Option<MarkedText> {
    let mut text = String::with_capacity(marked.len());
    let mut ranges: Vec<Range<usize>> = Vec::new();
    let mut opened = None;
    for part in marked.split_inclusive(SIGNS) {
        let plain = part.trim_end_matches(SIGNS);
        text.push_str(plain);
        match (part.chars().next_back().filter(|sign| SIGNS.contains(sign)), opened) {
            (None, None) => {}
            (Some(sign), None) if sign == SIGNS[0] => opened = Some(text.len()),
            (Some(sign), Some(start)) if sign == SIGNS[1] => {
                opened = None;
                match ranges.last_mut() {
                    Some(before) if before.end == start => before.end = text.len(),
                    _ => ranges.push(start..text.len()),
                }
            }
            _ => return None,
        }
    }
    opened.is_none().then_some(MarkedText { text, ranges })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_are_taken_out_and_ranges_that_touch_are_one() {
        let marked = format!("a{}c{}{}", between_signs("b"), between_signs("d"), between_signs("e"));
        assert_eq!(ranges(&marked), Some(MarkedText { text: "abcde".into(), ranges: vec![1..2, 3..5] }));
        assert_eq!(ranges(&between_signs("")).map(|marked| marked.ranges.len()), Some(1));
        for own in [format!("{}a", SIGNS[0]), format!("a{}", SIGNS[1]), between_signs(&between_signs("a"))] {
            assert_eq!(ranges(&own), None, "{own:?}");
        }
    }
}
