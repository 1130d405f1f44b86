//! Answers as OpenAI's clients read them.

use super::answer_text::Piece;
use super::generation::Delivery;
use super::job::{Counts, Form, Reason};
use super::logprobs::{Alternative, TokenLogprob};
use super::state::seconds_since_1970;
use serde_json::{Map, Value, json};

/// What all documents of one answer have in common.
pub(crate) struct Answer {
    form: Form,
    id: String,
    created: u64,
    model: String,
    delivery: Delivery,
    /// Whether probabilities are told.
    logprobs: bool,
    usage: Counts,
}

/// A choice that is complete.
pub(crate) struct Choice {
    pub(crate) piece: Piece,
    pub(crate) reason: Reason,
}

impl Answer {
    pub(crate) fn new(form: Form, model: &str, delivery: Delivery, logprobs: bool) -> Answer {
        let prefix = match form {
            Form::Chat => "chatcmpl",
            Form::Text => "cmpl",
        };
        let id = format!("{prefix}-{}", uuid::Uuid::new_v4().simple());
        let usage = Counts::default();
        Answer { form, id, created: seconds_since_1970(), model: model.to_owned(), delivery, logprobs, usage }
    }

    /// Counts the tokens of a choice; those of a prompt should be told once.
    pub(crate) fn count(&mut self, counts: Counts) {
        self.usage.prompt += counts.prompt;
        self.usage.cached += counts.cached;
        self.usage.generated += counts.generated;
    }

    /// The answer in one document.
    pub(crate) fn whole(&self, choices: &[Choice]) -> Value {
        let choices = choices.iter().enumerate().map(|(index, choice)| {
            let (text, reason) = (&choice.piece.text, choice.reason.name());
            let logprobs = self.logprobs(&choice.piece.tokens, 0);
            match self.form {
                Form::Chat => {
                    let message = json!({"role": "assistant", "content": text, "refusal": null});
                    json!({"index": index, "message": message, "logprobs": logprobs, "finish_reason": reason})
                }
                Form::Text => {
                    json!({"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason})
                }
            }
        });
        let object = match self.form {
            Form::Chat => "chat.completion",
            Form::Text => "text_completion",
        };
        let mut document = self.document(object, choices.collect());
        document.insert("usage".into(), usage(self.usage));
        document.into()
    }

    /// The first document of a choice in a stream, if there is one before its text.
    pub(crate) fn opening(&self, choice: usize) -> Option<Value> {
        let delta = json!({"role": "assistant", "content": ""});
        (self.form == Form::Chat).then(|| self.chat_chunk(choice, &delta, Value::Null, None))
    }

    /// More of a choice, after so many characters of it.
    pub(crate) fn more(&self, choice: usize, piece: &Piece, offset: usize) -> Value {
        let logprobs = self.logprobs(&piece.tokens, offset);
        match self.form {
            Form::Chat => self.chat_chunk(choice, &json!({"content": piece.text}), logprobs, None),
            Form::Text => self.text_chunk(choice, &piece.text, logprobs, None),
        }
    }

    /// The end of a choice.
    pub(crate) fn closing(&self, choice: usize, reason: Reason) -> Value {
        match self.form {
            Form::Chat => self.chat_chunk(choice, &json!({}), Value::Null, Some(reason)),
            Form::Text => self.text_chunk(choice, "", Value::Null, Some(reason)),
        }
    }

    /// The last document of a stream that tells how many tokens there were.
    pub(crate) fn usage(&self) -> Option<Value> {
        let wanted = self.delivery == Delivery::Stream { usage: true };
        wanted.then(|| {
            let mut document = self.chunk(Vec::new());
            document.insert("usage".into(), usage(self.usage));
            document.into()
        })
    }

    fn chat_chunk(&self, choice: usize, delta: &Value, logprobs: Value, reason: Option<Reason>) -> Value {
        let reason = reason.map(Reason::name);
        let choice = json!({"index": choice, "delta": delta, "logprobs": logprobs, "finish_reason": reason});
        self.chunk(vec![choice]).into()
    }

    fn text_chunk(&self, choice: usize, text: &str, logprobs: Value, reason: Option<Reason>) -> Value {
        let reason = reason.map(Reason::name);
        let choice = json!({"index": choice, "text": text, "logprobs": logprobs, "finish_reason": reason});
        self.chunk(vec![choice]).into()
    }

    fn chunk(&self, choices: Vec<Value>) -> Map<String, Value> {
        let object = match self.form {
            Form::Chat => "chat.completion.chunk",
            Form::Text => "text_completion",
        };
        let mut document = self.document(object, choices);
        if self.delivery == (Delivery::Stream { usage: true }) {
            document.insert("usage".into(), Value::Null);
        }
        document
    }

    fn document(&self, object: &str, choices: Vec<Value>) -> Map<String, Value> {
        let fields = [
            ("id", json!(self.id)),
            ("object", json!(object)),
            ("created", json!(self.created)),
            ("model", json!(self.model)),
            ("choices", Value::Array(choices)),
        ];
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn logprobs(&self, tokens: &[TokenLogprob], offset: usize) -> Value {
        match self.form {
            _ if !self.logprobs => Value::Null,
            Form::Chat => {
                let content: Vec<Value> = tokens.iter().map(chat_logprob).collect();
                json!({"content": content, "refusal": null})
            }
            Form::Text => text_logprobs(tokens, offset),
        }
    }
}

fn chat_logprob(token: &TokenLogprob) -> Value {
    let one = |of: &Alternative| json!({"token": of.text, "logprob": of.logprob, "bytes": of.bytes});
    let mut entry = one(&token.token);
    entry["top_logprobs"] = token.top.iter().map(one).collect();
    entry
}

/// The older form, with the place of each token in the text, in characters.
fn text_logprobs(tokens: &[TokenLogprob], mut offset: usize) -> Value {
    let mut offsets = Vec::with_capacity(tokens.len());
    for token in tokens {
        offsets.push(offset);
        offset += String::from_utf8_lossy(&token.token.bytes).chars().count();
    }
    let texts: Vec<&str> = tokens.iter().map(|token| token.token.text.as_str()).collect();
    let logprobs: Vec<f64> = tokens.iter().map(|token| token.token.logprob).collect();
    let top = tokens.iter().map(|token| {
        let entries = token.top.iter().map(|of| (of.text.clone(), json!(of.logprob)));
        Value::Object(entries.collect())
    });
    json!({"tokens": texts, "token_logprobs": logprobs, "top_logprobs": top.collect::<Vec<_>>(), "text_offset": offsets})
}

fn usage(counts: Counts) -> Value {
    json!({
        "prompt_tokens": counts.prompt,
        "completion_tokens": counts.generated,
        "total_tokens": counts.prompt + counts.generated,
        "prompt_tokens_details": {"cached_tokens": counts.cached},
    })
}
