//! All passes at once: the points of one space, in an order that may depend on the results.

use super::FlowSearch;
use super::tpe::Tpe;
use super::trial::Trials;
use crate::searched::TrialState;
use olive_config::{PointOrder, Sampler, SearchSpace, SearchStrategy};
use olive_core::Result;
use std::collections::BTreeMap;

/// Gives the points one after the other.
pub(super) enum Proposals<'a> {
    Fixed(Box<PointOrder>),
    Estimated(Box<Tpe<'a>>),
}

impl<'a> Proposals<'a> {
    pub(super) fn new(strategy: &SearchStrategy, space: SearchSpace<'a>) -> Proposals<'a> {
        let Sampler::Tpe { seed, multivariate, group } = strategy.sampler else {
            let order = strategy.sampler.order(space.len());
            return Proposals::Fixed(Box::new(order.expect("only the estimate depends on results")));
        };
        Proposals::Estimated(Box::new(Tpe::new(space, seed, multivariate, group)))
    }

    /// The next point; `results` gives the points that were tried from the best to the worst.
    fn next(&mut self, results: impl FnOnce() -> Vec<u64>) -> Option<u64> {
        match self {
            Proposals::Fixed(order) => order.next(),
            Proposals::Estimated(tpe) => tpe.next(&results()),
        }
    }
}

/// How many points of a space are tried at most.
pub(super) fn most(strategy: &SearchStrategy, len: u64) -> u64 {
    let given = [strategy.max_samples, strategy.max_iter].into_iter().flatten();
    given.map(|most| most as u64).fold(len, u64::min)
}

impl FlowSearch<'_> {
    /// Tries the points of the whole space, up to the limits of the strategy.
    pub(super) fn try_all(&self, trials: &Trials) -> Result<()> {
        let space = self.space(self.passes());
        let most = most(&self.search.strategy, space.len());
        trials.expect(most);
        self.try_space(trials, &space, most, |index| {
            let place =
                trials.attempt(&space.point(index).expect("a number of the space"), self.passes().len())?;
            Ok(Tried { place, is_last: self.ends_with(trials, place) })
        })
        .map(drop)
    }

    /// Whether the strategy ends the search after this trial.
    pub(super) fn ends_with(&self, trials: &Trials, place: usize) -> bool {
        let (strategy, trial) = (&self.search.strategy, trials.get(place));
        let goal_met = strategy.stop_when_goals_met
            && trial.state == TrialState::Measured
            && !trial.goals.is_empty()
            && trial.meets_goals();
        goal_met || strategy.max_time.is_some_and(|most| trials.seconds() >= most)
    }

    /// The space of these passes.
    pub(super) fn space(&self, passes: &[usize]) -> SearchSpace<'_> {
        self.search.space(passes).expect("a configuration whose points cannot be numbered is refused")
    }

    /// Tries at most so many points of a space by the sampler of the strategy. Points that come again count, but are not
    /// tried again. Gives the places of the trials.
    pub(super) fn try_space(
        &self,
        trials: &Trials,
        space: &SearchSpace,
        most: u64,
        mut attempt: impl FnMut(u64) -> Result<Tried>,
    ) -> Result<Vec<usize>> {
        let mut proposals = Proposals::new(&self.search.strategy, space.clone());
        let mut known: BTreeMap<u64, usize> = BTreeMap::new();
        for _ in 0..most {
            self.runner.environment.cancel.check()?;
            let results = || {
                let (indices, places): (Vec<u64>, Vec<usize>) = known.iter().unzip();
                let index_of = |place: usize| {
                    indices[places.iter().position(|known| *known == place).expect("one of them")]
                };
                trials.sorted(&places).into_iter().map(index_of).collect()
            };
            let Some(index) = proposals.next(results) else { break };
            if known.contains_key(&index) {
                continue;
            }
            let tried = attempt(index)?;
            known.insert(index, tried.place);
            if tried.is_last {
                break;
            }
        }
        Ok(known.into_values().collect())
    }
}

/// What became of a point.
pub(super) struct Tried {
    pub(super) place: usize,
    /// No other point follows.
    pub(super) is_last: bool,
}
