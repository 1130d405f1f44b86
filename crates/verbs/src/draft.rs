//! What a verb makes of its options.

use serde_json::Value;

/// A configuration, and what there is to say about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// In Olive's grammar, for Olive.
    pub config: Value,
    /// The same for a run here, which may do without passes of Olive's: they would do nothing, or others do their work.
    pub effective: Value,
    /// Where it is not what Olive would write, or not all of what was asked for. One line each.
    pub notices: Vec<String>,
}

impl Draft {
    pub(crate) fn new(config: Value, notices: Vec<String>) -> Draft {
        Draft { effective: config.clone(), config, notices }
    }
}
