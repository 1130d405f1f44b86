//! What a verb makes of its options.

use serde_json::Value;

/// A configuration, and what there is to say about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// In Olive's grammar.
    pub config: Value,
    /// Where it is not what Olive would write, or not all of what was asked for. One line each.
    pub notices: Vec<String>,
    /// Names of passes that do nothing to this input: a run leaves them out.
    pub idle: Vec<String>,
}

impl Draft {
    pub(crate) fn new(config: Value, notices: Vec<String>) -> Draft {
        Draft { config, notices, idle: Vec::new() }
    }

    /// The configuration without the passes that do nothing.
    pub fn effective(&self) -> Value {
        let mut config = self.config.clone();
        if let Some(passes) = config["passes"].as_object_mut() {
            passes.retain(|name, _| !self.idle.contains(name));
        }
        config
    }
}
