//! `olive chat`.

use super::answering::{AnsweringArgs, Notes, message};
use super::chat_input::{COMMANDS, ChatInput, Line};
use super::{Globals, output};
use clap::Args;
use olive_core::cancel::CancelFlag;
use olive_core::{Error, Result};
use olive_data::DataError;
use olive_decoder::Finish;
use olive_decoder::GenerateError;
use olive_runtime::{Generator, ModelSequence, Prompt};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[derive(Args)]
pub(crate) struct ChatArgs {
    #[command(flatten)]
    answering: AnsweringArgs,
    /// Most tokens of an answer.
    #[arg(long, value_name = "N", default_value_t = 1024)]
    max_new_tokens: usize,
}

pub(crate) fn run(args: &ChatArgs, globals: &Globals) -> Result<()> {
    let notes = Notes::new(globals);
    let generator = args.answering.open(globals, &notes)?;
    let mut sequence = generator.new_sequence()?;
    if !generator.has_chat_template() {
        notes.info("the model has no chat template: it continues what was said");
    }
    let mut input = ChatInput::open()?;
    if input.is_terminal() && !globals.quiet {
        output::note(COMMANDS);
    }
    let interrupt = Interrupt::install();
    let mut messages = args.answering.conversation("");
    messages.pop();
    let start = messages.clone();
    while let Some(line) = input.next()? {
        match line {
            Line::Exit => break,
            Line::Reset => {
                messages.clone_from(&start);
                input.reply("forgotten", &notes);
                continue;
            }
            Line::Help => {
                input.reply(COMMANDS, &notes);
                continue;
            }
            Line::Unknown(command) => {
                input.reply(&format!("there is no command {command}; {}", COMMANDS), &notes);
                continue;
            }
            Line::Said(text) => messages.push(message("user", &text)),
        }
        let before = messages.len() - 1;
        match answer(&generator, &mut sequence, &messages, args, &notes, &interrupt) {
            Ok(text) => messages.push(message("assistant", text.trim())),
            // The conversation has outgrown the model, or the template refuses it: the next question may fit.
            Err(error) if input.is_terminal() && is_about_the_question(&error) => {
                messages.truncate(before);
                output::error(&error.to_string(), error.hint().as_deref());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn answer(
    generator: &Generator,
    sequence: &mut ModelSequence,
    messages: &[olive_data::Message],
    args: &ChatArgs,
    notes: &Notes,
    interrupt: &Interrupt,
) -> Result<String> {
    let options = args.answering.sampling(generator.defaults());
    let cancel = CancelFlag::default();
    let answering = interrupt.while_answering(&cancel);
    let answer = generator.answer(
        sequence,
        Prompt::Chat(messages),
        &options,
        args.max_new_tokens,
        &cancel,
        &mut output::piece,
    )?;
    drop(answering);
    output::piece("\n")?;
    match answer.generation.finish {
        Finish::Length => notes.info("[cut off: --max-new-tokens allows more]"),
        Finish::Context => notes.info("[cut off: the model's context is full; /reset starts anew]"),
        Finish::Interrupted => notes.info("[stopped]"),
        Finish::Stop => {}
    }
    notes.statistics(&answer.generation);
    Ok(answer.text)
}

/// Ctrl-C: stops an answer, and ends the program between answers.
struct Interrupt {
    answering: Arc<AtomicBool>,
    cancel: Arc<std::sync::Mutex<CancelFlag>>,
}

impl Interrupt {
    fn install() -> Interrupt {
        let answering = Arc::new(AtomicBool::new(false));
        let cancel = Arc::new(std::sync::Mutex::new(CancelFlag::default()));
        let (is_answering, current) = (answering.clone(), cancel.clone());
        let installed = ctrlc::set_handler(move || {
            if is_answering.load(Ordering::SeqCst) {
                current.lock().unwrap_or_else(std::sync::PoisonError::into_inner).raise();
            } else {
                // The main thread waits for a line that may never come.
                std::process::exit(130);
            }
        });
        if let Err(error) = installed {
            tracing::debug!("Ctrl-C ends the program at once: {error}");
        }
        Interrupt { answering, cancel }
    }

    /// Until the guard is dropped, Ctrl-C raises `cancel`.
    fn while_answering(&self, cancel: &CancelFlag) -> Answering<'_> {
        *self.cancel.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = cancel.clone();
        self.answering.store(true, Ordering::SeqCst);
        Answering(self)
    }
}

struct Answering<'a>(&'a Interrupt);

impl Drop for Answering<'_> {
    fn drop(&mut self) {
        self.0.answering.store(false, Ordering::SeqCst);
    }
}

/// A prompt that does not fit, or that the template refuses: the next one may be better.
fn is_about_the_question(error: &Error) -> bool {
    error.downcast_ref::<GenerateError>().is_some() || error.downcast_ref::<DataError>().is_some()
}
