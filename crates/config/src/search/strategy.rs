//! How a search goes through its points.

use super::order::{PointOrder, RandomOrder};
use crate::option::{Block, Kind, POSITIVE, at_least};
use crate::origin::Era;
use crate::{choice, options};
use serde::{Deserialize, Serialize};

/// How a search goes through its points.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SearchStrategy {
    pub order: ExecutionOrder,
    pub sampler: Sampler,
    /// Points that are tried, of every space of a search pass by pass; `None`: all.
    pub max_samples: Option<usize>,
    /// Runs, of a joint search.
    pub max_iter: Option<usize>,
    /// Seconds, of a joint search.
    pub max_time: Option<f64>,
    /// End with the first result that meets all goals, of a joint search.
    pub stop_when_goals_met: bool,
    /// How many of the best models are kept; `None`: the best.
    pub output_model_num: Option<usize>,
    /// Whether values of options are varied, and not only the alternatives of passes.
    pub include_pass_params: bool,
    /// Models that go on to the next pass, of a search pass by pass; `None`: all, the best first.
    pub beam: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExecutionOrder {
    /// One space of all passes.
    Joint,
    /// A space for every pass.
    PassByPass,
}

choice!(ExecutionOrder: "joint", "pass-by-pass");

/// Which point comes next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sampler {
    Sequential,
    Random {
        seed: u64,
        with_replacement: bool,
    },
    /// Tree-structured Parzen estimator, over the ranked values of the results so far.
    Tpe {
        seed: u64,
        multivariate: bool,
        group: bool,
    },
    /// Successive halving on the loss of held-out rows: trainings begin with `min_steps` steps, and of those of a round
    /// one in `eta` goes on with `eta` times as many.
    Halving {
        eta: usize,
        min_steps: Option<usize>,
    },
}

impl SearchStrategy {
    /// `joint, random with seed 1, at most 3 points`.
    pub fn describe(&self) -> String {
        let order = match self.order {
            ExecutionOrder::Joint => "joint",
            ExecutionOrder::PassByPass => "pass by pass",
        };
        let sampler = match self.sampler {
            Sampler::Sequential => "sequential".to_owned(),
            Sampler::Random { seed, with_replacement: false } => format!("random with seed {seed}"),
            Sampler::Random { seed, with_replacement: true } => {
                format!("random with seed {seed} and replacement")
            }
            Sampler::Tpe { seed, .. } => format!("tpe with seed {seed}"),
            Sampler::Halving { eta, .. } => format!("halving, one in {eta} goes on"),
        };
        let most = [self.max_samples, self.max_iter].into_iter().flatten().min();
        let most = most.map_or(String::new(), |most| format!(", at most {most} points"));
        format!("{order}, {sampler}{most}")
    }
}

impl Sampler {
    /// The order of a space with `len` points, where it does not depend on results.
    pub fn order(&self, len: u64) -> Option<PointOrder> {
        match *self {
            Sampler::Sequential | Sampler::Halving { .. } => Some(PointOrder::Sequential(0..len)),
            Sampler::Random { seed, with_replacement: false } => {
                Some(PointOrder::Random(RandomOrder::new(seed, len)))
            }
            Sampler::Random { seed, with_replacement: true } => {
                Some(PointOrder::Replaced(RandomOrder::new(seed, len)))
            }
            Sampler::Tpe { .. } => None,
        }
    }
}

/// The word for a sampler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SamplerName {
    Sequential,
    Random,
    Tpe,
    Halving,
}

choice!(SamplerName: "sequential|exhaustive", "random", "tpe", "halving");

pub(crate) static SEARCH: Block = Block {
    name: "search_strategy",
    doc: "Several values are tried for options of passes, and the best results kept. `true` stands for all defaults. A \
          scalar option of a pass, those of `training_args` among them, may have a list of values, and `\"SEARCHABLE_VALUES\"` \
          stands for Olive's own values of `r`, `int4_block_size`, `int4_is_symmetric` and `int4_algo_config`; an entry of \
          `passes` may be a list of passes. The points are numbered as in Olive: the first option of the first pass changes \
          fastest. What is better says an evaluator.",
    wrapper: Some("sampler_config"),
    outer: STRATEGY,
    parts: &[SAMPLER],
    open: None,
};

/// The options of the sampler up to Olive 0.6.
pub(crate) static SAMPLER_CONFIG: Block = Block {
    name: "search_algorithm_config",
    doc: "The options of the sampler, up to Olive 0.6.",
    wrapper: None,
    outer: &[],
    parts: &[SAMPLER],
    open: None,
};

options! {
    /// What a file says of a search.
    pub struct StrategyOptions {
        STRATEGY {
            /// All passes at once, or one after the other, each on the best results of the one before.
            pub execution_order: ExecutionOrder, default("\"joint\"");
            /// Which point comes next. `halving` is not in Olive: it stops trainings early whose loss on held-out rows is
            /// higher than that of others.
            pub sampler: SamplerName, was(&["search_algorithm"]), default("\"sequential\"");
            /// The options of the sampler, up to Olive 0.6.
            - "search_algorithm_config" = Kind::Block(&SAMPLER_CONFIG), only(Era::Old);
            /// How many of the best models are kept; null is the best.
            pub output_model_num: Option<usize> = at_least(1);
            /// joint: end with the first result that meets all goals.
            pub stop_when_goals_met: bool, default("false");
            /// joint: at most so many runs.
            pub max_iter: Option<usize> = at_least(1);
            /// joint: no run begins after so many seconds.
            pub max_time: Option<f64> = POSITIVE;
            /// Vary options; false for the alternatives of passes alone.
            pub include_pass_params: bool, default("true");
            /// pass-by-pass: so many of the best models go on to the next pass; null is all of them. Not in Olive.
            pub beam: Option<usize> = at_least(1);
        }
        SAMPLER {
            /// At most so many points, pass by pass of every pass; 0 is all. Up to Olive 0.6 `random` and `tpe` try one unless it
            /// is given.
            pub max_samples: Option<usize> = at_least(0), was(&["num_samples"]);
            /// random, tpe: the same seed gives the same order, for `random` that of Olive.
            pub seed: u64 = at_least(0), default("1");
            /// random: whether a point may come again.
            pub with_replacement: bool, default("false");
            /// tpe: whether options are looked at together.
            pub multivariate: bool, default("true");
            /// tpe: whether options that occur together are.
            pub group: bool, default("true");
            /// halving: one training in so many goes on, with so many times as many steps.
            pub eta: usize = at_least(2), default("3");
            /// halving: steps of the first round; null follows from the number of points.
            pub min_steps: Option<usize> = at_least(1);
        }
    }
}
