//! An object of the file against the table of its block: spellings, nesting, unknown keys, defaults.

use crate::error::MOST;
use crate::findings::Findings;
use crate::names::{list_names, nearest};
use crate::node::{Node, NodeEntry, NodeValue};
use crate::option::{Block, DefaultValue, Fate, Kind, MisfitPlace, Opt};
use crate::origin::{Era, Origin};
use crate::place::{At, join};
use crate::values::{Setting, Values};
use olive_core::secrets::is_secret;
use serde_json::Value as Json;

/// An option that the file gives.
#[derive(Clone)]
pub struct GivenOption<'n> {
    pub opt: &'static Opt,
    /// As spelled in the file.
    key: &'n str,
    /// Place of the key.
    pub at: At,
    pub path: String,
    pub node: &'n Node,
}

/// A key that an open block does not know.
pub struct UnknownKey<'n> {
    pub key: &'n str,
    pub at: At,
    pub path: String,
}

/// The options that an object gives, whatever their spelling and nesting.
pub struct Fields<'n> {
    pub block: &'static Block,
    pub path: String,
    pub at: At,
    found: Vec<GivenOption<'n>>,
    pub extra: Vec<UnknownKey<'n>>,
    /// Options whose misspelling was reported: that they are missing is no error of its own.
    slips: Vec<&'static str>,
    /// The object that holds the options may be misspelled, so nothing can be said to be missing.
    pub blind: bool,
    old: bool,
    new: bool,
}

impl<'n> Fields<'n> {
    pub fn empty(path: &str, at: At, block: &'static Block) -> Fields<'n> {
        Fields {
            block,
            path: path.to_owned(),
            at,
            found: Vec::new(),
            extra: Vec::new(),
            slips: Vec::new(),
            blind: false,
            old: false,
            new: false,
        }
    }

    /// Reads one object. What is not an object gives an error and no options.
    pub fn open(node: &'n Node, path: &str, block: &'static Block, findings: &mut Findings) -> Fields<'n> {
        let mut fields = Fields::empty(path, node.at, block);
        match &node.value {
            NodeValue::Object(entries) => fields.absorb(entries, path, false, findings),
            NodeValue::Null => {}
            _ => {
                findings.error(node.at, path, format!("expected an object, found {}", node.describe()), None)
            }
        }
        fields
    }

    /// Adds the entries of an object, for blocks that are spread over several.
    pub fn absorb(&mut self, entries: &'n [NodeEntry], path: &str, inside: bool, findings: &mut Findings) {
        for entry in entries {
            let path = join(path, &entry.key);
            if entry.key.starts_with("x-") {
                continue;
            }
            if !inside && self.block.wrapper == Some(&entry.key) {
                match &entry.node.value {
                    NodeValue::Object(inner) => self.absorb(inner, &path, true, findings),
                    NodeValue::Null => {}
                    _ => {
                        let message = format!("expected an object, found {}", entry.node.describe());
                        findings.error(entry.node.at, path, message, None);
                    }
                }
                continue;
            }
            self.absorb_entry(entry, path, inside, findings);
        }
    }

    fn absorb_entry(&mut self, entry: &'n NodeEntry, path: String, inside: bool, findings: &mut Findings) {
        let spelled = |opt: &&'static Opt| opt.spellings().any(|(name, _)| name == entry.key);
        let known =
            if inside { self.block.inner().find(spelled) } else { self.block.options().find(spelled) };
        match known {
            Some(opt) => self
                .add(GivenOption { opt, key: &entry.key, at: entry.at, path, node: &entry.node }, findings),
            None if inside && self.block.outer.iter().any(|opt| spelled(&opt)) => {
                let wrapper = self.block.wrapper.unwrap_or_default();
                let message = format!("`{}` stands beside `{wrapper}`, not in it", entry.key);
                findings.error(entry.at, path, message, None);
            }
            None => self.unknown(entry, path, findings),
        }
    }

    fn unknown(&mut self, entry: &'n NodeEntry, path: String, findings: &mut Findings) {
        if findings.is_full() || self.extra.len() >= MOST {
            return;
        }
        let names: Vec<&'static str> =
            self.block.options().flat_map(|opt| opt.spellings().map(|(name, _)| name)).collect();
        let meant = nearest(&entry.key, names.iter().copied().chain(self.block.wrapper));
        self.blind |= meant.is_some() && meant == self.block.wrapper;
        // In an open block every key is possible, so only what looks like a slip of the pen is an error.
        let slip = meant.filter(|name| strsim::damerau_levenshtein(name, &entry.key) <= 2 && name.len() > 4);
        if self.block.open.is_some() && slip.is_none() {
            self.extra.push(UnknownKey { key: &entry.key, at: entry.at, path });
            return;
        }
        let home = findings.blocks.iter().find(|block| {
            block
                .inner()
                .any(|opt| opt.fate == Fate::Honoured && opt.spellings().any(|(name, _)| name == entry.key))
        });
        let hint = match (meant, home) {
            (_, Some(home)) => Some(format!("`{}` is an option of {}", entry.key, home.name)),
            (Some(name), _) => Some(format!("did you mean `{name}`?")),
            _ if names.is_empty() => Some(format!("{} has no options", self.block.name)),
            _ if names.len() <= 12 => Some(format!("it has {}", list_names(names))),
            _ => None,
        };
        let slip = self.block.options().find(|opt| opt.spellings().any(|(name, _)| Some(name) == meant));
        self.slips.extend(slip.map(|opt| opt.name));
        let message = format!("{} has no option `{}`", self.block.name, entry.key);
        findings.error(entry.at, path, message, hint);
    }

    fn add(&mut self, found: GivenOption<'n>, findings: &mut Findings) {
        if found.at.is_some() {
            let vote = found.opt.spellings().find(|(name, _)| *name == found.key).and_then(|(_, vote)| vote);
            self.old |= vote == Some(Era::Old);
            self.new |= vote == Some(Era::New);
        }
        if found.node.is_null() && found.at.is_some() {
            return;
        }
        let Some(earlier) = self.found.iter_mut().find(|earlier| earlier.opt.name == found.opt.name) else {
            self.found.push(found);
            return;
        };
        if found.at.is_none() {
            *earlier = found;
        } else if earlier.at.is_some() && earlier.node.to_json() != found.node.to_json() {
            let line = earlier.at.map_or(0, |(line, _)| line);
            let message = if earlier.key == found.key {
                format!("`{}` is already given on line {line}, with another value", found.key)
            } else {
                format!(
                    "`{}` is the same option as `{}` on line {line}, which has another value",
                    found.key, earlier.key
                )
            };
            findings.error(found.at, found.path, message, Some("keep one of them".into()));
        }
    }

    pub fn found(&self, name: &str) -> Option<&GivenOption<'n>> {
        self.found.iter().find(|found| found.opt.name == name && !found.node.is_null())
    }

    /// The option is neither given nor misspelled.
    pub fn lacks(&self, name: &str) -> bool {
        self.found(name).is_none() && !self.slips.contains(&name) && !self.blind
    }

    /// A misspelling of the option was reported.
    pub fn misspells(&self, name: &str) -> bool {
        self.slips.contains(&name)
    }

    pub fn node(&self, name: &str) -> Option<&'n Node> {
        self.found(name).map(|found| found.node)
    }

    /// The era that the spellings of this block tell, if they do.
    pub fn era(&self) -> Option<Era> {
        match (self.old, self.new) {
            (true, _) => Some(Era::Old),
            (false, true) => Some(Era::New),
            (false, false) => None,
        }
    }

    /// Checks every value and fills in the defaults of `era`.
    ///
    /// A value that does not fit gives an error, and then its default stands in for it, so that reading goes on.
    pub fn resolve(&self, era: Era, findings: &mut Findings) -> Values {
        let mut values = Values::default();
        for opt in self.block.options() {
            let found = self.found(opt.name);
            let searched = self.block.outer.iter().any(|opt| opt.name == "disable_search");
            let checked = found.map_or(Checked::Default, |found| checked(found, searched, findings));
            let setting = match (found, checked) {
                (Some(found), Checked::Value(json)) => {
                    let origin = found.at.map_or(Origin::CommandLine, |(line, _)| Origin::File { line });
                    Setting {
                        json,
                        origin,
                        at: found.at,
                        path: found.path.clone(),
                        given: true,
                        object: None,
                    }
                }
                (_, checked) => {
                    let json = match opt.default_in(era) {
                        DefaultValue::Json(text) => serde_json::from_str(text).expect("tables hold JSON"),
                        DefaultValue::Null => Json::Null,
                        DefaultValue::Required => {
                            if checked == Checked::Default {
                                self.missing(opt, era, findings);
                            }
                            Json::Null
                        }
                    };
                    let path = join(&self.path, opt.name);
                    Setting {
                        json,
                        origin: Origin::Default(era),
                        at: self.at,
                        path,
                        given: false,
                        object: None,
                    }
                }
            };
            let outer = self.block.outer.iter().any(|outer| outer.name == opt.name);
            if let (Kind::Block(block), Fate::Quiet, Some(found)) = (opt.kind, opt.fate, found) {
                // Nobody else looks into it.
                Fields::open(found.node, &found.path, block, findings).resolve(era, findings);
            }
            values.insert(opt.name, setting, opt.fate == Fate::Honoured && !outer);
        }
        if let Some(why) = self.block.open {
            for extra in &self.extra {
                findings.warn(extra.at, &extra.path, format!("`{}` is not used: {why}", extra.key));
            }
        }
        values
    }

    fn missing(&self, opt: &Opt, era: Era, findings: &mut Findings) {
        if self.blind || self.slips.contains(&opt.name) {
            return;
        }
        let name = opt.old_names.first().filter(|_| era == Era::Old).unwrap_or(&opt.name);
        let message = format!("{} needs `{name}`", self.block.name);
        findings.omission(self.at, &self.path, message, format!("`{name}`: {}", lower(opt.doc)));
    }
}

fn lower(sentence: &str) -> String {
    let mut letters = sentence.trim_end_matches('.').chars();
    letters.next().map_or(String::new(), |first| first.to_lowercase().chain(letters).collect())
}

#[derive(PartialEq)]
enum Checked {
    Value(Json),
    /// The default is asked for, by name or by leaving the option out.
    Default,
    /// It does not fit, and that was said.
    Wrong,
}

/// `searched`: the block is a pass, where two words stand for defaults.
fn checked(found: &GivenOption<'_>, searched: bool, findings: &mut Findings) -> Checked {
    match found.node.as_text() {
        Some("DEFAULT_VALUE") if searched => return Checked::Default,
        Some("SEARCHABLE_VALUES") if searched => {
            findings.warn(found.at, &found.path, "nothing is searched: the default value is used");
            return Checked::Default;
        }
        _ => {}
    }
    let json = match found.opt.kind.read(found.node) {
        Ok(json) => json,
        Err(misfit) => {
            // A secret may be shorter than what is hidden everywhere: the message is that of another text.
            let hidden = is_secret(found.key).then(|| found.opt.kind.read(&Node::hidden()).err()).flatten();
            let misfit = hidden.unwrap_or(misfit);
            let at = match misfit.place {
                MisfitPlace::Key => found.at,
                MisfitPlace::Value => found.node.at,
            };
            findings.error(at, &found.path, misfit.message, misfit.hint);
            return Checked::Wrong;
        }
    };
    let is = |neutral: &str| serde_json::from_str::<Json>(neutral).is_ok_and(|neutral| same(&neutral, &json));
    match found.opt.fate {
        Fate::Honoured | Fate::Quiet => {}
        Fate::Ignored { neutral, why } => {
            if !neutral.is_some_and(is) {
                findings.warn(found.at, &found.path, format!("`{}` is not used: {why}", found.key));
            }
        }
        Fate::Refused { neutral, why } => {
            if !is(neutral) {
                findings.refuse(
                    found.at,
                    &found.path,
                    format!("`{}` is not supported: {why}", found.key),
                    None,
                );
            }
        }
    }
    Checked::Value(json)
}

/// Equal, or numbers of equal size.
fn same(a: &Json, b: &Json) -> bool {
    a == b || a.as_f64().zip(b.as_f64()).is_some_and(|(a, b)| a == b)
}
