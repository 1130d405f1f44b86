//! Options that transformers also takes as the text of a JSON object, as command lines give them.

use crate::json;
use crate::node::{Node, NodeValue};
use crate::place::At;

/// Those of transformers' options whose objects are read here.
const NAMES: [&str; 1] = ["lr_scheduler_kwargs"];

/// Puts the objects in place of their texts. What is no JSON stays a text, which the option's reader refuses.
pub(crate) fn unfold(node: &mut Node) {
    match &mut node.value {
        NodeValue::List(items) => items.iter_mut().for_each(unfold),
        NodeValue::Object(entries) => {
            for entry in entries {
                let object = match entry.node.as_text() {
                    Some(text) if NAMES.contains(&entry.key.as_str()) => json::parse_value(text),
                    _ => None,
                };
                match object.filter(|object| object.as_object().is_some()) {
                    Some(object) => entry.node = placed(object, entry.node.at),
                    None => unfold(&mut entry.node),
                }
            }
        }
        _ => {}
    }
}

/// The same at the place of the text.
fn placed(mut node: Node, at: At) -> Node {
    node.at = at;
    if let NodeValue::Object(entries) = &mut node.value {
        for entry in entries {
            entry.at = at;
            entry.node.at = at;
        }
    }
    node
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_text_of_an_object_is_the_object_where_transformers_takes_it() {
        let mut node = Node::from_json(&json!({
            "training_args": {"lr_scheduler_kwargs": "{\"num_cycles\": 2}", "run_name": "{}"},
            "others": [{"lr_scheduler_kwargs": "2"}],
        }));
        unfold(&mut node);
        let expected = json!({
            "training_args": {"lr_scheduler_kwargs": {"num_cycles": 2}, "run_name": "{}"},
            "others": [{"lr_scheduler_kwargs": "2"}],
        });
        assert_eq!(node.to_json(), expected);
    }
}
