//! One pass after the other: all points of the first are run and measured, then those of the second on the best of these
//! results, and so on; after the last pass come the next best results. Without a limit all combinations are visited in the
//! end, as in Olive, only in another order.

use super::FlowSearch;
use super::joint::{Tried, most};
use super::trial::Trials;
use olive_config::{PassChoice, Search, SearchPoint};
use olive_core::Result;
use olive_core::event::{Event, EventSink};

/// How many trials there are.
pub(super) fn trials(search: &Search, passes: &[usize]) -> u64 {
    let beam = search.strategy.beam.map_or(u64::MAX, |beam| beam as u64);
    let (mut before, mut total) = (1_u64, 0_u64);
    for pass in passes {
        let len = search.space(&[*pass]).map_or(u64::MAX, |space| space.len());
        let points = before.saturating_mul(most(&search.strategy, len));
        total = total.saturating_add(points);
        before = before.saturating_mul(most(&search.strategy, len).min(beam));
    }
    total
}

impl FlowSearch<'_> {
    pub(super) fn try_stepwise(&self, trials: &Trials) -> Result<()> {
        trials.expect(self::trials(self.search, self.passes()));
        self.try_after(trials, &[])
    }

    /// Tries the pass that follows these choices, and then those after it.
    fn try_after(&self, trials: &Trials, choices: &[PassChoice]) -> Result<()> {
        let Some(pass) = self.passes().get(choices.len()) else { return Ok(()) };
        let strategy = &self.search.strategy;
        let space = self.space(&[*pass]);
        let mut tried: Vec<(usize, Vec<PassChoice>)> = Vec::new();
        let places = self.try_space(trials, &space, most(strategy, space.len()), |index| {
            let point = space.point(index).expect("a number of the space");
            let choices: Vec<PassChoice> = choices.iter().cloned().chain(point.choices).collect();
            let place = trials.attempt(&SearchPoint { index, choices: choices.clone() }, choices.len())?;
            tried.push((place, choices));
            Ok(Tried { place, is_last: false })
        })?;
        if choices.len() + 1 == self.passes().len() {
            return Ok(());
        }
        let sorted = trials.sorted(&places);
        let measured = sorted.iter().filter(|place| trials.has_model(**place)).copied();
        let (met, missed): (Vec<usize>, Vec<usize>) =
            measured.partition(|place| trials.get(*place).meets_goals());
        if met.is_empty() && !missed.is_empty() {
            let name = &self.config.passes[*pass].name;
            let message = format!("no result of `{name}` meets its goals; all of them go on");
            self.runner.environment.events.emit(Event::Warning { message });
        }
        let going_on = if met.is_empty() { missed } else { met };
        for place in going_on.into_iter().take(strategy.beam.unwrap_or(usize::MAX)) {
            let (_, choices) = tried.iter().find(|(known, _)| *known == place).expect("it was tried here");
            self.try_after(trials, choices)?;
        }
        Ok(())
    }
}
