//! From a file to a [`RunConfig`].

use crate::data::DataPlaces;
use crate::error::ConfigError;
use crate::findings::Findings;
use crate::node::Node;
use crate::read::registry::{ConfiguredPass, Registry};
use crate::run_config::RunConfig;
use crate::search::{PassChoice, Search};
use crate::{json, json_texts, overrides, read, yaml};
use olive_core::error::IoContext;
use std::path::Path;

/// What the command line says about a configuration.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// `--set`: values of the form `path.to.key=value`, applied in order.
    pub set: Vec<String>,
    /// `--local`: every pass runs on this machine, whatever `host` and `target` say.
    pub local: bool,
    /// Data configs whose rows lie elsewhere than the file says.
    pub places: DataPlaces,
}

impl<P: ConfiguredPass + ?Sized> RunConfig<P> {
    /// Reads a configuration, applies the overrides, and checks everything that can be checked without the model and
    /// the data.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with all that is wrong in the file, in its order; or the file cannot be read.
    pub fn load(
        path: &Path,
        options: &LoadOptions,
        registry: &Registry<P>,
    ) -> olive_core::Result<RunConfig<P>> {
        let extension =
            path.extension().and_then(|extension| extension.to_str()).unwrap_or_default().to_lowercase();
        let parse = match extension.as_str() {
            "json" => json::parse,
            "yaml" | "yml" => yaml::parse,
            _ if path.exists() => return Err(ConfigError::UnknownFileType { path: path.to_owned() }.into()),
            _ => return Err(ConfigError::NotFound { path: path.to_owned() }.into()),
        };
        let bytes = match std::fs::read(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(ConfigError::NotFound { path: path.to_owned() }.into());
            }
            bytes => bytes.at("read", path)?,
        };
        let root = |findings: &mut Findings| parse(text(&bytes, findings)?, findings);
        RunConfig::of_tree(root, path, options, registry)
    }

    /// Makes a configuration of values, for example one of many that a search tries, and checks it as [`RunConfig::load`]
    /// does a file. `name` stands for the file in messages; their lines are those of the value as it is printed with
    /// `{:#}`.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with all that is wrong.
    pub fn from_value(
        value: &serde_json::Value,
        name: &Path,
        options: &LoadOptions,
        registry: &Registry<P>,
    ) -> olive_core::Result<RunConfig<P>> {
        // Through its text, values are given as a file gives them: their spellings tell the era of a block, and every
        // message has a place.
        let text = format!("{value:#}");
        RunConfig::of_tree(|findings| json::parse(&text, findings), name, options, registry)
    }

    /// The configuration of a point of the search: `choices` for some of its passes, the first values for the others.
    ///
    /// # Errors
    /// As [`RunConfig::from_value`]: values that do not go together.
    pub fn at_point(
        &self,
        search: &Search,
        choices: &[PassChoice],
        registry: &Registry<P>,
    ) -> olive_core::Result<RunConfig<P>> {
        let options = LoadOptions { local: self.local, ..LoadOptions::default() };
        RunConfig::from_value(&search.document(&self.document, choices), &self.path, &options, registry)
    }

    fn of_tree(
        root: impl FnOnce(&mut Findings) -> Option<Node>,
        path: &Path,
        options: &LoadOptions,
        registry: &Registry<P>,
    ) -> olive_core::Result<RunConfig<P>> {
        let mut findings = Findings::new(registry.all_blocks().into());
        let mut config = None;
        if let Some(mut root) = root(&mut findings) {
            root.keep_secrets();
            for argument in &options.set {
                overrides::apply(&mut root, argument)?;
            }
            let document = root.to_json();
            json_texts::unfold(&mut root);
            let sets = read::take_sets(&mut root, registry, &mut findings);
            let source = read::Source { root: &root, file: path, document, sets };
            config = read::read(source, options.local, &options.places, registry, &mut findings);
        }
        let warnings = findings.finish(path)?;
        let mut config = config.expect("a configuration without errors was read");
        config.warnings = warnings;
        Ok(config)
    }
}

/// UTF-8 without a byte order mark.
fn text<'b>(bytes: &'b [u8], findings: &mut Findings) -> Option<&'b str> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        let hint = "save it as UTF-8; PowerShell's `>` writes UTF-16";
        findings.error(Some((1, 1)), "", "the file is UTF-16", Some(hint.into()));
        return None;
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text.strip_prefix('\u{feff}').unwrap_or(text)),
        Err(error) => {
            let before = &bytes[..error.valid_up_to()];
            let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
            let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            let column = String::from_utf8_lossy(&before[start..]).chars().count() + 1;
            findings.error(Some((line, column)), "", "the file is not UTF-8", None);
            None
        }
    }
}
