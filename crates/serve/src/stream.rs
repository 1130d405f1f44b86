//! An answer on its way to the client: all at once, or as events
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).

use super::answer_text::Piece;
use super::answers::{Answer, Choice};
use super::api_error::ApiError;
use super::job::{Event, Reason};
use super::log::{Record, Transcript};
use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// An answer that comes in.
pub(crate) struct Incoming {
    pub(crate) answer: Answer,
    pub(crate) events: mpsc::Receiver<Event>,
    /// Choices for each prompt.
    pub(crate) per_prompt: usize,
    /// How many there are in all.
    pub(crate) choices: usize,
    pub(crate) record: Arc<Record>,
    pub(crate) transcript: Option<Transcript>,
}

/// Ends a stream that cannot go on: the connection is closed without the end of the body.
#[derive(Debug, thiserror::Error)]
#[error("the answer was cut off")]
struct CutOff;

/// What came.
enum News {
    Piece(usize, Piece),
    Finished(usize, Reason),
    Failed(ApiError),
}

impl Incoming {
    async fn next(&mut self) -> News {
        match self.events.recv().await {
            Some(Event::Piece { choice, piece }) => {
                if let Some(transcript) = &mut self.transcript {
                    transcript.add(choice, &piece.text);
                }
                News::Piece(choice, piece)
            }
            Some(Event::Finished { choice, reason, counts }) => {
                let first_of_prompt = choice % self.per_prompt == 0;
                let counts = if first_of_prompt { counts } else { counts.of_answer() };
                self.answer.count(counts);
                self.record.add(counts);
                News::Finished(choice, reason)
            }
            Some(Event::Failed(error)) => News::Failed(error),
            None => News::Failed(ApiError::failed()),
        }
    }

    /// Waits for all of it.
    pub(crate) async fn whole(mut self) -> Result<Value, ApiError> {
        let mut choices: Vec<(Piece, Option<Reason>)> = Vec::new();
        choices.resize_with(self.choices, Default::default);
        while choices.iter().any(|(_, reason)| reason.is_none()) {
            match self.next().await {
                News::Piece(choice, piece) => {
                    let whole = &mut choices[choice].0;
                    whole.text.push_str(&piece.text);
                    whole.tokens.extend(piece.tokens);
                }
                News::Finished(choice, reason) => choices[choice].1 = Some(reason),
                News::Failed(error) => return Err(error),
            }
        }
        let choices: Vec<Choice> = choices
            .into_iter()
            .filter_map(|(piece, reason)| Some(Choice { piece, reason: reason? }))
            .collect();
        Ok(self.answer.whole(&choices))
    }

    /// Passes it on as it comes; says that it is alive when nothing has come for `ping`.
    pub(crate) fn stream(self, ping: Duration) -> Response {
        const HEADERS: [(header::HeaderName, &str); 2] =
            [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")];
        let events = EventStream::new(self, ping);
        let body = stream::unfold(events, async |mut events| Some((events.next().await?, events)));
        (HEADERS, Body::from_stream(body)).into_response()
    }
}

struct EventStream {
    incoming: Incoming,
    /// Events to be sent at once.
    text: String,
    /// Characters of each choice that were sent.
    offsets: Vec<usize>,
    /// Choices that have not ended.
    open: usize,
    ping: Duration,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    NotYet,
    Done,
    /// The error was told; the connection is to be closed.
    Failed,
    Closed,
}

impl EventStream {
    fn new(incoming: Incoming, ping: Duration) -> EventStream {
        let openings = (0..incoming.choices).filter_map(|choice| incoming.answer.opening(choice));
        EventStream {
            text: openings.map(|opening| data(&opening)).collect(),
            offsets: vec![0; incoming.choices],
            open: incoming.choices,
            ping,
            end: End::NotYet,
            incoming,
        }
    }

    async fn next(&mut self) -> Option<Result<String, CutOff>> {
        while self.text.is_empty() {
            match self.end {
                End::Done | End::Closed => return None,
                End::Failed => {
                    self.end = End::Closed;
                    return Some(Err(CutOff));
                }
                End::NotYet => {}
            }
            match timeout(self.ping, self.incoming.next()).await {
                Ok(news) => self.take(news),
                Err(_) => self.text.push_str(": ping\n\n"),
            }
        }
        Some(Ok(std::mem::take(&mut self.text)))
    }

    fn take(&mut self, news: News) {
        let answer = &self.incoming.answer;
        match news {
            News::Piece(choice, piece) => {
                self.text.push_str(&data(&answer.more(choice, &piece, self.offsets[choice])));
                self.offsets[choice] += piece.text.chars().count();
            }
            News::Finished(choice, reason) => {
                self.text.push_str(&data(&answer.closing(choice, reason)));
                self.open -= 1;
                if self.open == 0 {
                    self.text.extend(answer.usage().map(|usage| data(&usage)));
                    self.text.push_str("data: [DONE]\n\n");
                    self.end = End::Done;
                }
            }
            News::Failed(error) => {
                self.text.push_str(&data(&error.to_json()));
                self.end = End::Failed;
            }
        }
    }
}

/// An event. JSON has no line breaks of its own.
fn data(document: &Value) -> String {
    format!("data: {document}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generation::Delivery;
    use crate::job::{Counts, Form};
    use crate::state::tests::state;
    use axum::http::Method;

    const LONG: Duration = Duration::from_secs(3600);

    /// The ends of an answer of two choices: where it is made, and where it is read.
    fn incoming() -> (mpsc::Sender<Event>, Incoming) {
        let (sender, events) = mpsc::channel(8);
        let record = Arc::new(Record::new(state(), Method::POST, "/"));
        let answer = Answer::new(Form::Text, "base", Delivery::Stream { usage: true }, false);
        (sender, Incoming { answer, events, per_prompt: 2, choices: 2, record, transcript: None })
    }

    fn piece(choice: usize, text: &str) -> Event {
        Event::Piece { choice, piece: Piece { text: text.into(), tokens: Vec::new() } }
    }

    fn finished(choice: usize) -> Event {
        let counts = Counts { prompt: 5, cached: 0, generated: 2 };
        Event::Finished { choice, reason: Reason::Stop, counts }
    }

    #[tokio::test]
    async fn a_stream_ends_when_all_choices_have() {
        let (sender, incoming) = incoming();
        let mut stream = EventStream::new(incoming, LONG);
        for event in [piece(1, "b"), finished(1), piece(0, "a"), finished(0)] {
            sender.send(event).await.unwrap();
        }
        let mut said = String::new();
        while let Some(part) = stream.next().await {
            said.push_str(&part.unwrap());
        }
        assert_eq!(said.matches("\"finish_reason\":\"stop\"").count(), 2, "{said}");
        assert!(said.contains(r#""prompt_tokens":5,"completion_tokens":4,"total_tokens":9"#), "{said}");
        assert!(said.ends_with("data: [DONE]\n\n"), "{said}");
    }

    #[tokio::test]
    async fn a_failure_is_told_and_cuts_the_answer_off() {
        for event in [Some(Event::Failed(ApiError::failed())), None] {
            let (sender, incoming) = incoming();
            let mut stream = EventStream::new(incoming, LONG);
            sender.send(piece(0, "a")).await.unwrap();
            assert!(stream.next().await.unwrap().unwrap().contains("\"text\":\"a\""));
            if let Some(event) = event {
                sender.send(event).await.unwrap();
            }
            drop(sender);
            let told = stream.next().await.unwrap().unwrap();
            assert!(told.starts_with("data: {\"error\":{") && told.contains("server_error"), "{told}");
            assert!(stream.next().await.unwrap().is_err(), "without an end the connection is closed");
            assert!(stream.next().await.is_none());
        }
    }

    #[tokio::test]
    async fn a_stream_without_news_says_that_it_is_alive() {
        let (sender, incoming) = incoming();
        let mut stream = EventStream::new(incoming, Duration::from_millis(5));
        for _ in 0..2 {
            assert_eq!(stream.next().await.unwrap().unwrap(), ": ping\n\n");
        }
        sender.send(piece(0, "a")).await.unwrap();
        assert!(stream.next().await.unwrap().unwrap().contains("\"text\":\"a\""));
    }

    #[tokio::test]
    async fn a_whole_answer_that_fails_is_an_error() {
        let (sender, incoming) = incoming();
        sender.send(finished(0)).await.unwrap();
        drop(sender);
        assert_eq!(incoming.whole().await.err(), Some(ApiError::failed()));
    }
}
