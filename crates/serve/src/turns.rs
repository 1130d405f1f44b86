//! Whose turn it is: equal time for all that have work.

use std::time::Duration;

/// What each has had.
pub(crate) struct Turns {
    spent: Vec<Duration>,
    /// What had the one whose turn was last, before it. Who had nothing to do for a while does not catch up.
    clock: Duration,
}

impl Turns {
    /// Nobody has had anything yet.
    pub(crate) fn of(count: usize) -> Turns {
        Turns { spent: vec![Duration::ZERO; count], clock: Duration::ZERO }
    }

    /// The one with work that has had least.
    pub(crate) fn next(&mut self, has_work: impl Fn(usize) -> bool) -> Option<usize> {
        let working = (0..self.spent.len()).filter(|one| has_work(*one));
        let next = working.min_by_key(|one| self.spent[*one].max(self.clock))?;
        self.clock = self.clock.max(self.spent[next]);
        self.spent[next] = self.clock;
        Some(next)
    }

    /// `one` has had so much more.
    pub(crate) fn spend(&mut self, one: usize, time: Duration) {
        self.spent[one] += time;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each gets of `rounds` turns that take so many milliseconds.
    fn shares(turns: &mut Turns, takes: [u64; 2], rounds: usize, has_work: [bool; 2]) -> [u64; 2] {
        let mut had = [0, 0];
        for _ in 0..rounds {
            let next = turns.next(|one| has_work[one]).unwrap();
            turns.spend(next, Duration::from_millis(takes[next]));
            had[next] += takes[next];
        }
        had
    }

    #[test]
    fn the_slow_and_the_quick_get_the_same_time() {
        let had = shares(&mut Turns::of(2), [50, 10], 600, [true, true]);
        assert!(had[0].abs_diff(had[1]) <= 50, "{had:?}");
    }

    #[test]
    fn who_rested_does_not_catch_up() {
        let mut turns = Turns::of(2);
        assert_eq!(shares(&mut turns, [10, 10], 100, [true, false]), [1000, 0]);
        let had = shares(&mut turns, [10, 10], 100, [true, true]);
        assert!(had[0].abs_diff(had[1]) <= 10, "{had:?}");
    }

    #[test]
    fn nobody_without_work_has_a_turn() {
        assert_eq!(Turns::of(3).next(|_| false), None);
        assert_eq!(Turns::of(3).next(|one| one == 2), Some(2));
    }
}
