//! What operators watch, in Prometheus' text format
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

#[derive(Debug, Default)]
pub(crate) struct Metrics {
    running: AtomicUsize,
    prompt_tokens: AtomicU64,
    generated_tokens: AtomicU64,
    /// Answers by status.
    answers: Mutex<BTreeMap<u16, u64>>,
}

impl Metrics {
    pub(crate) fn set_running(&self, requests: usize) {
        self.running.store(requests, Ordering::Relaxed);
    }

    pub(crate) fn add_prompt(&self, tokens: usize) {
        self.prompt_tokens.fetch_add(tokens as u64, Ordering::Relaxed);
    }

    pub(crate) fn add_generated(&self, tokens: usize) {
        self.generated_tokens.fetch_add(tokens as u64, Ordering::Relaxed);
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
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let running = self.running.load(Ordering::Relaxed) as u64;
        family("olive_requests_running", "gauge", "Requests that are worked on.", &one(running));
        family("olive_requests_waiting", "gauge", "Requests that wait for a place.", &one(waiting as u64));
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let answers: Vec<_> =
            answers.iter().map(|(status, count)| (format!("{{status=\"{status}\"}}"), *count)).collect();
        family("olive_requests_total", "counter", "Requests by the status of their answer.", &answers);
        let tokens = load(&self.prompt_tokens);
        family("olive_prompt_tokens_total", "counter", "Tokens of prompts.", &one(tokens));
        let tokens = load(&self.generated_tokens);
        family("olive_generated_tokens_total", "counter", "Tokens of answers.", &one(tokens));
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_counts() {
        let metrics = Metrics::default();
        metrics.set_running(2);
        metrics.add_answer(200);
        metrics.add_answer(200);
        metrics.add_answer(404);
        metrics.add_generated(7);
        let page = metrics.page(3);
        for line in [
            "olive_requests_running 2",
            "olive_requests_waiting 3",
            "olive_requests_total{status=\"200\"} 2",
            "olive_requests_total{status=\"404\"} 1",
            "olive_prompt_tokens_total 0",
            "olive_generated_tokens_total 7",
        ] {
            assert!(page.lines().any(|other| other == line), "{line}:\n{page}");
        }
    }
}
