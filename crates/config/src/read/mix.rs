//! `mix`: data configs that are trained on together.

use super::data::{Components, DataConfigs, RowUse};
use super::resource::Consumer;
use crate::data::MixedData;
use crate::findings::Findings;
use crate::node::{Node, NodeValue};
use crate::place::join;

const KEYS: [&str; 2] = ["data_config", "weight"];

impl Components<'_> {
    /// The data configs that are mixed into this one.
    pub(super) fn mixed(
        &self,
        all: &DataConfigs<'_>,
        consumer: Consumer<'_>,
        findings: &mut Findings,
    ) -> Option<Vec<MixedData>> {
        let Some(found) = self.top.found("mix") else { return Some(Vec::new()) };
        let NodeValue::List(items) = &found.node.value else {
            let message =
                format!("expected a list of data configs with weights, found {}", found.node.describe());
            findings.error(found.node.at, &found.path, message, None);
            return None;
        };
        let part = |(index, item)| {
            let path = format!("{}[{index}]", found.path);
            mixed_data(item, &path, all, consumer, findings)
        };
        items.iter().enumerate().map(part).collect()
    }
}

/// One of them.
fn mixed_data(
    node: &Node,
    path: &str,
    all: &DataConfigs<'_>,
    consumer: Consumer<'_>,
    findings: &mut Findings,
) -> Option<MixedData> {
    for entry in node.as_object().unwrap_or_default() {
        if !KEYS.contains(&entry.key.as_str()) {
            let hint = "the keys are `data_config` and `weight`".to_owned();
            let message = format!("there is no option `{}`", entry.key);
            findings.error(entry.node.at, join(path, &entry.key), message, Some(hint));
            return None;
        }
    }
    let Some(named) = node.get("data_config") else {
        let message = format!("expected an object with `data_config`, found {}", node.describe());
        findings.error(node.at, path, message, None);
        return None;
    };
    let weight = match node.get("weight") {
        None => 1.0,
        Some(given) => {
            let weight = given.to_json().as_f64().filter(|weight| *weight > 0.0 && weight.is_finite());
            weight.or_else(|| {
                let message = format!("expected a number above 0, found {}", given.describe());
                let hint = "a weight says how often every sample is taken: 0.5 is half of them".to_owned();
                findings.error(given.at, join(path, "weight"), message, Some(hint));
                None
            })?
        }
    };
    let path = join(path, "data_config");
    all.read_at(named, &path, "data_config", findings, |shape, findings| {
        if let Some(inner) = shape.top.found("mix") {
            let message = "what is mixed in cannot be a mix itself";
            findings.error(inner.at, &inner.path, message, None);
            return None;
        }
        let (config, _) = shape.resolve(all, RowUse::Text, consumer, findings)?;
        Some(MixedData { config, weight })
    })
}
