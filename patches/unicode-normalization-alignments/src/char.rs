//! Properties of single characters, as Unicode 9 has them.

use unicode_normalization::char as latest;

/// The first character that is not what it is in every form.
const FIRST: char = '\u{a0}';
/// The first character with a combining class, which is a mark as well.
const FIRST_COMBINING: char = '\u{300}';

/// Ranges in which no character of Unicode 9 decomposes, combines or is a mark, and some later one does.
const LATER: [(u32, u32); 41] = [
    (0x7fd, 0x7fd),
    (0x897, 0x8d3),
    (0x9fe, 0x9fe),
    (0xafa, 0xaff),
    (0xb55, 0xb55),
    (0xc04, 0xc3c),
    (0xcf3, 0xd00),
    (0xd3b, 0xd3c),
    (0xd81, 0xd81),
    (0xeba, 0xeba),
    (0xece, 0xece),
    (0x1715, 0x1715),
    (0x180f, 0x180f),
    (0x1abf, 0x1aeb),
    (0x1cf7, 0x1cf7),
    (0x1df6, 0x1dfa),
    (0x32ff, 0x32ff),
    (0xa7f1, 0xa7f4),
    (0xa82c, 0xa82c),
    (0xa8ff, 0xa8ff),
    (0xab69, 0xab69),
    (0x105c9, 0x107ba),
    (0x10d24, 0x10f85),
    (0x11070, 0x11074),
    (0x110c2, 0x110c2),
    (0x11145, 0x11146),
    (0x111c9, 0x111c9),
    (0x111ce, 0x111cf),
    (0x11241, 0x11241),
    (0x1133b, 0x1133b),
    (0x11383, 0x113e2),
    (0x1145e, 0x1145e),
    (0x1182c, 0x11b67),
    (0x11d31, 0x1612f),
    (0x16d68, 0x16f4f),
    (0x16f7f, 0x16f87),
    (0x16fe4, 0x16ff1),
    (0x1ccd6, 0x1cf46),
    (0x1e030, 0x1e6f5),
    (0x1f16c, 0x1f16c),
    (0x1fbf0, 0x1fbf9),
];

/// Marks that are none since Unicode 12.
const FORMER_MARKS: [char; 2] = ['\u{1cf2}', '\u{1cf3}'];

#[inline]
fn is_later(character: char) -> bool {
    // The widest gaps between the ranges, in which most text is.
    if matches!(character, ..'\u{7fd}' | '\u{3300}'..'\u{a7f1}' | '\u{ab6a}'..'\u{105c9}') {
        return false;
    }
    let code = u32::from(character);
    let after = LATER.partition_point(|(first, _)| *first <= code);
    after > 0 && code <= LATER[after - 1].1
}

/// Gives the characters of the full canonical decomposition to `emit`.
pub fn decompose_canonical(character: char, mut emit: impl FnMut(char)) {
    if character < FIRST || is_later(character) {
        return emit(character);
    }
    latest::decompose_canonical(character, emit);
}

/// Gives the characters of the full compatibility decomposition to `emit`.
pub fn decompose_compatible(character: char, mut emit: impl FnMut(char)) {
    if character < FIRST || is_later(character) {
        return emit(character);
    }
    latest::decompose_compatible(character, emit);
}

/// The character that two are composed to.
#[inline]
pub fn compose(first: char, second: char) -> Option<char> {
    if second < FIRST_COMBINING {
        return None;
    }
    latest::compose(first, second).filter(|composed| !is_later(*composed))
}

/// 0 for what stays where it is.
#[inline]
pub fn canonical_combining_class(character: char) -> u8 {
    match character {
        ..FIRST_COMBINING => 0,
        character => match latest::canonical_combining_class(character) {
            class if class > 0 && is_later(character) => 0,
            class => class,
        },
    }
}

/// Whether the character is of the general category Mark.
pub fn is_combining_mark(character: char) -> bool {
    let is_mark = || latest::is_combining_mark(character) && !is_later(character);
    character >= FIRST_COMBINING && (FORMER_MARKS.contains(&character) || is_mark())
}
