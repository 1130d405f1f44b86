//! The generation loop, whatever computes the logits.

use super::error::GenerateError;
use super::sampling::{Sampler, SamplingOptions};
use olive_core::Result;
use olive_core::cancel::CancelFlag;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Something that continues a token sequence: an ONNX session, a float decoder.
pub trait NextLogits {
    /// Appends `tokens` (at least one) to the context and gives the logits of its last position, `[vocab]`.
    ///
    /// # Errors
    /// The computation failed, or the context is full.
    fn feed(&mut self, tokens: &[u32]) -> Result<Vec<f32>>;

    /// Forgets the context after its first `len` tokens and says how many are left: fewer than `len` when what
    /// computes cannot go back.
    ///
    /// # Errors
    /// A new cache cannot be made.
    fn rewind(&mut self, len: usize) -> Result<usize>;

    /// Says that the context will grow to at most `len` tokens, so that memory can be set aside at once.
    ///
    /// # Errors
    /// There is not that much memory.
    fn reserve(&mut self, len: usize) -> Result<()> {
        let _ = len;
        Ok(())
    }
}

/// When to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    pub max_new_tokens: usize,
    /// Most tokens that the model can look at.
    pub context_length: usize,
    /// Tokens that end an answer. They are not part of it.
    pub stop: BTreeSet<u32>,
}

/// Why a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// A stop token.
    Stop,
    /// `max_new_tokens`.
    Length,
    /// The context is full.
    Context,
    Interrupted,
}

/// What was generated, and how fast.
#[derive(Debug, Clone)]
pub struct Generation {
    pub ids: Vec<u32>,
    pub finish: Finish,
    pub prompt_tokens: usize,
    /// Tokens of the prompt that were in the context already.
    pub reused_tokens: usize,
    pub time_to_first_token: Duration,
    pub total_time: Duration,
}

impl Generation {
    /// Generated tokens per second, the time for the prompt left out; `None` with fewer than two.
    pub fn tokens_per_second(&self) -> Option<f64> {
        let seconds = self.total_time.saturating_sub(self.time_to_first_token).as_secs_f64();
        (self.ids.len() > 1 && seconds > 0.0).then(|| (self.ids.len() - 1) as f64 / seconds)
    }
}

/// A model and the tokens that it has seen.
pub struct Context {
    model: Box<dyn NextLogits>,
    tokens: Vec<u32>,
}

impl Context {
    pub fn new(model: Box<dyn NextLogits>) -> Context {
        Context { model, tokens: Vec::new() }
    }

    /// Forgets every token, so that the next prompt is computed in full.
    ///
    /// # Errors
    /// A new cache cannot be made.
    pub fn reset(&mut self) -> Result<()> {
        let kept = self.model.rewind(0)?;
        self.tokens.truncate(kept);
        Ok(())
    }

    /// Continues `prompt`, giving every token to `on_token` as it is chosen. What the prompt has in common with the
    /// tokens seen before is not computed again, where the model can go back.
    ///
    /// # Errors
    /// An empty prompt, one that fills the context, a failed computation, or an error of `on_token`.
    pub fn generate(
        &mut self,
        prompt: &[u32],
        options: &SamplingOptions,
        limits: &Limits,
        cancel: &CancelFlag,
        on_token: &mut dyn FnMut(u32) -> Result<()>,
    ) -> Result<Generation> {
        if prompt.is_empty() {
            return Err(GenerateError::EmptyPrompt.into());
        }
        if prompt.len() >= limits.context_length {
            let (tokens, context) = (prompt.len(), limits.context_length);
            return Err(GenerateError::PromptTooLong { tokens, context }.into());
        }
        let start = Instant::now();
        let reused = self.return_to(prompt)?;
        let longest = prompt.len().saturating_add(limits.max_new_tokens).min(limits.context_length);
        self.model.reserve(longest)?;
        let mut sampler = Sampler::new(options);
        let mut context = prompt.to_vec();
        let mut pending = reused; // `context[pending..]` has not been fed.
        let mut time_to_first_token = None;
        let finish = loop {
            if context.len() - prompt.len() >= limits.max_new_tokens {
                break Finish::Length;
            }
            if cancel.is_raised() {
                break Finish::Interrupted;
            }
            if context.len() > limits.context_length {
                break Finish::Context;
            }
            let logits = self.model.feed(&context[pending..])?;
            self.tokens.extend_from_slice(&context[pending..]);
            pending = context.len();
            let token = sampler.sample(logits, &context)?;
            time_to_first_token.get_or_insert_with(|| start.elapsed());
            if limits.stop.contains(&token) {
                break Finish::Stop;
            }
            context.push(token);
            on_token(token)?;
        };
        let total_time = start.elapsed();
        Ok(Generation {
            ids: context.split_off(prompt.len()),
            finish,
            prompt_tokens: prompt.len(),
            reused_tokens: reused,
            time_to_first_token: time_to_first_token.unwrap_or(total_time),
            total_time,
        })
    }

    /// Goes back to where `prompt` leaves the tokens seen; at least one token of it remains to be fed.
    fn return_to(&mut self, prompt: &[u32]) -> Result<usize> {
        let common = self.tokens.iter().zip(prompt).take_while(|(a, b)| a == b).count();
        let common = common.min(prompt.len() - 1);
        let kept = if common == self.tokens.len() { common } else { self.model.rewind(common)? };
        self.tokens.truncate(kept);
        Ok(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// Says `last + 1`, and writes down what it was fed.
    struct Counter {
        len: usize,
        fed: Arc<Mutex<Vec<Vec<u32>>>>,
        rewinds: bool,
    }

    impl NextLogits for Counter {
        fn feed(&mut self, tokens: &[u32]) -> Result<Vec<f32>> {
            self.fed.lock().unwrap().push(tokens.to_vec());
            self.len += tokens.len();
            let mut logits = vec![0.0; 16];
            logits[(tokens[tokens.len() - 1] as usize + 1) % 16] = 1.0;
            Ok(logits)
        }

        fn rewind(&mut self, len: usize) -> Result<usize> {
            self.len = if self.rewinds { len } else { 0 };
            Ok(self.len)
        }
    }

    fn run(
        context: &mut Context,
        prompt: &[u32],
        max: usize,
        length: usize,
        stop: &[u32],
    ) -> Result<Generation> {
        let limits =
            Limits { max_new_tokens: max, context_length: length, stop: stop.iter().copied().collect() };
        context.generate(prompt, &SamplingOptions::GREEDY, &limits, &CancelFlag::default(), &mut |_| Ok(()))
    }

    fn counter(rewinds: bool) -> (Context, Arc<Mutex<Vec<Vec<u32>>>>) {
        let fed = Arc::new(Mutex::new(Vec::new()));
        (Context::new(Box::new(Counter { len: 0, fed: fed.clone(), rewinds })), fed)
    }

    #[test]
    fn stops_at_a_stop_token_at_the_limit_and_at_the_end_of_the_context() {
        let (mut context, _) = counter(true);
        let stopped = run(&mut context, &[1, 2], 10, 100, &[5, 9]).unwrap();
        assert_eq!((stopped.ids.as_slice(), stopped.finish), ([3, 4].as_slice(), Finish::Stop));
        let limited = run(&mut context, &[1, 2], 3, 100, &[]).unwrap();
        assert_eq!((limited.ids.as_slice(), limited.finish), ([3, 4, 5].as_slice(), Finish::Length));
        let full = run(&mut context, &[1, 2], 10, 4, &[]).unwrap();
        assert_eq!((full.ids.as_slice(), full.finish), ([3, 4, 5].as_slice(), Finish::Context));
        assert!(run(&mut context, &[1, 2, 3, 4], 1, 4, &[]).is_err());
        assert!(run(&mut context, &[], 1, 4, &[]).is_err());
    }

    #[test]
    fn feeds_only_what_the_context_does_not_hold() {
        let (mut context, fed) = counter(true);
        run(&mut context, &[1, 2], 3, 100, &[]).unwrap();
        let second = run(&mut context, &[1, 2, 3, 9], 1, 100, &[]).unwrap();
        assert_eq!(second.reused_tokens, 3);
        assert_eq!(*fed.lock().unwrap(), [vec![1, 2], vec![3], vec![4], vec![9]]);
        // The same prompt again: its last token is fed, for the logits.
        assert_eq!(run(&mut context, &[1, 2, 3, 9], 1, 100, &[]).unwrap().reused_tokens, 3);
    }

    #[test]
    fn a_model_that_cannot_go_back_is_fed_everything() {
        let (mut context, fed) = counter(false);
        run(&mut context, &[1, 2], 2, 100, &[]).unwrap();
        assert_eq!(run(&mut context, &[1, 7], 1, 100, &[]).unwrap().reused_tokens, 0);
        assert_eq!(fed.lock().unwrap().last().unwrap(), &vec![1, 7]);
    }
}
