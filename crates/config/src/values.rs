//! The options of a block once every one has a value.

use crate::findings::Findings;
use crate::option::Opt;
use crate::origin::{Origin, ResolvedOption};
use crate::place::At;
use serde_json::Value as Json;
use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One option with its value.
#[derive(Debug, Clone)]
pub struct Setting {
    pub json: Json,
    pub origin: Origin,
    /// The key in the file, or else the block.
    pub at: At,
    pub path: String,
    /// The file or the command line gives it.
    pub given: bool,
    /// What the value refers to or what it holds, once that is read.
    pub object: Option<Arc<dyn Any + Send + Sync>>,
}

impl Setting {
    /// The object of this type.
    pub fn object<T: Any + Clone>(&self) -> Option<T> {
        self.object.as_ref()?.downcast_ref().cloned()
    }
}

/// All options of a block with their values.
#[derive(Default)]
pub struct Values {
    map: BTreeMap<&'static str, Setting>,
    order: Vec<&'static str>,
}

impl Values {
    /// `shown`: the plan shows it, in the order of the insertions.
    pub fn insert(&mut self, name: &'static str, setting: Setting, shown: bool) {
        if shown {
            self.order.push(name);
        }
        self.map.insert(name, setting);
    }

    /// # Panics
    /// The block has no such option.
    pub fn get(&self, name: &str) -> &Setting {
        self.map.get(name).unwrap_or_else(|| panic!("no option `{name}` in the table"))
    }

    /// Replaces what is shown and used, keeping the origin.
    pub fn set(&mut self, name: &str, json: Json) {
        if let Some(setting) = self.map.get_mut(name) {
            setting.json = json;
        }
    }

    /// Gives an option the object that it refers to or holds.
    pub fn attach(&mut self, name: &str, object: impl Any + Send + Sync) {
        if let Some(setting) = self.map.get_mut(name) {
            setting.object = Some(Arc::new(object));
        }
    }

    /// Takes a setting from another block, where it overrides this one's.
    pub fn override_with(&mut self, name: &str, setting: &Setting) {
        if let Some(own) = self.map.get_mut(name) {
            *own = setting.clone();
        }
    }

    pub fn given(&self, name: &str) -> bool {
        self.get(name).given
    }

    pub fn bool(&self, name: &str) -> bool {
        self.get(name).json.as_bool().unwrap_or(false)
    }

    pub fn f64(&self, name: &str) -> f64 {
        self.get(name).json.as_f64().unwrap_or(0.0)
    }

    /// Zero and less are `None`, as -1 in transformers.
    pub fn positive(&self, name: &str) -> Option<usize> {
        self.get(name).json.as_u64().filter(|value| *value > 0).and_then(|value| value.try_into().ok())
    }

    pub fn usize(&self, name: &str) -> usize {
        self.get(name).json.as_u64().and_then(|value| value.try_into().ok()).unwrap_or(0)
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).json.as_str()
    }

    pub fn texts(&self, name: &str) -> Option<Vec<String>> {
        let items = self.get(name).json.as_array()?;
        Some(items.iter().filter_map(Json::as_str).map(str::to_owned).collect())
    }

    /// A choice as the enum that serialises to the same word.
    pub fn choice<T: serde::de::DeserializeOwned>(&self, name: &str) -> Option<T> {
        serde_json::from_value(self.get(name).json.clone()).ok()
    }

    /// For the plan: the options in the wrapper that are honoured, in the order of the tables.
    pub fn resolved(&self, prefix: &str) -> Vec<ResolvedOption> {
        let options = self.order.iter().map(|name| {
            let setting = self.get(name);
            ResolvedOption {
                name: format!("{prefix}{name}"),
                value: setting.json.clone(),
                origin: setting.origin,
            }
        });
        options.collect()
    }

    pub fn error(
        &self,
        name: &str,
        message: impl Into<String>,
        hint: Option<String>,
        findings: &mut Findings,
    ) {
        let setting = self.get(name);
        findings.error(setting.at, &setting.path, message, hint);
    }

    pub fn refuse(&self, name: &str, message: impl Into<String>, hint: String, findings: &mut Findings) {
        let setting = self.get(name);
        findings.refuse(setting.at, &setting.path, message, Some(hint));
    }

    /// Leaves a default out of the plan, where it has no meaning.
    pub fn hide(&mut self, names: &[&str]) {
        let map = &self.map;
        self.order.retain(|name| map[name].given || !names.contains(name));
    }

    pub fn warn(&self, name: &str, message: impl Into<String>, findings: &mut Findings) {
        let setting = self.get(name);
        findings.warn(setting.at, &setting.path, message);
    }

    /// Says of those of the options that are given that they are options of something else.
    pub fn warn_given(&self, options: &[Opt], owner: &str, findings: &mut Findings) {
        for opt in options.iter().filter(|opt| self.given(opt.name)) {
            let message = format!("`{}` is not used: it is an option of {owner}", opt.name);
            self.warn(opt.name, message, findings);
        }
    }
}
