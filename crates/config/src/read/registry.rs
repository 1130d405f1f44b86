//! What a configuration must know of passes. It knows none itself: a program gives it a registry of them.

use super::context::PassContext;
use crate::fields::Fields;
use crate::findings::Findings;
use crate::option::{Block, Kind};
use crate::origin::ResolvedOption;
use crate::tables::{AFTER_PASSES, BEFORE_PASSES, PASS_TYPES};
use crate::values::Values;
use olive_core::handle::ModelKind;
use serde::Serialize;
use serde_json::Value as Json;
use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

/// A type of pass, as it stands in `passes`. `P` is what a program makes of its options, which it can run.
pub struct PassDefinition<P: ?Sized> {
    /// Name, documentation and options.
    pub block: &'static Block,
    /// The page in `docs/` that says what the pass does: `lora.md`.
    pub page: &'static str,
    /// An entry of `passes` in short, for messages.
    pub example: &'static str,
    /// The kind of model that such a pass makes.
    pub gives: ModelKind,
    /// Makes the pass of its options, which fit their kinds, or says in the findings why that cannot be done.
    pub read: fn(&Fields<'_>, Values, &PassContext<'_>, &mut Findings) -> Option<PassRead<P>>,
}

impl<P: ?Sized> PassDefinition<P> {
    /// The type's name in Olive's spelling.
    pub fn name(&self) -> &'static str {
        self.block.name
    }
}

/// A pass, and how its options came about.
pub type PassRead<P> = (Arc<P>, Vec<ResolvedOption>);

/// What a configuration asks of a pass.
pub trait ConfiguredPass: Debug {
    /// The type's name in Olive's spelling. Definitions that differ in defaults alone share one.
    fn name(&self) -> &'static str;

    /// Everything that the configuration says of the pass.
    fn options(&self) -> &dyn PassOptions;

    /// The kind of model that the pass makes of `input`.
    ///
    /// # Errors
    /// Why the pass cannot take such a model: completes "LoRA cannot follow `builder` (ModelBuilder): ".
    fn output(&self, input: ModelKind) -> Result<ModelKind, String>;
}

/// The options of a pass, whatever its type.
pub trait PassOptions: Any + Debug + Send + Sync {
    fn to_json(&self) -> Json;
}

impl<T: Any + Debug + Send + Sync + Serialize> PassOptions for T {
    fn to_json(&self) -> Json {
        serde_json::to_value(self).expect("options are plain data")
    }
}

impl dyn PassOptions {
    /// The options, if they are of this type.
    pub fn downcast_ref<T: Any>(&self) -> Option<&T> {
        (self as &dyn Any).downcast_ref()
    }
}

/// All types of passes that a program has, in the order in which messages and documentation name them.
pub struct Registry<P: ?Sized + 'static>(pub &'static [&'static PassDefinition<P>]);

impl<P: ?Sized> Registry<P> {
    pub fn names(&self) -> impl Iterator<Item = &'static str> + Clone + use<P> {
        self.0.iter().map(|definition| definition.block.name)
    }

    /// The definition of this name, in any case.
    pub fn find(&self, name: &str) -> Option<&'static PassDefinition<P>> {
        self.0.iter().copied().find(|definition| definition.name().eq_ignore_ascii_case(name))
    }

    /// `` `a`, `b` or `c` ``.
    pub(crate) fn in_words(&self) -> String {
        let names: Vec<String> = self.names().map(|name| format!("`{name}`")).collect();
        or(&names)
    }

    /// The types by the kind of model that they make, in words: `LoRA or QLoRA, MergeAdapterWeights`.
    pub fn in_order(&self) -> String {
        let stages = self.0.chunk_by(|one, next| one.gives == next.gives).map(|stage| {
            let names: Vec<String> = stage.iter().map(|definition| definition.name().to_owned()).collect();
            or(&names)
        });
        stages.collect::<Vec<String>>().join(", ")
    }

    /// An object of passes in short, for messages.
    pub(crate) fn example(&self) -> String {
        let ends = [self.0.first(), self.0.last()];
        let examples: Vec<&str> = ends.into_iter().flatten().map(|definition| definition.example).collect();
        format!("for example \"passes\": {{{}}}", examples.join(", "))
    }

    /// Every block, in the order of the documentation.
    pub(crate) fn all_blocks(&self) -> Vec<&'static Block> {
        [BEFORE_PASSES, &self.blocks(), AFTER_PASSES].concat()
    }

    /// The blocks of the passes, and those that stand in them after the last pass that has them.
    fn blocks(&self) -> Vec<&'static Block> {
        let mut blocks: Vec<&'static Block> = Vec::new();
        for definition in self.0 {
            let mut nested = Vec::new();
            collect(definition.block, &mut nested);
            blocks.retain(|known| !nested.iter().any(|block| std::ptr::eq(*known, *block)));
            blocks.extend(nested);
        }
        blocks
    }

    /// What an option means, by today's name of it, in a block by its name: `LoRA`, `training_args`, `the data config`.
    pub fn meaning(&self, block: &str, option: &str) -> Option<String> {
        let blocks = self.all_blocks().into_iter().filter(|known| known.name == block);
        let found = blocks.flat_map(Block::options).find(|known| known.name == option)?;
        Some(found.doc.replace(PASS_TYPES, &self.in_words()))
    }

    /// The page about the pass that has this block, if it is one of a pass.
    pub(crate) fn page(&self, block: &Block) -> Option<&'static str> {
        let definition = self.0.iter().find(|definition| std::ptr::eq(definition.block, block));
        definition.map(|definition| definition.page)
    }

    /// The blocks of the passes alone.
    pub(crate) fn pass_blocks(&self) -> Vec<&'static Block> {
        self.0.iter().map(|definition| definition.block).collect()
    }
}

fn or(names: &[String]) -> String {
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}

/// A block and those in it.
fn collect(block: &'static Block, blocks: &mut Vec<&'static Block>) {
    blocks.push(block);
    for opt in block.options() {
        if let Kind::Block(inner) | Kind::Blocks(inner) = opt.kind {
            collect(inner, blocks);
        }
    }
}
