//! What the log says of a request: a line when all of its answer is sent or its client is gone, and the texts where they are
//! wanted.

use super::job::Counts;
use super::state::ServerState;
use axum::http::{Method, StatusCode};
use olive_core::event::Event;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::Instant;

/// Longest path in a line, in characters.
const PATH: usize = 100;

/// The status of a request whose client went away before there was an answer, as nginx counts it.
const CLIENT_GONE: u16 = 499;

/// A request. When the last copy goes, the line is written.
pub(crate) struct Record {
    state: Arc<ServerState>,
    method: Method,
    path: String,
    start: Instant,
    /// 0: none yet.
    status: AtomicU16,
    prompt_tokens: AtomicUsize,
    generated_tokens: AtomicUsize,
}

impl Record {
    pub(crate) fn new(state: Arc<ServerState>, method: Method, path: &str) -> Record {
        Record {
            state,
            method,
            path: path.chars().take(PATH).flat_map(char::escape_debug).collect(),
            start: Instant::now(),
            status: AtomicU16::new(0),
            prompt_tokens: AtomicUsize::new(0),
            generated_tokens: AtomicUsize::new(0),
        }
    }

    pub(crate) fn set_status(&self, status: StatusCode) {
        self.status.store(status.as_u16(), Ordering::Relaxed);
    }

    /// Tokens of another choice.
    pub(crate) fn add(&self, counts: Counts) {
        self.prompt_tokens.fetch_add(counts.prompt, Ordering::Relaxed);
        self.generated_tokens.fetch_add(counts.generated, Ordering::Relaxed);
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let status = match self.status.load(Ordering::Relaxed) {
            0 => CLIENT_GONE,
            status => status,
        };
        self.state.metrics.add_answer(status);
        let (prompt, generated) =
            (self.prompt_tokens.load(Ordering::Relaxed), self.generated_tokens.load(Ordering::Relaxed));
        let tokens = match (prompt, generated) {
            (0, 0) => String::new(),
            _ => format!(", {prompt} prompt tokens, {generated} generated"),
        };
        let (method, path, seconds) = (&self.method, &self.path, self.start.elapsed().as_secs_f64());
        let message = format!("{method} {path} {status}{tokens}, {seconds:.3} s");
        self.state.events.emit(Event::Info { message });
    }
}

/// The texts of a request, where they are logged.
pub(crate) struct Transcript {
    state: Arc<ServerState>,
    answers: Vec<String>,
}

impl Transcript {
    /// `None` where texts are not logged.
    pub(crate) fn begin(state: &Arc<ServerState>, choices: usize) -> Option<Transcript> {
        let wanted = state.options.log_prompts;
        wanted.then(|| Transcript { state: Arc::clone(state), answers: vec![String::new(); choices] })
    }

    pub(crate) fn add(&mut self, choice: usize, text: &str) {
        if let Some(answer) = self.answers.get_mut(choice) {
            answer.push_str(text);
        }
    }
}

impl Drop for Transcript {
    fn drop(&mut self) {
        for answer in &self.answers {
            self.state.events.emit(Event::Info { message: format!("answer: {answer:?}") });
        }
    }
}
