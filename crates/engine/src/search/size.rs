//! How much there is to do in a search, before it is done.

use super::FlowSearch;
use super::halving::rounds;
use super::joint::most;
use super::length::Lengths;
use crate::cache::Store;
use crate::passes::{REGISTRY, RunConfig, TrainingLength};
use crate::plan::Flow;
use crate::resources::Resources;
use crate::{Environment, FlowInput, Plan};
use olive_config::{ExecutionOrder, PassChoice, Sampler, Search, SearchSpace};
use olive_core::event::{Event, EventSink, TimedEvent};
use olive_core::event_hub::{Attachment, EventHub, EventListener};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

/// Points that are looked at for what they have in common.
const LOOKED_AT: u64 = 10_000;
/// Trainings whose length is found out.
const MEASURED: usize = 200;

/// What a search will try at most.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchSize {
    /// Points.
    pub trials: u64,
    /// Different trainings among them; `None`: there are too many points to say.
    pub trainings: Option<usize>,
    /// Of these, the ones that the cache has.
    pub cached: usize,
    /// Steps and tokens of the others in all, where the model and the data are on this machine.
    pub length: Option<TrainingLength>,
}

/// The points of a space that a search will try.
struct Wanted<'a> {
    config: &'a RunConfig,
    search: &'a Search,
    /// The flow's place in the configuration.
    number: usize,
    space: SearchSpace<'a>,
}

/// The choices for the passes up to a training.
type Prefix = Vec<PassChoice>;

/// The sizes of the searches of a configuration, one for each flow; empty if it has no search. Nothing is fetched.
pub fn search_size(config: &RunConfig, environment: &Environment) -> Vec<SearchSize> {
    let Some(search) = &config.search else { return Vec::new() };
    let Ok(plan) = Plan::new(config) else { return Vec::new() };
    let store = Store::new(&config.engine.cache_dir);
    let input = Resources { config, store: &store, environment }.find_input().ok().map(FlowInput::Here);
    let lengths = input.and_then(|input| Lengths::new(&input, &environment.cancel));
    let sizes = plan.flows.iter().enumerate().filter_map(|(number, flow)| {
        let wanted = Wanted { config, search, number, space: search.space(&config.flows[number])? };
        Some(wanted.size(flow, lengths.as_ref(), &|_| false))
    });
    sizes.collect()
}

/// The size of a search that is about to begin.
pub(super) fn of_run(search: &FlowSearch) -> SearchSize {
    let wanted = Wanted {
        config: search.config,
        search: search.search,
        number: search.number,
        space: search.space(search.passes()),
    };
    let lengths = Lengths::new(search.runner.input, &search.runner.environment.cancel);
    let is_cached = |prefix: &Prefix| {
        search.prepare(prefix, prefix.len()).is_ok_and(|prepared| {
            let last = prepared.flow.steps.last().zip(prepared.keys.last());
            last.is_some_and(|(step, key)| search.runner.store.look_up(&key.artefact_id(step)).is_ok())
        })
    };
    wanted.size(search.flow, lengths.as_ref(), &is_cached)
}

impl Wanted<'_> {
    fn size(
        &self,
        flow: &Flow,
        lengths: Option<&Lengths>,
        is_cached: &dyn Fn(&Prefix) -> bool,
    ) -> SearchSize {
        let strategy = &self.search.strategy;
        let trials = match strategy.order {
            ExecutionOrder::Joint => most(strategy, self.space.len()),
            ExecutionOrder::PassByPass => {
                super::stepwise::trials(self.search, &self.config.flows[self.number])
            }
        };
        let Some(prefixes) = self.trainings(flow) else {
            return SearchSize { trials, trainings: None, cached: 0, length: None };
        };
        let left: Vec<&Prefix> = prefixes.iter().filter(|prefix| !is_cached(prefix)).collect();
        let length =
            lengths.filter(|_| left.len() <= MEASURED).and_then(|lengths| self.length(&left, lengths));
        SearchSize { trials, trainings: Some(prefixes.len()), cached: prefixes.len() - left.len(), length }
    }

    /// The different trainings of the points.
    fn trainings(&self, flow: &Flow) -> Option<Vec<Prefix>> {
        let strategy = &self.search.strategy;
        let tried = match strategy.order {
            ExecutionOrder::Joint => most(strategy, self.space.len()),
            ExecutionOrder::PassByPass => self.space.len(),
        };
        let ends = flow.steps.iter().enumerate().filter(|(_, step)| step.pass.training().is_some());
        let ends: Vec<usize> = ends.map(|(place, _)| place + 1).collect();
        if tried > LOOKED_AT {
            return None;
        }
        let order = match strategy.sampler.order(self.space.len()) {
            Some(order) => order.take(tried as usize).collect(),
            // Which points come depends on results; how many, does not.
            None => (0..tried).collect::<Vec<u64>>(),
        };
        let mut trainings: Vec<Prefix> = Vec::new();
        for end in ends {
            // The first passes change fastest: what they are at a point is a number of their own space.
            let prefixes = self.search.space(&self.config.flows[self.number][..end])?;
            let numbers: BTreeSet<u64> = order.iter().map(|index| index % prefixes.len()).collect();
            trainings.extend(numbers.into_iter().filter_map(|number| Some(prefixes.point(number)?.choices)));
        }
        Some(trainings)
    }

    fn length(&self, trainings: &[&Prefix], lengths: &Lengths) -> Option<TrainingLength> {
        let mut all = Vec::with_capacity(trainings.len());
        for prefix in trainings {
            let config = self.config.at_point(self.search, prefix, &REGISTRY).ok()?;
            let last = config.flows[self.number].get(prefix.len() - 1)?;
            all.push(lengths.of(&config.passes[*last].pass.training()?).ok()?);
        }
        let steps: usize = all.iter().map(|length| length.steps).sum();
        let tokens: u64 = all.iter().map(|length| length.tokens).sum();
        let Sampler::Halving { eta, min_steps } = self.search.strategy.sampler else {
            return Some(TrainingLength { steps, tokens });
        };
        let longest = all.iter().map(|length| length.steps).max()?;
        let halved = halved(all.len(), longest, &rounds(all.len(), longest, eta, min_steps));
        Some(TrainingLength { steps: halved, tokens: (tokens as f64 * halved as f64 / steps as f64) as u64 })
    }
}

/// Steps of so many trainings of `total` steps with these rounds.
fn halved(trainings: usize, total: usize, rounds: &[super::halving::Round]) -> usize {
    let (mut steps, mut before, mut left) = (0, 0, trainings);
    for round in rounds {
        steps += left * (round.step - before);
        (before, left) = (round.step, round.keep);
    }
    steps + left * (total - before)
}

impl fmt::Display for SearchSize {
    /// `4 points; 4 trainings of 400 steps and 204800 tokens in all`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let points = if self.trials == 1 { "point" } else { "points" };
        write!(f, "{} {points}", self.trials)?;
        match self.trainings {
            None | Some(0) => return Ok(()),
            Some(1) => write!(f, "; 1 training")?,
            Some(trainings) => write!(f, "; {trainings} trainings")?,
        }
        if self.cached > 0 {
            write!(f, ", {} of them in the cache", self.cached)?;
        }
        match self.length {
            Some(TrainingLength { steps, tokens }) if self.cached < self.trainings.unwrap_or(0) => {
                write!(f, ", {steps} steps and {tokens} tokens to train")
            }
            _ => Ok(()),
        }
    }
}

/// Says how long trainings of `tokens` will take once their speed was measured.
pub(super) fn announce_time<'a>(search: &FlowSearch<'a>, size: &SearchSize) -> Option<Attachment<'a>> {
    let tokens = size.length.filter(|_| size.trainings > Some(1))?.tokens;
    let events = &search.runner.environment.events;
    let clock = Clock { tokens, heard: AtomicUsize::new(0), events: Arc::downgrade(events) };
    Some(events.attach(Arc::new(clock)))
}

/// Listens to the first steps.
struct Clock {
    tokens: u64,
    heard: AtomicUsize,
    events: Weak<EventHub>,
}

impl Clock {
    /// The first step also touches all memory for the first time.
    const MEASURED_STEP: usize = 1;
}

impl EventListener for Clock {
    fn on_event(&self, event: &TimedEvent) {
        let Event::TrainStep { tokens_per_second, .. } = &event.event else { return };
        if self.heard.fetch_add(1, Ordering::Relaxed) == Self::MEASURED_STEP
            && let Some(events) = self.events.upgrade()
        {
            let minutes = self.tokens as f64 / tokens_per_second / 60.0;
            let message = format!("all trainings of the search: about {minutes:.1} min at this speed");
            events.emit(Event::Info { message });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halving_spares_steps() {
        let steps = |trainings, eta| halved(trainings, 100, &rounds(trainings, 100, eta, None));
        assert_eq!((steps(4, 2), steps(4, 3), steps(1, 3)), (4 * 25 + 2 * 25 + 50, 4 * 34 + 66, 100));
    }

    #[test]
    fn sizes_read_as_sentences() {
        let length = Some(TrainingLength { steps: 400, tokens: 204_800 });
        let size =
            |trainings, cached, length| SearchSize { trials: 8, trainings, cached, length }.to_string();
        assert_eq!(
            size(Some(4), 1, length),
            "8 points; 4 trainings, 1 of them in the cache, 400 steps and 204800 tokens to train"
        );
        assert_eq!(size(Some(1), 1, length), "8 points; 1 training, 1 of them in the cache");
        assert_eq!((size(None, 0, None), size(Some(0), 0, None)), ("8 points".into(), "8 points".into()));
    }
}
