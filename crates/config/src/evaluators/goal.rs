//! Values that are aimed at.

use crate::option::{Block, NUMBER};
use crate::{choice, options};
use serde::{Deserialize, Serialize};

options! {
    /// A value that is aimed at, as such or relative to that of the input model.
    #[derive(Debug, Clone, Copy, PartialEq)]
    pub struct Goal {
        GOAL_OPTIONS {
            /// What `value` means: a limit, or the least gain or the largest loss against the input model, as such or
            /// in per cent.
            pub kind as "type": GoalKind, required();
            /// Not negative, except for `threshold`.
            pub value: f64 = NUMBER, required();
        }
    }
}

pub(crate) static GOAL: Block = Block {
    name: "the goal",
    doc: "A value that is aimed at. A value that could not be measured does not meet its goal.",
    wrapper: None,
    outer: &[],
    parts: &[GOAL_OPTIONS],
    open: None,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GoalKind {
    Threshold,
    MinImprovement,
    PercentMinImprovement,
    MaxDegradation,
    PercentMaxDegradation,
}

choice!(
    GoalKind: "threshold",
    "min-improvement",
    "percent-min-improvement",
    "max-degradation",
    "percent-max-degradation",
);

impl GoalKind {
    /// Whether the limit depends on the value of the input model.
    pub fn is_relative(self) -> bool {
        self != GoalKind::Threshold
    }
}

impl Goal {
    /// The value that is to be reached, with Olive's formulas. `baseline` is the value of the input model. `None`: that is
    /// needed and not known.
    pub fn limit(&self, baseline: Option<f64>, higher_is_better: bool) -> Option<f64> {
        let gain = if higher_is_better { self.value } else { -self.value };
        let limit = |formula: fn(f64, f64) -> f64| baseline.map(|baseline| formula(baseline, gain));
        match self.kind {
            GoalKind::Threshold => Some(self.value),
            GoalKind::MinImprovement => limit(|baseline, gain| baseline + gain),
            GoalKind::MaxDegradation => limit(|baseline, gain| baseline - gain),
            GoalKind::PercentMinImprovement => limit(|baseline, gain| baseline * (1.0 + gain / 100.0)),
            GoalKind::PercentMaxDegradation => limit(|baseline, gain| baseline * (1.0 - gain / 100.0)),
        }
    }

    /// Whether a value is as good as the limit. A value or a limit that is missing or no number meets nothing.
    pub fn met(&self, value: Option<f64>, baseline: Option<f64>, higher_is_better: bool) -> bool {
        value
            .zip(self.limit(baseline, higher_is_better))
            .is_some_and(|(value, limit)| if higher_is_better { value >= limit } else { value <= limit })
    }

    /// Why the value is none that such a goal can have. A share of a value cannot be gained or lost beyond that value.
    pub(crate) fn misfit(&self, higher_is_better: bool) -> Option<String> {
        let value = self.value;
        let bounded = match self.kind {
            GoalKind::Threshold => return None,
            GoalKind::MinImprovement | GoalKind::MaxDegradation => {
                return (value < 0.0).then(|| format!("expected a number, 0 or more, found {value}"));
            }
            GoalKind::PercentMinImprovement => !higher_is_better,
            GoalKind::PercentMaxDegradation => higher_is_better,
        };
        match bounded {
            true if value <= 0.0 || value >= 100.0 => {
                Some(format!("expected a percentage between 0 and 100, found {value}"))
            }
            false if value <= 0.0 => Some(format!("expected a percentage above 0, found {value}")),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [GoalKind; 5] = [
        GoalKind::Threshold,
        GoalKind::MinImprovement,
        GoalKind::PercentMinImprovement,
        GoalKind::MaxDegradation,
        GoalKind::PercentMaxDegradation,
    ];

    #[test]
    fn limits_follow_the_formulas_in_both_directions() {
        let limits = |higher_is_better| {
            KINDS.map(|kind| Goal { kind, value: 5.0 }.limit(Some(200.0), higher_is_better).expect("a limit"))
        };
        assert_eq!(limits(true), [5.0, 205.0, 210.0, 195.0, 190.0]);
        assert_eq!(limits(false), [5.0, 195.0, 190.0, 205.0, 210.0]);
    }

    #[test]
    fn thresholds_need_no_baseline_and_what_is_missing_meets_nothing() {
        for kind in KINDS {
            let goal = Goal { kind, value: 100.0 };
            let threshold = kind == GoalKind::Threshold;
            assert_eq!(goal.limit(None, false), threshold.then_some(100.0), "{kind:?}");
            assert_eq!(goal.met(Some(99.0), None, false), threshold, "{kind:?}");
            for missing in [None, Some(f64::NAN)] {
                assert!(!goal.met(missing, Some(1.0), true) && !goal.met(missing, Some(1.0), false));
            }
        }
        // A perplexity of 2528 is no better than a limit of 100.
        let goal = Goal { kind: GoalKind::Threshold, value: 100.0 };
        assert!(!goal.met(Some(2528.0), None, false) && goal.met(Some(2528.0), None, true));
        assert!(goal.met(Some(100.0), None, false), "as good as the limit");
    }

    #[test]
    fn the_perplexity_of_an_int4_model_may_be_five_per_cent_worse() {
        let goal = Goal { kind: GoalKind::PercentMaxDegradation, value: 5.0 };
        let baseline = Some(2_583.905_029_296_875);
        assert!((goal.limit(baseline, false).expect("a limit") - 2_713.100_280_761_72).abs() < 1e-9);
        assert!(goal.met(Some(2_528.822_998_046_875), baseline, false));
    }

    #[test]
    fn shares_have_bounds_where_there_is_nothing_beyond_them() {
        let fits = |kind, value, higher_is_better| Goal { kind, value }.misfit(higher_is_better).is_none();
        for higher_is_better in [true, false] {
            assert!(fits(GoalKind::Threshold, -1.0, higher_is_better));
            for kind in [GoalKind::MinImprovement, GoalKind::MaxDegradation] {
                assert!(fits(kind, 0.0, higher_is_better) && !fits(kind, -0.5, higher_is_better));
            }
            let gain = |value| fits(GoalKind::PercentMinImprovement, value, higher_is_better);
            let loss = |value| fits(GoalKind::PercentMaxDegradation, value, higher_is_better);
            assert!(!gain(0.0) && gain(99.0) && !loss(0.0) && loss(99.0));
            assert_eq!((gain(100.0), loss(100.0)), (higher_is_better, !higher_is_better));
        }
    }
}
