//! `packaging_config`, of which there may be several.

use crate::fields::{Fields, GivenOption};
use crate::findings::Findings;
use crate::node::{Node, NodeValue};
use crate::origin::Era;
use crate::packaging::{PACKAGING, Packaging, PackagingOptions, PackagingType};

/// The archives that are to be made.
pub(super) fn read(found: Option<&GivenOption<'_>>, findings: &mut Findings) -> Vec<Packaging> {
    let Some(found) = found.filter(|found| !found.node.is_null()) else { return Vec::new() };
    let mut archives: Vec<Packaging> = Vec::new();
    let mut add = |node: &Node, path: &str, findings: &mut Findings| {
        let Some(archive) = archive(node, path, findings) else { return };
        if archives.contains(&archive) {
            let message = format!("there are two archives `{}`", archive.name);
            findings.error(node.at, path, message, Some("give each a `name` of its own".into()));
        }
        archives.push(archive);
    };
    match &found.node.value {
        NodeValue::List(items) => {
            for (index, item) in items.iter().enumerate() {
                add(item, &format!("{}[{index}]", found.path), findings);
            }
        }
        _ => add(found.node, &found.path, findings),
    }
    archives
}

/// `None`: it is wrong, or not made, and that was said.
fn archive(node: &Node, path: &str, findings: &mut Findings) -> Option<Packaging> {
    if node.as_object().is_none() {
        let message = format!("expected an object or a list of objects, found {}", node.describe());
        findings.error(node.at, path, message, Some("for example {\"type\": \"Zipfile\"}".into()));
        return None;
    }
    let fields = Fields::open(node, path, &PACKAGING, findings);
    let values = fields.resolve(Era::New, findings);
    let PackagingOptions { r#type, name } = PackagingOptions::read(&values)?;
    if r#type != PackagingType::Zipfile {
        let message = "only `Zipfile` is made; the result is a folder, ready to be copied";
        values.warn("type", message, findings);
        return None;
    }
    let is_name = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0']);
    if !is_name {
        let message = format!("`{name}` is no name for a file");
        values.error("name", message, Some("for example \"OutputModels\"".into()), findings);
        return None;
    }
    Some(Packaging { name })
}
