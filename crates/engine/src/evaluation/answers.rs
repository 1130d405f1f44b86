//! What a model answers to some prompts of the data, for people to read.

use super::samples::{Prompts, Samples};
use olive_config::Evaluator;
use olive_core::Result;
use olive_core::cancel::CancelFlag;
use olive_core::event::{Event, EventSink};
use olive_evaluate::{Answer, Subject, Work, answers};
use std::rc::Rc;

/// Tokens of an answer at most: enough to see what a model is like.
const ANSWER: usize = 48;

/// The answers that an evaluator asks for, if its data has prompts. They are no measure: where they cannot be had, a warning
/// says why, and what was measured counts.
///
/// # Errors
/// A raised flag.
pub(super) fn answers_of(
    evaluator: &Evaluator,
    samples: &Samples,
    open: &dyn Fn() -> Result<Rc<Subject>>,
    events: &dyn EventSink,
    cancel: &CancelFlag,
) -> Result<Vec<Answer>> {
    let given = || -> Result<Vec<Answer>> {
        let prompts = samples.prompts(evaluator.measures.metrics(), evaluator.answers)?;
        let Some(prompts) = prompts else { return Ok(Vec::new()) };
        let Prompts { exercises, special } = &*prompts;
        answers(&*open()?, exercises, *special, ANSWER, Work { name: "answers", events, cancel })
    };
    given().or_else(|error| {
        if error.is_interruption() {
            return Err(error);
        }
        let message = format!("no answers are kept beside what was measured: {}", error.with_causes());
        events.emit(Event::Warning { message });
        Ok(Vec::new())
    })
}
