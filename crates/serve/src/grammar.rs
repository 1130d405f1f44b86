//! Answers that keep to a JSON schema: which tokens may come next.
//!
//! The schema becomes a grammar over the bytes of tokens (`llguidance`). Before a token is chosen, the logits of those that cannot come
//! next become minus infinity; so whatever is chosen afterwards, by chance or not, is part of a valid document.

use super::token_bytes::TokenBytes;
use llguidance::api::{GrammarWithLexer, TopLevelGrammar};
use llguidance::toktrie::{ApproximateTokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory};
use olive_core::Fault;
use olive_core::contain::contain;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;
use tokenizers::Tokenizer;

/// Longest schema, in bytes of JSON.
const LONGEST: usize = 64 << 10;

/// How long a schema may take to become a grammar.
const PATIENCE: Duration = Duration::from_secs(5);

/// Schemas that become grammars at a time, with those that were given up and still take time.
const AT_A_TIME: usize = 2;

/// Of the thread that compiles: schemas are nested up to 128 deep.
const STACK: usize = 16 << 20;

/// Symbols of a grammar.
const LARGEST: usize = 100_000;

/// States of its lexer, of 1 to 2 kB.
const STATES: usize = 50_000;

/// What stands between the parts of a document, as people write it. Without an end to it, a model could go on with spaces for ever.
const SPACES: &str = r"( |\n[ \t]{0,16})?";

/// Longest reason that a message repeats, in characters.
const REASON: usize = 200;

/// Said of what `llguidance` has no words for.
const BEYOND: &str = "it is beyond what can be made a grammar of";

/// Makes grammars for a tokenizer.
pub(crate) struct Grammars {
    factory: Arc<ParserFactory>,
    busy: Arc<AtomicUsize>,
}

/// Why a schema is no grammar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It goes on after "the schema".
    Schema(String),
    /// Others take all the time there is.
    Busy,
}

/// A compiled schema.
pub(crate) struct Grammar(Mutex<Matcher>);

/// Where an answer is in its grammar.
pub(crate) struct Constraint(Matcher);

/// Whether more can come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Document {
    Open,
    /// It is whole, and nothing can be added to it.
    Whole,
}

/// Nothing can come next: the grammar has become too large on the way.
#[derive(Debug, thiserror::Error)]
#[error("an answer cannot go on within its schema: {0}")]
pub(crate) struct Lost(String);

impl Fault for Lost {}

/// What `llguidance` says, without what it tells its developers.
fn reason(error: &dyn std::fmt::Display) -> String {
    let text = error.to_string();
    if text.starts_with("panic:") {
        return BEYOND.to_owned();
    }
    text.lines().next().unwrap_or_default().chars().take(REASON).collect()
}

impl Grammars {
    /// For models with so many logits.
    ///
    /// # Errors
    /// What is wrong with the vocabulary.
    pub(crate) fn new(tokenizer: &Tokenizer, vocabulary: usize) -> Result<Grammars, String> {
        let bytes = TokenBytes::new(tokenizer);
        let end = u32::try_from(vocabulary).map_err(|_| "there are too many tokens".to_owned())?;
        // Special tokens have no bytes, and so no place in a document. 0xff marks such tokens in `toktrie`.
        let word =
            |id: u32| Some(bytes.of(id)).filter(|word| word.first() != Some(&0xff)).unwrap_or_default();
        // One more that stands for all tokens that end an answer.
        let words: Vec<Vec<u8>> = (0..end).map(word).chain([Vec::new()]).collect();
        let trie = TokTrie::from(&TokRxInfo::new(end + 1, end), &words);
        let environment: llguidance::toktrie::TokEnv = Arc::new(ApproximateTokEnv::new(trie));
        let mut factory = ParserFactory::new_simple(&environment).map_err(|error| reason(&error))?;
        factory.quiet();
        let limits = factory.limits_mut();
        limits.max_grammar_size = LARGEST;
        limits.max_lexer_states = STATES;
        limits.precompute_large_lexemes = false;
        limits.verbose_errors = false;
        Ok(Grammars { factory: Arc::new(factory), busy: Arc::default() })
    }

    /// Makes a grammar of a schema, in a bounded time.
    ///
    /// # Errors
    /// [`Refused`].
    pub(crate) fn compile(&self, mut schema: Value) -> Result<Grammar, Refused> {
        let refuse = |what: &str| Err(Refused::Schema(what.to_owned()));
        if schema.to_string().len() > LONGEST {
            return refuse("is larger than 64 kB");
        }
        match schema.as_object_mut() {
            Some(object) => object.insert("x-guidance".to_owned(), json!({"whitespace_pattern": SPACES})),
            None => return refuse("is no object"),
        };
        if self.busy.fetch_add(1, Ordering::Relaxed) >= AT_A_TIME {
            self.busy.fetch_sub(1, Ordering::Relaxed);
            return Err(Refused::Busy);
        }
        let (factory, busy) = (Arc::clone(&self.factory), Arc::clone(&self.busy));
        let (give, take) = mpsc::sync_channel(1);
        let work = move || {
            let compiled = contain(|| compile(&factory, schema));
            let compiled = compiled.unwrap_or_else(|_| Err(cannot(&BEYOND)));
            busy.fetch_sub(1, Ordering::Relaxed);
            // Nobody may wait any more.
            let _ = give.send(compiled);
        };
        let thread = std::thread::Builder::new().name("schema".to_owned()).stack_size(STACK).spawn(work);
        if thread.is_err() {
            self.busy.fetch_sub(1, Ordering::Relaxed);
            return Err(Refused::Busy);
        }
        match take.recv_timeout(PATIENCE) {
            Ok(compiled) => compiled.map(|matcher| Grammar(Mutex::new(matcher))).map_err(Refused::Schema),
            Err(_) => refuse("takes too long to be made a grammar of"),
        }
    }
}

fn cannot(error: &dyn std::fmt::Display) -> String {
    format!("cannot be kept to: {}", reason(error))
}

fn compile(factory: &ParserFactory, schema: Value) -> Result<Matcher, String> {
    let grammar = TopLevelGrammar::from_grammar(GrammarWithLexer::from_json_schema(schema));
    let matcher = Matcher::new(factory.create_parser(grammar));
    if let Some(error) = matcher.get_error() {
        return Err(cannot(&error));
    }
    // A schema that nothing fits is found here.
    match matcher.clone().compute_mask() {
        Ok(mask) if mask.is_zero() => Err(cannot(&"no document fits it")),
        Ok(_) => Ok(matcher),
        // What `llguidance` says if no token of all can begin.
        Err(error) if error.to_string().contains("NoExtensionBias") => Err(cannot(&"no document fits it")),
        Err(error) => Err(cannot(&error)),
    }
}

impl Grammar {
    /// A beginning for an answer.
    pub(crate) fn begin(&self) -> Constraint {
        Constraint(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl Constraint {
    /// Takes all tokens out of the logits (`[vocab]`) that cannot come next. Where the document may end, `ends` stay.
    ///
    /// # Errors
    /// [`Lost`].
    pub(crate) fn mask(&mut self, logits: &mut [f32], ends: &BTreeSet<u32>) -> Result<(), Lost> {
        let mask = self.0.compute_mask().map_err(|error| Lost(reason(&error)))?;
        let may_end = mask.is_allowed(u32::try_from(logits.len()).unwrap_or(u32::MAX));
        let kept: Vec<(usize, f32)> = ends
            .iter()
            .filter(|_| may_end)
            .filter_map(|id| Some((*id as usize, *logits.get(*id as usize)?)))
            .collect();
        mask.iter_unset_entries(|id| {
            if let Some(logit) = logits.get_mut(id) {
                *logit = f32::NEG_INFINITY;
            }
        });
        for (id, logit) in kept {
            logits[id] = logit;
        }
        if logits.iter().all(|logit| *logit == f32::NEG_INFINITY) {
            return Err(Lost("no token can come next".to_owned()));
        }
        Ok(())
    }

    /// Goes on by a token.
    ///
    /// # Errors
    /// As [`Self::mask`].
    pub(crate) fn take(&mut self, token: u32) -> Result<Document, Lost> {
        self.0.consume_token(token).map_err(|error| Lost(reason(&error)))?;
        Ok(if self.0.is_stopped() { Document::Whole } else { Document::Open })
    }
}
