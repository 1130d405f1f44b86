//! Parts of a text that count in the loss.

use std::ops::Range;

/// Bytes of a text whose tokens count.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    pub bytes: Range<usize>,
    /// Factor on the loss of each token.
    pub weight: f32,
}

/// What of a text counts.
#[derive(Debug, Clone, PartialEq)]
pub enum Counted {
    /// All of it.
    All,
    /// Tokens that reach into one of these ranges and not beyond its end.
    Reaching(Vec<Range<usize>>),
    /// Tokens that begin in one of these spans, which are in order and apart from each other. One that begins before a
    /// span belongs to the prompt, even where it reaches into it.
    Beginning(Vec<Span>),
}

impl Counted {
    /// `base` in which other spans have weights of their own. Both are in order; spans of weight 0 do not count.
    pub(crate) fn with_weights(base: impl IntoIterator<Item = Range<usize>>, weighted: &[Span]) -> Counted {
        let mut spans = Vec::new();
        for range in base {
            let mut start = range.start;
            for span in weighted {
                let inner = span.bytes.start.max(start)..span.bytes.end.min(range.end);
                if inner.is_empty() {
                    continue;
                }
                spans.push(Span { bytes: start..inner.start, weight: 1.0 });
                start = inner.end;
                spans.push(Span { bytes: inner, weight: span.weight });
            }
            spans.push(Span { bytes: start..range.end, weight: 1.0 });
        }
        spans.retain(|span| span.weight > 0.0 && !span.bytes.is_empty());
        Counted::Beginning(spans)
    }

    /// The weight of a token that stands at these bytes.
    pub(crate) fn weight(&self, token: Range<usize>) -> f32 {
        let counts = match self {
            Counted::All => true,
            Counted::Reaching(ranges) => {
                let reaches = |range: &Range<usize>| {
                    token.end > range.start && token.end <= range.end && token.start < range.end
                };
                ranges.iter().any(reaches)
            }
            Counted::Beginning(spans) => {
                let before = spans.partition_point(|span| span.bytes.start <= token.start);
                let span = before.checked_sub(1).map(|place| &spans[place]);
                // A token without a place was added by the tokenizer.
                return span
                    .filter(|span| token.start < span.bytes.end && !token.is_empty())
                    .map_or(0.0, |span| span.weight);
            }
        };
        f32::from(u8::from(counts))
    }

    /// Whether a span begins inside a token.
    pub(crate) fn begins_inside(&self, token: Range<usize>) -> bool {
        let Counted::Beginning(spans) = self else { return false };
        let after = spans.partition_point(|span| span.bytes.start <= token.start);
        spans.get(after).is_some_and(|span| span.bytes.start < token.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_cut_out_of_what_counts() {
        let half = [Span { bytes: 4..6, weight: 0.5 }, Span { bytes: 8..9, weight: 0.0 }];
        let counted = Counted::with_weights(std::iter::once(2..10), &half);
        let weights: Vec<f32> = (0..11).map(|at| counted.weight(at..at + 1)).collect();
        assert_eq!(weights, [0.0, 0.0, 1.0, 1.0, 0.5, 0.5, 1.0, 1.0, 0.0, 1.0, 0.0]);
        assert_eq!((counted.weight(1..4), counted.weight(9..12), counted.weight(3..3)), (0.0, 1.0, 0.0));
        assert!(counted.begins_inside(1..3) && !counted.begins_inside(2..4) && !counted.begins_inside(0..2));
    }
}
