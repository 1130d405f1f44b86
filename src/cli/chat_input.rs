//! What a person types in a chat.

use super::answering::Notes;
use super::output;
use olive_core::Result;
use olive_core::error::IoContext;
use rustyline::config::{Behavior, Config};
use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use std::io::{BufRead, IsTerminal, Stdin};
use std::path::Path;

/// Which commands there are.
pub(super) const COMMANDS: &str = "/reset starts anew, /exit or Ctrl-D ends; Ctrl-C stops an answer.";

/// Lines of stdin; on a terminal they can be edited, and the arrow keys bring earlier ones back.
pub(super) enum ChatInput {
    Terminal(Box<rustyline::Editor<(), MemHistory>>),
    Lines(Stdin),
}

/// What a line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    Said(String),
    Reset,
    Exit,
    Help,
    /// A command that there is not.
    Unknown(String),
}

impl ChatInput {
    pub(super) fn open() -> Result<ChatInput> {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            return Ok(ChatInput::Lines(stdin));
        }
        // The answers are the output, which may go into a file; questions are asked on the terminal.
        let config = Config::builder().behavior(Behavior::PreferTerm).build();
        let editor =
            rustyline::Editor::with_history(config, MemHistory::new()).map_err(std::io::Error::other);
        Ok(ChatInput::Terminal(Box::new(editor.at("read", Path::new("stdin"))?)))
    }

    pub(super) fn is_terminal(&self) -> bool {
        matches!(self, ChatInput::Terminal(_))
    }

    /// The next line that is not empty. `None`: the input has ended, or Ctrl-C was pressed.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn next(&mut self) -> Result<Option<Line>> {
        loop {
            let line = match self {
                ChatInput::Terminal(editor) => match editor.readline("> ") {
                    Ok(line) => {
                        // A history that is full forgets its oldest line.
                        let _ = editor.add_history_entry(&line);
                        line
                    }
                    Err(ReadlineError::Eof | ReadlineError::Interrupted) => return Ok(None),
                    Err(error) => return Err(std::io::Error::other(error)).at("read", Path::new("stdin")),
                },
                ChatInput::Lines(stdin) => {
                    let mut line = String::new();
                    if stdin.lock().read_line(&mut line).at("read", Path::new("stdin"))? == 0 {
                        return Ok(None);
                    }
                    line
                }
            };
            if !line.trim().is_empty() {
                return Ok(Some(Line::of(line.trim())));
            }
        }
    }

    /// Answers a command: at once, where a person waits for it, and else among the notes.
    pub(super) fn reply(&self, message: &str, notes: &Notes) {
        match self {
            ChatInput::Terminal(_) => output::note(message),
            ChatInput::Lines(_) => notes.info(message),
        }
    }
}

impl Line {
    /// A slash and one word is a command; anything else is said to the model.
    fn of(text: &str) -> Line {
        let command = text.strip_prefix('/').filter(|word| word.chars().all(|c| c.is_ascii_alphabetic()));
        match command {
            None => Line::Said(text.to_owned()),
            Some("exit" | "quit") => Line::Exit,
            Some("reset") => Line::Reset,
            Some("help") => Line::Help,
            Some(_) => Line::Unknown(text.to_owned()),
        }
    }
}
