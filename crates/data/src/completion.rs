//! Which part of a text is completion: what a model is to learn, not what it is asked.

use std::ops::Range;

/// After the last occurrence of the template; nothing where it does not occur, as in trl's
/// `DataCollatorForCompletionOnlyLM`, but found in the text, so that how the marker is cut into tokens does not matter.
pub(super) fn after(text: &str, response_template: &str) -> Vec<Range<usize>> {
    let end = |start: usize| start + response_template.len();
    text.rfind(response_template).map(|start| end(start)..text.len()).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_found_where_it_stands_last() {
        assert_eq!(after("Q: a A: b A: c", "A:").first(), Some(&(12..14)));
        assert!(after("Q: a", "A:").is_empty());
    }
}
