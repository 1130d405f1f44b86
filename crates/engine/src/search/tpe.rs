//! A tree-structured Parzen estimator over choices.
//!
//! J. Bergstra et al., "Algorithms for Hyper-Parameter Optimization" (2011): of the points tried so far, a tenth are the
//! good ones, l is the density of these and g that of all others; the next point is that of the largest l/g. A density is a
//! mixture of one kernel for each point and a uniform prior. The kernel of a choice among c is that of J. Aitchison and
//! C. Aitken (1976), 1 − h for the same choice and h/(c − 1) for each other one, here with h = (c − 1) / (c · (1 + n)) of n
//! points, so that it narrows as points come. With `multivariate` a point's kernel is the product over all choices, else
//! every choice has a mixture of its own. Choices that a point does not have (those of another alternative) count as
//! unknown: with `group` such a point says nothing about them, else it takes all values for equally likely.
//!
//! The first points are drawn at random, in Olive's order for the seed. In spaces up to [`ALL`] points every one that was
//! not tried is compared, in larger ones so many that are drawn.

use olive_config::{RandomOrder, SearchSpace};
use olive_core::python_random::PythonRandom;
use std::collections::BTreeSet;

/// Points before the estimate begins, as in optuna.
const AT_RANDOM: usize = 10;
/// The largest number of good points, as in optuna.
const MOST_GOOD: usize = 25;
/// The largest space of which all points are compared.
const ALL: u64 = 4096;

pub(super) struct Tpe<'a> {
    space: SearchSpace<'a>,
    multivariate: bool,
    group: bool,
    start: RandomOrder,
    random: PythonRandom,
    tried: BTreeSet<u64>,
}

/// A choice of a point: which one, among how many.
#[derive(Debug, Clone, PartialEq)]
struct Choice {
    name: String,
    position: usize,
    among: usize,
}

impl<'a> Tpe<'a> {
    pub(super) fn new(space: SearchSpace<'a>, seed: u64, multivariate: bool, group: bool) -> Tpe<'a> {
        let start = RandomOrder::new(seed, space.len());
        Tpe { space, multivariate, group, start, random: PythonRandom::new(seed), tried: BTreeSet::new() }
    }

    /// The next point, given those tried so far from the best to the worst; `None` once all were tried.
    pub(super) fn next(&mut self, results: &[u64]) -> Option<u64> {
        let next = match results.len() {
            n if n < AT_RANDOM => self.start.by_ref().find(|index| !self.tried.contains(index)),
            n => {
                let candidates = self.candidates();
                let good = n.div_ceil(10).min(MOST_GOOD);
                let [good, bad] = [&results[..good], &results[good..]].map(|part| self.choices_of(part));
                let ratio = |index: &u64| {
                    let point = self.choices(*index);
                    self.log_density(&point, &good) - self.log_density(&point, &bad)
                };
                // The first of equals.
                candidates.into_iter().rev().max_by(|one, other| ratio(one).total_cmp(&ratio(other)))
            }
        };
        self.tried.extend(next);
        next
    }

    fn candidates(&mut self) -> Vec<u64> {
        let len = self.space.len();
        if len <= ALL {
            return (0..len).filter(|index| !self.tried.contains(index)).collect();
        }
        let mut drawn: Vec<u64> = (0..ALL).map(|_| self.random.below(len)).collect();
        drawn.retain(|index| !self.tried.contains(index));
        drawn
    }

    fn choices_of(&self, indices: &[u64]) -> Vec<Vec<Choice>> {
        indices.iter().map(|index| self.choices(*index)).collect()
    }

    /// The choices of a point that has others.
    fn choices(&self, index: u64) -> Vec<Choice> {
        let point = self.space.point(index).expect("a number of the space");
        let mut choices = Vec::new();
        for (pass, choice) in self.space.passes().zip(&point.choices) {
            choices.push(Choice {
                name: pass.name.clone(),
                position: choice.alternative,
                among: pass.alternatives.len(),
            });
            let options = pass.alternatives.get(choice.alternative).map_or(&[][..], |found| &found.options);
            choices.extend(options.iter().zip(&choice.values).map(|(option, chosen)| Choice {
                name: format!("{}[{}].{}", pass.name, choice.alternative, option.name),
                position: chosen.position,
                among: option.values.len(),
            }));
        }
        choices.retain(|choice| choice.among > 1);
        choices
    }

    fn log_density(&self, point: &[Choice], observed: &[Vec<Choice>]) -> f64 {
        let n = observed.len() as f64;
        let kernel = |choice: &Choice, other: &[Choice]| {
            let c = choice.among as f64;
            let bandwidth = (c - 1.0) / (c * (1.0 + n));
            match other.iter().find(|other| other.name == choice.name) {
                Some(other) if other.position == choice.position => Some(1.0 - bandwidth),
                Some(_) => Some(bandwidth / (c - 1.0)),
                None if self.group => None,
                None => Some(1.0 / c),
            }
        };
        let uniform =
            |choices: &[Choice]| choices.iter().map(|choice| 1.0 / choice.among as f64).product::<f64>();
        let mixture = |choices: &[Choice]| {
            let product = |other: &Vec<Choice>| {
                choices.iter().map(|choice| kernel(choice, other)).product::<Option<f64>>()
            };
            let known: Vec<f64> = observed.iter().filter_map(product).collect();
            (uniform(choices) + known.iter().sum::<f64>()) / (1.0 + known.len() as f64)
        };
        match self.multivariate {
            true => mixture(point).ln(),
            false => point.chunks(1).map(|choice| mixture(choice).ln()).sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use olive_config::{Alternative, SearchedOption, SearchedPass};
    use serde_json::json;

    /// Passes whose alternatives have options of so many values.
    fn passes(passes: &[&[&[usize]]]) -> Vec<SearchedPass> {
        let option = |(index, values): (usize, &usize)| SearchedOption {
            name: format!("o{index}"),
            keys: Vec::new(),
            values: (0..*values).map(|value| json!(value)).collect(),
        };
        let alternative =
            |options: &&[usize]| Alternative { options: options.iter().enumerate().map(option).collect() };
        let pass = |(index, alternatives): (usize, &&[&[usize]])| SearchedPass {
            name: format!("p{index}"),
            alternatives: alternatives.iter().map(alternative).collect(),
        };
        passes.iter().enumerate().map(pass).collect()
    }

    /// Tries points until the best one of `cost` is found; gives how many that took.
    fn tries(passes: &[SearchedPass], seed: u64, multivariate: bool, cost: impl Fn(u64) -> f64) -> usize {
        let space = SearchSpace::new(passes.iter()).unwrap();
        let best = (0..space.len()).min_by(|a, b| cost(*a).total_cmp(&cost(*b))).unwrap();
        let mut tpe = Tpe::new(space, seed, multivariate, true);
        let mut results: Vec<u64> = Vec::new();
        loop {
            let next = tpe.next(&results).expect("the best is not found yet");
            assert!(!results.contains(&next), "no point comes twice");
            results.push(next);
            if next == best {
                return results.len();
            }
            results.sort_by(|a, b| cost(*a).total_cmp(&cost(*b)));
        }
    }

    #[test]
    fn good_points_are_found_sooner_than_by_chance() {
        let passes = passes(&[&[&[8, 8]], &[&[8]]]);
        // A bowl with its lowest point at (5, 2, 6) of 512: by chance it takes 256 tries in the mean.
        let cost = |index: u64| {
            let at = [index % 8, index / 8 % 8, index / 64];
            at.iter().zip([5, 2, 6]).map(|(x, y)| (*x as f64 - y as f64).powi(2)).sum()
        };
        for multivariate in [true, false] {
            let mean =
                (0..20).map(|seed| tries(&passes, seed, multivariate, cost)).sum::<usize>() as f64 / 20.0;
            assert!(mean < 128.0, "multivariate {multivariate}: {mean} tries");
        }
    }

    #[test]
    fn every_point_comes_once_and_the_seed_decides() {
        let passes = passes(&[&[&[3, 2], &[2], &[]], &[&[], &[2]]]);
        let order = |seed: u64, group: bool| {
            let space = SearchSpace::new(passes.iter()).unwrap();
            let mut tpe = Tpe::new(space, seed, true, group);
            let mut results = Vec::new();
            while let Some(next) = tpe.next(&results) {
                results.push(next);
            }
            results
        };
        let first = order(1, true);
        let mut sorted = first.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..27).collect::<Vec<u64>>());
        assert_eq!(first, order(1, true));
        assert_ne!(first, order(2, true));
        assert_ne!(first, order(1, false), "points of other alternatives count");
        assert_eq!(first[..10], RandomOrder::new(1, 27).take(10).collect::<Vec<u64>>());
    }

    #[test]
    fn in_spaces_too_large_to_compare_points_are_drawn() {
        let passes = passes(&[&[&[100, 100, 100]]]);
        let mut tpe = Tpe::new(SearchSpace::new(passes.iter()).unwrap(), 3, true, true);
        let mut results: Vec<u64> = Vec::new();
        for _ in 0..12 {
            let next = tpe.next(&results).unwrap();
            results.push(next);
            results.sort_unstable();
        }
        assert!(results.iter().all(|index| *index < 1_000_000));
    }
}
