//! The generation loop, whatever computes the logits.

use super::error::GenerateError;
use super::language_model::LanguageModel;
use super::sampling::{Sampler, SamplingOptions};
use olive_core::Result;
use olive_core::cancel::CancelFlag;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

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

/// An answer under way: the sampler's state, and what the sequence does not hold yet. Between two tokens of it other
/// sequences can have theirs.
pub struct Continuation {
    /// The prompt and what was generated.
    tokens: Vec<u32>,
    prompt_tokens: usize,
    reused_tokens: usize,
    /// The sequence holds so many of the tokens.
    fed: usize,
    sampler: Sampler,
    limits: Limits,
    finish: Option<Finish>,
    start: Instant,
    time_to_first_token: Option<Duration>,
}

impl Continuation {
    /// Begins to continue `prompt`. What the prompt has in common with what the sequence holds is not computed again,
    /// where the model can go back.
    ///
    /// # Errors
    /// An empty prompt, one that fills the context, or no memory.
    pub fn begin<M: LanguageModel>(
        model: &M,
        sequence: &mut M::Sequence,
        prompt: &[u32],
        options: &SamplingOptions,
        limits: Limits,
    ) -> Result<Continuation> {
        if prompt.is_empty() {
            return Err(GenerateError::EmptyPrompt.into());
        }
        if prompt.len() >= limits.context_length {
            let (tokens, context) = (prompt.len(), limits.context_length);
            return Err(GenerateError::PromptTooLong { tokens, context }.into());
        }
        let start = Instant::now();
        let reused = return_to(model, sequence, prompt)?;
        let longest = prompt.len().saturating_add(limits.max_new_tokens).min(limits.context_length);
        model.reserve(sequence, longest)?;
        let mut begun = Continuation {
            tokens: prompt.to_vec(),
            prompt_tokens: prompt.len(),
            reused_tokens: reused,
            fed: reused,
            sampler: Sampler::new(options),
            limits,
            finish: None,
            start,
            time_to_first_token: None,
        };
        begun.check_limits();
        Ok(begun)
    }

    /// What the model is to be fed next; `None` when the answer has ended.
    pub fn pending(&self) -> Option<&[u32]> {
        self.finish.is_none().then(|| &self.tokens[self.fed..])
    }

    /// What is pending, of which a sequence that holds `held` tokens has a part already: a long prompt can be fed in pieces.
    pub fn pending_after(&self, held: usize) -> Option<&[u32]> {
        self.finish.is_none().then(|| self.tokens.get(held..).unwrap_or_default())
    }

    /// Chooses a token by the logits after what was pending. `None` if it is one that ends the answer.
    ///
    /// # Errors
    /// Logits that are not numbers.
    pub fn advance(&mut self, logits: Vec<f32>) -> Result<Option<u32>> {
        self.fed = self.tokens.len();
        let token = self.sampler.sample(logits, &self.tokens)?;
        self.time_to_first_token.get_or_insert_with(|| self.start.elapsed());
        if self.limits.stop.contains(&token) {
            self.finish = Some(Finish::Stop);
            return Ok(None);
        }
        self.tokens.push(token);
        self.check_limits();
        Ok(Some(token))
    }

    /// Why the answer has ended, if it has.
    pub fn finish(&self) -> Option<Finish> {
        self.finish
    }

    /// Tokens of the prompt that were in the context already.
    pub fn reused_tokens(&self) -> usize {
        self.reused_tokens
    }

    /// Ends the answer here, if it has not ended.
    pub fn interrupt(&mut self) {
        self.finish.get_or_insert(Finish::Interrupted);
    }

    /// What was generated. An answer that has not ended counts as interrupted.
    pub fn into_generation(mut self) -> Generation {
        let total_time = self.start.elapsed();
        Generation {
            ids: self.tokens.split_off(self.prompt_tokens),
            finish: self.finish.unwrap_or(Finish::Interrupted),
            prompt_tokens: self.prompt_tokens,
            reused_tokens: self.reused_tokens,
            time_to_first_token: self.time_to_first_token.unwrap_or(total_time),
            total_time,
        }
    }

    fn check_limits(&mut self) {
        if self.tokens.len() - self.prompt_tokens >= self.limits.max_new_tokens {
            self.finish = Some(Finish::Length);
        } else if self.tokens.len() > self.limits.context_length {
            self.finish = Some(Finish::Context);
        }
    }
}

/// Continues `prompt` to the end of the answer, giving every token to `on_token` as it is chosen.
///
/// # Errors
/// As [`Continuation::begin`], a failed computation, or an error of `on_token`.
pub fn generate<M: LanguageModel>(
    model: &M,
    sequence: &mut M::Sequence,
    prompt: &[u32],
    options: &SamplingOptions,
    limits: Limits,
    cancel: &CancelFlag,
    on_token: &mut dyn FnMut(u32) -> Result<()>,
) -> Result<Generation> {
    let mut answer = Continuation::begin(model, sequence, prompt, options, limits)?;
    while let Some(pending) = answer.pending() {
        if cancel.is_raised() {
            answer.interrupt();
            break;
        }
        let logits = model.feed(sequence, pending)?;
        if let Some(token) = answer.advance(logits)? {
            on_token(token)?;
        }
    }
    Ok(answer.into_generation())
}

/// Goes back to where `prompt` leaves the tokens of the sequence; at least one token of it remains to be fed.
fn return_to<M: LanguageModel>(model: &M, sequence: &mut M::Sequence, prompt: &[u32]) -> Result<usize> {
    let held = model.tokens(sequence);
    let common = held.iter().zip(prompt).take_while(|(a, b)| a == b).count();
    let common = common.min(prompt.len() - 1);
    if common == held.len() { Ok(common) } else { model.truncate(sequence, common) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Feed;
    use std::sync::Mutex;

    /// Says `last + 1`, and writes down what it was fed.
    struct Counter {
        fed: Mutex<Vec<Vec<u32>>>,
        goes_back: bool,
    }

    impl LanguageModel for Counter {
        type Sequence = Vec<u32>;

        fn new_sequence(&self) -> Result<Vec<u32>> {
            Ok(Vec::new())
        }

        fn tokens<'s>(&self, sequence: &'s Vec<u32>) -> &'s [u32] {
            sequence
        }

        fn feed(&self, sequence: &mut Vec<u32>, tokens: &[u32]) -> Result<Vec<f32>> {
            self.fed.lock().unwrap().push(tokens.to_vec());
            sequence.extend_from_slice(tokens);
            let mut logits = vec![0.0; 16];
            logits[(tokens[tokens.len() - 1] as usize + 1) % 16] = 1.0;
            Ok(logits)
        }

        fn truncate(&self, sequence: &mut Vec<u32>, len: usize) -> Result<usize> {
            sequence.truncate(if self.goes_back { len } else { 0 });
            Ok(sequence.len())
        }
    }

    fn limits(max_new_tokens: usize, context_length: usize, stop: &[u32]) -> Limits {
        Limits { max_new_tokens, context_length, stop: stop.iter().copied().collect() }
    }

    fn run(model: &Counter, sequence: &mut Vec<u32>, prompt: &[u32], limits: Limits) -> Result<Generation> {
        let greedy = SamplingOptions::GREEDY;
        generate(model, sequence, prompt, &greedy, limits, &CancelFlag::default(), &mut |_| Ok(()))
    }

    fn counter(goes_back: bool) -> (Counter, Vec<u32>) {
        (Counter { fed: Mutex::new(Vec::new()), goes_back }, Vec::new())
    }

    #[test]
    fn stops_at_a_stop_token_at_the_limit_and_at_the_end_of_the_context() {
        let (model, mut held) = counter(true);
        let stopped = run(&model, &mut held, &[1, 2], limits(10, 100, &[5, 9])).unwrap();
        assert_eq!((stopped.ids.as_slice(), stopped.finish), ([3, 4].as_slice(), Finish::Stop));
        let limited = run(&model, &mut held, &[1, 2], limits(3, 100, &[])).unwrap();
        assert_eq!((limited.ids.as_slice(), limited.finish), ([3, 4, 5].as_slice(), Finish::Length));
        let full = run(&model, &mut held, &[1, 2], limits(10, 4, &[])).unwrap();
        assert_eq!((full.ids.as_slice(), full.finish), ([3, 4, 5].as_slice(), Finish::Context));
        assert!(run(&model, &mut held, &[1, 2, 3, 4], limits(1, 4, &[])).is_err());
        assert!(run(&model, &mut held, &[], limits(1, 4, &[])).is_err());
    }

    #[test]
    fn an_interrupted_answer_says_so_unless_it_had_ended() {
        let (model, mut held) = counter(true);
        let cancel = CancelFlag::default();
        let mut after = |prompt: &[u32], limits| {
            let greedy = SamplingOptions::GREEDY;
            let mut stop = |_| {
                cancel.raise();
                Ok(())
            };
            generate(&model, &mut held, prompt, &greedy, limits, &cancel, &mut stop).unwrap()
        };
        let interrupted = after(&[1], limits(5, 100, &[]));
        assert_eq!((interrupted.ids.as_slice(), interrupted.finish), ([2].as_slice(), Finish::Interrupted));
        assert_eq!(after(&[1], limits(0, 100, &[])).finish, Finish::Length);
    }

    #[test]
    fn feeds_only_what_the_sequence_does_not_hold() {
        let (model, mut held) = counter(true);
        run(&model, &mut held, &[1, 2], limits(3, 100, &[])).unwrap();
        let second = run(&model, &mut held, &[1, 2, 3, 9], limits(1, 100, &[])).unwrap();
        assert_eq!(second.reused_tokens, 3);
        assert_eq!(*model.fed.lock().unwrap(), [vec![1, 2], vec![3], vec![4], vec![9]]);
        // The same prompt again: its last token is fed, for the logits.
        let again = run(&model, &mut held, &[1, 2, 3, 9], limits(1, 100, &[])).unwrap();
        assert_eq!(again.reused_tokens, 3);
    }

    #[test]
    fn a_model_that_cannot_go_back_is_fed_everything() {
        let (model, mut held) = counter(false);
        run(&model, &mut held, &[1, 2], limits(2, 100, &[])).unwrap();
        assert_eq!(run(&model, &mut held, &[1, 7], limits(1, 100, &[])).unwrap().reused_tokens, 0);
        assert_eq!(model.fed.lock().unwrap().last().unwrap(), &vec![1, 7]);
    }

    #[test]
    fn sequences_take_turns() {
        let (model, mut first) = counter(true);
        let mut second = Vec::new();
        let greedy = SamplingOptions::GREEDY;
        let mut a = Continuation::begin(&model, &mut first, &[1], &greedy, limits(2, 100, &[])).unwrap();
        let mut b = Continuation::begin(&model, &mut second, &[7, 8], &greedy, limits(2, 100, &[])).unwrap();
        while let (Some(of_a), Some(of_b)) = (a.pending(), b.pending()) {
            let mut logits = model
                .feed_all(&mut [
                    Feed { sequence: &mut first, tokens: of_a },
                    Feed { sequence: &mut second, tokens: of_b },
                ])
                .into_iter();
            a.advance(logits.next().unwrap().unwrap()).unwrap();
            b.advance(logits.next().unwrap().unwrap()).unwrap();
        }
        assert_eq!((a.into_generation().ids, b.into_generation().ids), (vec![2, 3], vec![9, 10]));
    }
}
