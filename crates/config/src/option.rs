//! How options are described. The tables made of these types are the one source of what the reader accepts, of the
//! defaults, of the JSON Schema and of `docs/CONFIG.md`.

use crate::origin::Era;

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
    /// Whatever the reader of the block says.
    Special(Special),
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

/// Values that have a reader of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Special {
    InputModel,
    Systems,
    /// A name in `systems`, or a system.
    System,
    DataConfigs,
    /// A name in `data_configs`, or a data config.
    DataConfig,
    DataFiles,
    /// A folder or hub id, or an object that says where a model lies.
    ModelPath,
    Passes,
    PassFlows,
    Evaluators,
    Accelerators,
    TargetModules,
    EvalSize,
    ChatTemplate,
    SearchStrategy,
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
        }
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
