//! Whether what a conversation says is in its text: templates leave out what they do not know, without a word.

use super::conversation::{Conversation, Role, Turn};
use crate::row_fault::RowFault;
use crate::value::Value;
use std::ops::Range;

/// Whether a text is printed, as it is or as JSON.
fn prints(text: &str, part: &str) -> bool {
    let part = part.trim();
    if part.is_empty() || text.contains(part) {
        return true;
    }
    let json = serde_json::to_string(part).unwrap_or_default();
    let ascii = |text: &str| text.trim_matches('"').to_owned();
    let once = ascii(&json);
    // Llama prints what tools say as JSON of JSON.
    text.contains(&once) || text.contains(&ascii(&serde_json::to_string(&once).unwrap_or_default()))
}

/// Whether all texts of a value are printed; keys and numbers are not looked for.
fn prints_value(text: &str, value: &Value) -> bool {
    match value {
        Value::Str(part) => prints(text, part),
        Value::List(items) => items.iter().all(|item| prints_value(text, item)),
        Value::Dict(entries) => entries.iter().all(|(_, value)| prints_value(text, value)),
        Value::None | Value::Bool(_) | Value::Int(_) | Value::Float(_) => true,
    }
}

/// What of a function must be in a text: its name, and in calls the arguments.
fn prints_function(text: &str, tool: &Value, key: &str) -> bool {
    let function = tool.get("function").unwrap_or(tool);
    let part = |key: &str| function.get(key).is_none_or(|value| prints_value(text, value));
    part("name") && part(key)
}

/// Whether a message is in the text, or in its part of it.
///
/// # Errors
/// [`RowFault::Vanishes`].
fn check_turn(message: usize, turn: &Turn, text: &str) -> Result<(), RowFault> {
    let missing = |part| Err(RowFault::Vanishes { part, message });
    if !prints_content(text, &turn.content) {
        return missing("the content");
    }
    if turn.reasoning.as_ref().is_some_and(|thought| !prints(text, thought)) {
        return missing("the reasoning");
    }
    if !turn.tool_calls.iter().all(|call| prints_function(text, call, "arguments")) {
        return missing("a tool call");
    }
    Ok(())
}

/// Templates may set thoughts that stand in the content apart.
fn prints_content(text: &str, content: &str) -> bool {
    const END: &str = "</think>";
    if prints(text, content) {
        return true;
    }
    let Some((thought, answer)) = content.split_once(END) else { return false };
    let thought = thought.trim_start().strip_prefix("<think>").unwrap_or(thought);
    prints(text, thought) && prints(text, answer)
}

/// Whether the text has the tools, what everybody else says, and in the ranges of the answers these. `answers` are places
/// of messages and bytes of the text.
///
/// # Errors
/// What of the conversation the model would not see.
pub(super) fn check(
    conversation: &Conversation,
    text: &str,
    answers: &[(usize, Range<usize>)],
) -> Result<(), RowFault> {
    if !conversation.tools.iter().all(|tool| prints_function(text, tool, "description")) {
        return Err(RowFault::ToolsVanish);
    }
    for (place, turn) in conversation.turns.iter().enumerate() {
        match answers.iter().find(|(answer, _)| *answer == place) {
            Some((_, bytes)) => check_turn(place + 1, turn, &text[bytes.clone()])?,
            // What was answered before may be cut, as it is when the model is asked.
            None if turn.role == Role::Assistant => {}
            None => check_turn(place + 1, turn, text)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_may_be_printed_as_json() {
        let printed = |text: &str| prints(text, "{\"high\": \"14:20\"} ");
        assert!(printed("tool: {\"high\": \"14:20\"}\n"));
        assert!(printed(r#""{\"high\": \"14:20\"}""#));
        assert!(printed(r#""\"{\\\"high\\\": \\\"14:20\\\"}\"""#));
        assert!(!printed("tool: 14:20"));
        assert!(prints_content("<think>\na\n</think>\nb", "<think>a</think> b"));
        assert!(!prints_content("b", "<think>a</think> b"));
    }
}
