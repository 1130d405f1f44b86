//! Where the result goes, and how loud the log is: the same for every verb.

use serde_json::{Value, json};

/// Options of the output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputOptions {
    pub output_path: String,
    /// 0 debug to 4 critical.
    pub log_level: u8,
    /// Azure storage for a shared cache, which the configuration's reader says is not used.
    pub account_name: Option<String>,
    pub container_name: Option<String>,
}

impl OutputOptions {
    /// Adds what the options say to a configuration.
    pub(crate) fn write_to(&self, config: &mut Value) {
        config["output_dir"] = json!(self.output_path);
        config["log_severity_level"] = json!(self.log_level);
        let names = [("account_name", &self.account_name), ("container_name", &self.container_name)];
        for (key, name) in names.into_iter().filter_map(|(key, name)| Some((key, name.as_ref()?))) {
            config["cache_config"][key] = json!(name);
        }
    }
}
