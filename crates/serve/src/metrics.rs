//! What operators watch, in Prometheus' text format
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).

use super::options::Target;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

#[derive(Debug)]
pub(crate) struct Metrics {
    running: AtomicUsize,
    tokens: BTreeMap<Target, Tokens>,
    /// Answers by status.
    answers: Mutex<BTreeMap<u16, u64>>,
}

/// What went through a model under one of its names.
#[derive(Debug)]
struct Tokens {
    name: String,
    prompt: AtomicU64,
    generated: AtomicU64,
}

impl Metrics {
    pub(crate) fn new<'a>(names: impl Iterator<Item = (&'a str, Target)>) -> Metrics {
        let tokens = names.map(|(name, target)| {
            let (prompt, generated) = (AtomicU64::new(0), AtomicU64::new(0));
            (target, Tokens { name: name.to_owned(), prompt, generated })
        });
        Metrics { running: AtomicUsize::new(0), tokens: tokens.collect(), answers: Mutex::default() }
    }

    pub(crate) fn set_running(&self, requests: usize) {
        self.running.store(requests, Ordering::Relaxed);
    }

    pub(crate) fn add_prompt(&self, target: Target, tokens: usize) {
        if let Some(of) = self.tokens.get(&target) {
            of.prompt.fetch_add(tokens as u64, Ordering::Relaxed);
        }
    }

    pub(crate) fn add_generated(&self, target: Target, tokens: usize) {
        if let Some(of) = self.tokens.get(&target) {
            of.generated.fetch_add(tokens as u64, Ordering::Relaxed);
        }
    }

    pub(crate) fn add_answer(&self, status: u16) {
        *self.answers.lock().unwrap_or_else(PoisonError::into_inner).entry(status).or_default() += 1;
    }

    /// The page, with this many requests waiting.
    pub(crate) fn page(&self, waiting: usize) -> String {
        let mut page = String::new();
        let mut family = |name: &str, kind: &str, help: &str, samples: &[(String, u64)]| {
            page.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
            page.extend(samples.iter().map(|(labels, value)| format!("{name}{labels} {value}\n")));
        };
        let one = |value: u64| [(String::new(), value)];
        let running = self.running.load(Ordering::Relaxed) as u64;
        family("olive_requests_running", "gauge", "Requests that are worked on.", &one(running));
        family("olive_requests_waiting", "gauge", "Requests that wait for a place.", &one(waiting as u64));
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let answers: Vec<_> =
            answers.iter().map(|(status, count)| (format!("{{status=\"{status}\"}}"), *count)).collect();
        family("olive_requests_total", "counter", "Requests by the status of their answer.", &answers);
        family("olive_prompt_tokens_total", "counter", "Tokens of prompts.", &self.by_model(|of| &of.prompt));
        let generated = self.by_model(|of| &of.generated);
        family("olive_generated_tokens_total", "counter", "Tokens of answers.", &generated);
        page
    }

    fn by_model(&self, counter: impl Fn(&Tokens) -> &AtomicU64) -> Vec<(String, u64)> {
        let samples = self.tokens.values().map(|of| {
            let name = of.name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            (format!("{{model=\"{name}\"}}"), counter(of).load(Ordering::Relaxed))
        });
        samples.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_counts() {
        let (base, other) = (Target { model: 0, variant: 0 }, Target { model: 1, variant: 0 });
        let metrics = Metrics::new([("base", base), ("a \"b\" \\", other)].into_iter());
        metrics.set_running(2);
        metrics.add_answer(200);
        metrics.add_answer(200);
        metrics.add_answer(404);
        metrics.add_generated(base, 7);
        metrics.add_prompt(other, 3);
        let page = metrics.page(3);
        for line in [
            "olive_requests_running 2",
            "olive_requests_waiting 3",
            "olive_requests_total{status=\"200\"} 2",
            "olive_requests_total{status=\"404\"} 1",
            "olive_prompt_tokens_total{model=\"base\"} 0",
            "olive_prompt_tokens_total{model=\"a \\\"b\\\" \\\\\"} 3",
            "olive_generated_tokens_total{model=\"base\"} 7",
        ] {
            assert!(page.lines().any(|other| other == line), "{line}:\n{page}");
        }
    }
}
