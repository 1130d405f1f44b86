//! Characters put together again.

use crate::char::compose;
use crate::decompose::Decompositions;
use std::collections::VecDeque;

/// The characters of a text taken apart and composed, each with 1 for one that was added and -n for one that n more were taken
/// into.
#[derive(Clone)]
pub struct Recompositions<I> {
    parts: Decompositions<I>,
    /// What the next parts may be composed with.
    composed: Option<(char, isize)>,
    /// Marks after it, or after what was given last, that were not taken in.
    left: VecDeque<(char, isize)>,
    /// Class of the last of them: a mark of this class or a lower one is blocked. `None`: those that are left are to be given.
    last_class: Option<u8>,
}

impl<I: Iterator<Item = char>> Recompositions<I> {
    pub(crate) fn new(parts: Decompositions<I>) -> Self {
        Self { parts, composed: None, left: VecDeque::new(), last_class: None }
    }

    /// Takes a part in; what is to be given for it, before the marks that are left.
    fn add(&mut self, (class, part, change): (u8, char, isize)) -> Option<(char, isize)> {
        let Some((composed, changes)) = self.composed else {
            if class != 0 {
                return Some((part, change));
            }
            self.composed = Some((part, change));
            return None;
        };
        let is_blocked = self.last_class.is_some_and(|last| last >= class);
        match compose(composed, part).filter(|_| !is_blocked) {
            Some(whole) => self.composed = Some((whole, changes + change - 1)),
            None if class == 0 => {
                self.last_class = None;
                return self.composed.replace((part, change));
            }
            None => {
                self.left.push_back((part, change));
                self.last_class = Some(class);
            }
        }
        None
    }
}

impl<I: Iterator<Item = char>> Iterator for Recompositions<I> {
    type Item = (char, isize);

    fn next(&mut self) -> Option<(char, isize)> {
        loop {
            if self.last_class.is_none()
                && let Some(mark) = self.left.pop_front()
            {
                return Some(mark);
            }
            let Some(part) = self.parts.next_of_class() else {
                self.last_class = None;
                return self.composed.take().or_else(|| self.left.pop_front());
            };
            if let Some(given) = self.add(part) {
                return Some(given);
            }
        }
    }
}
