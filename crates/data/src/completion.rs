//! Which part of a text is completion: what a model is to learn, not what it is asked.

use crate::chat_template::{ChatTemplate, GenerationPrompt};
use crate::error::DataError;
use crate::value::Value;
use std::ops::Range;

/// After the last occurrence of the template; nothing where it does not occur, as in trl's
/// `DataCollatorForCompletionOnlyLM`, but found in the text, so that how the marker is cut into tokens does not matter.
pub(super) fn after(text: &str, response_template: &str) -> Vec<Range<usize>> {
    let end = |start: usize| start + response_template.len();
    text.rfind(response_template).map(|start| end(start)..text.len()).into_iter().collect()
}

/// What the assistant says in a conversation, up to and with the mark that ends its turn: from where a prompt for it ends
/// to where the turn does.
///
/// # Errors
/// The template writes earlier turns differently once later ones follow, so that they are not found in `text`.
pub(super) fn assistant(
    template: &ChatTemplate,
    messages: &[Value],
    text: &str,
) -> Result<Vec<Range<usize>>, DataError> {
    let mut completions = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        if !matches!(message.get("role"), Some(Value::Str(role)) if role == "assistant") {
            continue;
        }
        let rendered = |count: usize, prompt: GenerationPrompt| {
            template.render_value(&Value::List(messages[..count].to_vec()), prompt)
        };
        let prompt = rendered(index, GenerationPrompt::Add)?;
        if !text.starts_with(&prompt) {
            return Err(DataError::Turns { turn: index + 1 });
        }
        let end = if index + 1 == messages.len() {
            text.len()
        } else {
            // A template may end every conversation with a mark of its own, which is not in the middle of a longer one.
            common_prefix(text, &rendered(index + 1, GenerationPrompt::Omit)?)
        };
        if end > prompt.len() {
            completions.push(prompt.len()..end);
        }
    }
    Ok(completions)
}

/// Length of what two texts begin with.
fn common_prefix(a: &str, b: &str) -> usize {
    let same = a.char_indices().zip(b.chars()).find(|((_, a), b)| a != b);
    same.map_or(a.len().min(b.len()), |((at, _), _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_found_where_it_stands_last() {
        assert_eq!(after("Q: a A: b A: c", "A:").first(), Some(&(12..14)));
        assert!(after("Q: a", "A:").is_empty());
        assert_eq!(common_prefix("añb", "añc"), 3);
        assert_eq!(common_prefix("ab", "abc"), 2);
    }
}
