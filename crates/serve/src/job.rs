//! What goes between the two threads: a request on its way to the model, and what comes back.

use super::answer_text::Piece;
use super::api_error::ApiError;
use super::generation::Generation;
use super::grammar::Grammar;
use super::options::Target;
use tokio::sync::mpsc;

/// Pieces that wait for a reader; when there are so many, the request pauses.
pub(crate) const PIECES: usize = 64;

/// Which of the two kinds of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// The answer is a message of its own.
    Chat,
    /// The answer goes on from the prompt.
    Text,
}

/// A request, ready for the model.
pub(crate) struct Job {
    /// Which model, with which adapter.
    pub(crate) target: Target,
    pub(crate) form: Form,
    /// Each has a token at least, and leaves room for one.
    pub(crate) prompts: Vec<Vec<u32>>,
    pub(crate) generation: Generation,
    /// Of the schema that the answers keep to.
    pub(crate) grammar: Option<Grammar>,
    /// Whoever holds the other end waits for the answer; when nobody does, the work ends.
    pub(crate) events: mpsc::Sender<Event>,
}

/// News of one choice.
#[derive(Debug)]
pub(crate) enum Event {
    Piece { choice: usize, piece: Piece },
    Finished { choice: usize, reason: Reason, counts: Counts },
    Failed(ApiError),
}

/// Why a choice has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The model's own end, or a stop string.
    Stop,
    /// The limit of the request, or the end of the context.
    Length,
}

/// Tokens of a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    pub(crate) prompt: usize,
    /// Of the prompt, those that were not computed again.
    pub(crate) cached: usize,
    pub(crate) generated: usize,
}

impl Job {
    pub(crate) fn choices(&self) -> usize {
        self.prompts.len() * self.generation.choices
    }

    pub(crate) fn prompt(&self, choice: usize) -> &[u32] {
        &self.prompts[choice / self.generation.choices]
    }

    /// The seed of a choice: that of the request for the first, and others mixed from it (the finaliser of SplitMix64).
    pub(crate) fn seed(&self, choice: usize) -> u64 {
        let seed = self.generation.sampling.seed;
        if choice == 0 {
            return seed;
        }
        let mixed = seed.wrapping_add((choice as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Whether nobody waits for the answer any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.events.is_closed()
    }
}

impl Counts {
    /// The same without the prompt, which another choice counts.
    pub(crate) fn of_answer(self) -> Counts {
        Counts { prompt: 0, cached: 0, ..self }
    }
}

impl Reason {
    /// As clients know it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Reason::Stop => "stop",
            Reason::Length => "length",
        }
    }
}
