//! What `tokenizers` uses of the crate `unicode-normalization-alignments`: normalisation that tells where characters come from.
//!
//! The crate has its tables as thousands of slices, each with an address and a relocation: 0.2 MB more of a program than those of
//! `unicode-normalization`. They are those of Unicode 9, and so they stay: what a tokenizer makes of later characters is
//! what it was trained with.

pub mod char;
mod decompose;
mod recompose;

pub use decompose::Decompositions;
pub use recompose::Recompositions;

use decompose::Form;
use std::str::Chars;

/// The normal forms of a text (Unicode Standard Annex 15), with what is to be known of where each character comes from: 1 for
/// one that was added, 0 for one that stands for one of the text, -n where n more were taken in.
pub trait UnicodeNormalization<I: Iterator<Item = char>>: Sized {
    fn characters(self) -> I;

    /// Canonical decomposition.
    fn nfd(self) -> Decompositions<I> {
        Decompositions::new(self.characters(), Form::Canonical)
    }

    /// Compatibility decomposition.
    fn nfkd(self) -> Decompositions<I> {
        Decompositions::new(self.characters(), Form::Compatible)
    }

    /// Canonical decomposition, then composition.
    fn nfc(self) -> Recompositions<I> {
        Recompositions::new(self.nfd())
    }

    /// Compatibility decomposition, then composition.
    fn nfkc(self) -> Recompositions<I> {
        Recompositions::new(self.nfkd())
    }
}

impl<'a> UnicodeNormalization<Chars<'a>> for &'a str {
    fn characters(self) -> Chars<'a> {
        self.chars()
    }
}

impl<I: Iterator<Item = char>> UnicodeNormalization<I> for I {
    fn characters(self) -> I {
        self
    }
}
