//! The files that go along when a model's weights are written anew: copies, but for what would not be true of the new
//! folder.

use super::folder::CHAT_TEMPLATE;
use super::stated::KEYS as STATED;
use super::stored_file::read_json;
use super::{ModelError, ModelFolder};
use jsonc_parser::ParseOptions;
use jsonc_parser::cst::{CstInputValue, CstObject, CstObjectProp, CstRootNode};
use olive_core::{Result, error::IoContext, file};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

/// Says that the head is the embedding matrix.
const TIED: &str = "tie_word_embeddings";

/// Names the classes of a model that comes with code, and the Python files that they are in.
pub const CODE: &str = "auto_map";

/// Files that may name classes of code.
const WITH_CODE: [&str; 2] = ["config.json", "tokenizer_config.json"];

impl ModelFolder {
    /// Copies the [`ModelFolder::SIDE_FILES`] into another folder, and the Python files that they name. Code that is not here,
    /// as of a model of the hub, of which none is fetched, or that stays behind, is no longer named there: transformers has
    /// its own for every family. None of it is ever run.
    ///
    /// # Errors
    /// A file cannot be read or the copy not written.
    pub fn copy_side_files(&self, to: &Path) -> Result<()> {
        for name in ModelFolder::SIDE_FILES {
            self.copy_side_file(name, to)?;
        }
        self.copy_code(to)
    }

    /// Copies one of the [`ModelFolder::SIDE_FILES`], if it is there. The content only: a copy of a read-only file can be
    /// replaced.
    ///
    /// # Errors
    /// The file cannot be read or the copy not written.
    pub fn copy_side_file(&self, name: &str, to: &Path) -> Result<()> {
        let target = to.join(name);
        if name == CHAT_TEMPLATE && self.is_overridden()? {
            // The files of a tokenizer and of a template may come from two folders.
            let template = self.chat_template()?;
            return template.map_or(Ok(()), |(_, text)| std::fs::write(&target, text).at("write", &target));
        }
        let Some(from) = self.side_file(name) else { return Ok(()) };
        let mut content = file::read(&from).at("read", &from)?;
        if name == "config.json" && self.contradicts_tie()? {
            content = edited(&from, &content, |config| {
                let untied = CstInputValue::Bool(false);
                match config.get(TIED) {
                    Some(flag) => flag.set_value(untied),
                    None => drop(config.append(TIED, untied)),
                }
            })?;
        }
        // Whoever writes codes says so anew.
        if name == "config.json" && STATED.iter().any(|key| self.config[*key].is_object()) {
            content = edited(&from, &content, |config| {
                STATED.iter().filter_map(|key| config.get(key)).for_each(CstObjectProp::remove);
            })?;
        }
        if let Some(config) = self.naming_code(name)?
            && self.lacks_code(&config)?
        {
            content = edited(&from, &content, |config| {
                config.get(CODE).into_iter().for_each(CstObjectProp::remove)
            })?;
        }
        std::fs::write(&target, content).at("write", &target)
    }

    /// Copies the Python files that the model's configurations name, where they are all there.
    ///
    /// # Errors
    /// A file cannot be read or the copy not written.
    pub fn copy_code(&self, to: &Path) -> Result<()> {
        for config in WITH_CODE {
            let Some(config) = self.naming_code(config)? else { continue };
            for name in self.code(&config)?.into_iter().flatten() {
                let (from, target) = (self.dir.join(&name), to.join(&name));
                let content = file::read(&from).at("read", &from)?;
                std::fs::write(&target, content).at("write", &target)?;
            }
        }
        Ok(())
    }

    /// The configuration of that name, if it names code.
    fn naming_code(&self, name: &str) -> Result<Option<Value>> {
        let Some(path) = self.side_file(name).filter(|_| WITH_CODE.contains(&name)) else {
            return Ok(None);
        };
        let text = file::read(&path).at("read", &path)?;
        if !String::from_utf8_lossy(&text).contains(CODE) {
            return Ok(None);
        }
        read_json(&path)
    }

    /// Whether a configuration of this folder names code that does not go along.
    ///
    /// # Errors
    /// A Python file cannot be read.
    pub fn lacks_code(&self, config: &Value) -> Result<bool> {
        Ok(self.code(config)?.is_none())
    }

    /// The Python files that a configuration names, and those that they import; `None` if one of them is not there, or
    /// stays behind.
    fn code(&self, config: &Value) -> Result<Option<BTreeSet<String>>> {
        let mut found = BTreeSet::new();
        let mut modules = modules(&config[CODE]);
        while let Some(module) = modules.pop() {
            let name = format!("{module}.py");
            if found.contains(&name) {
                continue;
            }
            let path = self.dir.join(&name);
            if !ModelFolder::is_side_file(&name) || !path.is_file() {
                return Ok(None);
            }
            let text = file::read(&path).at("read", &path)?;
            modules.extend(imports(&String::from_utf8_lossy(&text)));
            found.insert(name);
        }
        Ok(Some(found))
    }
}

/// The modules of this folder that `auto_map` names: its values, or lists of them with nulls, are `module.Class`, or
/// `repository--module.Class` for one that lies elsewhere.
fn modules(auto_map: &Value) -> Vec<String> {
    let classes = auto_map.as_object().into_iter().flat_map(|map| map.values());
    let classes =
        classes.flat_map(|value| value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice));
    let here = classes.filter_map(Value::as_str).filter(|class| !class.contains("--"));
    here.map(|class| class.rsplit_once('.').map_or(class, |(module, _)| module).to_owned()).collect()
}

/// The modules beside it that Python code imports, as transformers looks for them.
fn imports(code: &str) -> Vec<String> {
    let names = |line: &str| {
        let mut words = line.split_whitespace();
        let (verb, module) = (words.next()?, words.next()?);
        let relative = module.strip_prefix('.').filter(|name| !name.is_empty())?;
        matches!(verb, "from" | "import").then(|| relative.to_owned())
    };
    code.lines().filter_map(names).collect()
}

/// A JSON object with some of its keys changed, and all else as it is written.
fn edited(path: &Path, content: &[u8], edit: impl FnOnce(&CstObject)) -> Result<Vec<u8>> {
    let damaged = |reason: String| ModelError::Damaged { path: path.to_owned(), reason };
    let text = std::str::from_utf8(content).map_err(|e| damaged(e.to_string()))?;
    let root = CstRootNode::parse(text, &ParseOptions::default()).map_err(|e| damaged(e.to_string()))?;
    let object = root.object_value().ok_or_else(|| damaged("it is not an object".into()))?;
    edit(&object);
    Ok(root.to_string().into_bytes())
}
