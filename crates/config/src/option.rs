//! How options are described. The tables made of these types are the one source of what the reader accepts, of the
//! defaults, of the JSON Schema and of `docs/CONFIG.md`.

use crate::node::Node;
use crate::origin::Era;
use serde_json::{Value as Json, json};

/// One option of a block.
#[derive(Debug, Clone, Copy)]
pub struct Opt {
    /// Today's spelling, which the canonical form and messages use.
    pub name: &'static str,
    /// The era that this spelling alone betrays, if any.
    pub vote: Option<Era>,
    /// Spellings of Olive up to 0.6, or another one that only old files have.
    pub old_names: &'static [&'static str],
    /// Other spellings that say nothing about the era.
    pub other_names: &'static [&'static str],
    pub kind: Kind,
    pub old_default: DefaultValue,
    pub new_default: DefaultValue,
    /// One sentence for the schema and the documentation.
    pub doc: &'static str,
    pub fate: Fate,
    /// Several values are worth a search.
    pub searchable: bool,
    /// The values that a search tries where a file says `SEARCHABLE_VALUES`: a list as JSON.
    pub search_values: Option<&'static str>,
}

/// What becomes of an option.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fate {
    Honoured,
    /// Accepted without a word: it changes nothing that this program does.
    Quiet,
    /// Accepted with a warning that says what happens instead, unless the value is null or this JSON.
    Ignored {
        neutral: Option<&'static str>,
        why: &'static str,
    },
    /// An error, unless the value is null or this JSON: ignoring it would change the result.
    Refused {
        neutral: &'static str,
        why: &'static str,
    },
}

/// The value of an option that the file leaves out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum DefaultValue {
    /// Null: absent.
    Null,
    /// This JSON.
    Json(&'static str),
    /// There is none; leaving the option out is an error.
    Required,
}

/// The form of a value.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    Bool,
    Int {
        min: i64,
        max: i64,
    },
    /// One of these numbers.
    IntChoice(&'static [i64]),
    Number(Bounds),
    Text,
    /// One of these words, in any case; `a|b` gives `b` as another word for `a`.
    Choice(&'static [&'static str]),
    /// A list of texts, or one text.
    Texts,
    /// An object of options.
    Block(&'static Block),
    /// A list of objects of options.
    Blocks(&'static Block),
    Special(&'static Special),
    Any,
}

/// An interval of floats.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub min: f64,
    pub min_included: bool,
    pub max: f64,
    pub max_included: bool,
}

/// A form of values that is none of the usual ones. It stands beside the type that the values become.
#[derive(Debug)]
pub struct Special {
    /// For the documentation: `a list or a text`.
    pub value: &'static str,
    /// For the JSON Schema. Null always stands for the default.
    pub schema: fn() -> Json,
    /// Says why a value does not fit.
    pub check: fn(&Node) -> Result<(), Misfit>,
}

impl Special {
    /// A form that is checked once the rest of the configuration is known.
    pub const fn unchecked(value: &'static str, schema: fn() -> Json) -> Special {
        Special { value, schema, check: |_| Ok(()) }
    }
}

/// Why a value does not fit its option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    pub message: String,
    pub hint: Option<String>,
    pub place: MisfitPlace,
}

/// What a message about a value points at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MisfitPlace {
    Key,
    Value,
}

/// An object of options.
#[derive(Debug)]
pub struct Block {
    /// For messages and as the schema's definition name: `LoRA`, `data config`.
    pub name: &'static str,
    pub doc: &'static str,
    /// The object in which the 2024 grammar nests the options: `config`, `params`.
    pub wrapper: Option<&'static str>,
    /// Options that always stand beside the wrapper.
    pub outer: &'static [Opt],
    /// Options that may stand in the wrapper or beside it.
    pub parts: &'static [&'static [Opt]],
    /// Other keys are accepted, and this is what happens to them.
    pub open: Option<&'static str>,
}

impl Block {
    /// All options in the order of the tables.
    pub fn options(&self) -> impl Iterator<Item = &'static Opt> + use<> {
        self.outer.iter().chain(self.inner())
    }

    /// Those of which several values are worth a search.
    pub fn searchable(&self) -> impl Iterator<Item = &'static Opt> + use<> {
        self.options().filter(|opt| opt.searchable)
    }

    /// Those that may stand in the wrapper.
    pub fn inner(&self) -> impl Iterator<Item = &'static Opt> + use<> {
        self.parts.iter().flat_map(|part| part.iter())
    }
}

impl Opt {
    pub const fn new(name: &'static str, kind: Kind, doc: &'static str) -> Opt {
        Opt {
            name,
            vote: None,
            old_names: &[],
            other_names: &[],
            kind,
            old_default: DefaultValue::Null,
            new_default: DefaultValue::Null,
            doc,
            fate: Fate::Honoured,
            searchable: false,
            search_values: None,
        }
    }

    pub const fn searchable(mut self) -> Opt {
        self.searchable = true;
        self
    }

    /// Olive's own values for a search.
    pub const fn tries(mut self, json: &'static str) -> Opt {
        self.search_values = Some(json);
        self
    }

    /// The spelling (or the option) exists only in this era.
    pub const fn only(mut self, era: Era) -> Opt {
        self.vote = Some(era);
        self
    }

    /// The option's name before it got today's, which therefore is a sign of a new file.
    pub const fn was(mut self, old_names: &'static [&'static str]) -> Opt {
        self.old_names = old_names;
        self.vote = Some(Era::New);
        self
    }

    /// Today's name says nothing of the era, as messages and documentation recommend it to everybody.
    pub const fn any_era(mut self) -> Opt {
        self.vote = None;
        self
    }

    /// Other spellings.
    pub const fn also(mut self, names: &'static [&'static str]) -> Opt {
        self.other_names = names;
        self
    }

    pub const fn default(mut self, json: &'static str) -> Opt {
        self.old_default = DefaultValue::Json(json);
        self.new_default = DefaultValue::Json(json);
        self
    }

    pub const fn defaults(mut self, old: DefaultValue, new: DefaultValue) -> Opt {
        self.old_default = old;
        self.new_default = new;
        self
    }

    pub const fn required(mut self) -> Opt {
        self.old_default = DefaultValue::Required;
        self.new_default = DefaultValue::Required;
        self
    }

    pub const fn quiet(mut self) -> Opt {
        self.fate = Fate::Quiet;
        self
    }

    pub const fn ignored(mut self, why: &'static str) -> Opt {
        self.fate = Fate::Ignored { neutral: None, why };
        self
    }

    pub const fn ignored_unless(mut self, neutral: &'static str, why: &'static str) -> Opt {
        self.fate = Fate::Ignored { neutral: Some(neutral), why };
        self
    }

    pub const fn refused_unless(mut self, neutral: &'static str, why: &'static str) -> Opt {
        self.fate = Fate::Refused { neutral, why };
        self
    }

    /// The same option where the block beside has its default, in whatever grammar.
    pub const fn without_default(mut self) -> Opt {
        self.old_default = DefaultValue::Null;
        self.new_default = DefaultValue::Null;
        self.vote = None;
        self
    }

    /// Other words for the documentation.
    pub const fn documented(mut self, doc: &'static str) -> Opt {
        self.doc = doc;
        self
    }

    pub fn default_in(&self, era: Era) -> DefaultValue {
        match era {
            Era::Old => self.old_default,
            Era::New => self.new_default,
        }
    }

    /// Every spelling, with the era that it is a sign of.
    pub fn spellings(&self) -> impl Iterator<Item = (&'static str, Option<Era>)> + use<> {
        let old = self.old_names.iter().map(|name| (*name, Some(Era::Old)));
        let other = self.other_names.iter().map(|name| (*name, None));
        std::iter::once((self.name, self.vote)).chain(old).chain(other)
    }
}

/// A whole number from `min` on.
pub const fn at_least(min: i64) -> Kind {
    Kind::Int { min, max: i64::MAX }
}

pub const BOOL: Kind = Kind::Bool;
pub const TEXT: Kind = Kind::Text;
pub const TEXTS: Kind = Kind::Texts;
pub const INT: Kind = Kind::Int { min: i64::MIN, max: i64::MAX };
pub const NUMBER: Kind = number(f64::NEG_INFINITY, true, f64::INFINITY, true);
/// Zero or more.
pub const NOT_NEGATIVE: Kind = number(0.0, true, f64::INFINITY, true);
/// More than zero.
pub const POSITIVE: Kind = number(0.0, false, f64::INFINITY, true);
/// `[0, 1)`.
pub const BELOW_ONE: Kind = number(0.0, true, 1.0, false);
/// `[0, 1]`.
pub const SHARE: Kind = number(0.0, true, 1.0, true);

const fn number(min: f64, min_included: bool, max: f64, max_included: bool) -> Kind {
    Kind::Number(Bounds { min, min_included, max, max_included })
}

/// A documentation comment without the space that it begins with.
pub const fn doc_line(comment: &'static str) -> &'static str {
    match comment.as_bytes() {
        [b' ', ..] => comment.split_at(1).1,
        _ => comment,
    }
}

/// The option of this name in one of these groups.
///
/// # Panics
/// When it is compiled, if there is none.
pub const fn option_of(groups: &[&[Opt]], name: &str) -> Opt {
    let mut group = 0;
    while group < groups.len() {
        let mut at = 0;
        while at < groups[group].len() {
            if same_text(groups[group][at].name.as_bytes(), name.as_bytes()) {
                return groups[group][at];
            }
            at += 1;
        }
        group += 1;
    }
    panic!("no group has this option")
}

const fn same_text(one: &[u8], other: &[u8]) -> bool {
    let mut same = one.len() == other.len();
    let mut at = 0;
    while same && at < one.len() {
        same = one[at] == other[at];
        at += 1;
    }
    same
}

/// The JSON Schema of a list of texts.
pub fn texts_schema() -> Json {
    json!({"type": "array", "items": {"type": "string"}})
}
