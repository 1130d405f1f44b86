//! Characters taken apart, marks in their canonical order.

use crate::char::{canonical_combining_class, decompose_canonical, decompose_compatible};
use std::collections::VecDeque;
use std::iter::Fuse;

#[derive(Clone, Copy)]
pub(crate) enum Form {
    Canonical,
    Compatible,
}

/// The characters of a text taken apart, each with 0 for the first of a character and 1 for the others.
#[derive(Clone)]
pub struct Decompositions<I> {
    source: Fuse<I>,
    form: Form,
    /// Characters with their classes. After those that are ready there is one that stays where it is, with the marks after it so
    /// far.
    buffer: VecDeque<(u8, char, isize)>,
    ready: usize,
}

impl<I: Iterator<Item = char>> Decompositions<I> {
    pub(crate) fn new(source: I, form: Form) -> Self {
        Self { source: source.fuse(), form, buffer: VecDeque::new(), ready: 0 }
    }

    fn take_apart(&mut self, character: char) {
        let mut change = 0;
        let form = self.form;
        let push = |part| {
            self.push(part, change);
            change = 1;
        };
        match form {
            Form::Canonical => decompose_canonical(character, push),
            Form::Compatible => decompose_compatible(character, push),
        }
    }

    fn push(&mut self, character: char, change: isize) {
        let class = canonical_combining_class(character);
        if class == 0 {
            self.release();
        }
        self.buffer.push_back((class, character, change));
    }

    fn release(&mut self) {
        if self.buffer.len() > self.ready + 1 {
            // Of one class, marks keep their order.
            self.buffer.make_contiguous()[self.ready..].sort_by_key(|(class, ..)| *class);
        }
        self.ready = self.buffer.len();
    }

    /// The next character with its class.
    pub(crate) fn next_of_class(&mut self) -> Option<(u8, char, isize)> {
        while self.ready == 0 {
            match self.source.next() {
                Some(character) => self.take_apart(character),
                None if self.buffer.is_empty() => return None,
                None => self.release(),
            }
        }
        self.ready -= 1;
        self.buffer.pop_front()
    }
}

impl<I: Iterator<Item = char>> Iterator for Decompositions<I> {
    type Item = (char, isize);

    fn next(&mut self) -> Option<(char, isize)> {
        self.next_of_class().map(|(_, character, change)| (character, change))
    }
}
