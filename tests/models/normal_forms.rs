//! Normal forms of texts, for which tokenizers have the tables of Unicode 9.

use tokenizers::normalizers::StripAccents;
use tokenizers::tokenizer::normalizer::Range;
use tokenizers::{NormalizedString, Normalizer};

/// The beginnings of the digests are those of the crate `unicode-normalization-alignments` 0.1.12: each character after an `a`, 256
/// of them at a time.
#[test]
fn every_character_has_its_form_of_unicode_9() {
    type Form = fn(&mut NormalizedString) -> &mut NormalizedString;
    let forms: [(Form, &str); 4] = [
        (NormalizedString::nfd, "4c40835ed0086853"),
        (NormalizedString::nfkd, "ce503e6fed9e47de"),
        (NormalizedString::nfc, "4403673640a10304"),
        (NormalizedString::nfkc, "b7f2d8d0a46449c9"),
    ];
    for (form, expected) in forms {
        let mut hasher = blake3::Hasher::new();
        for block in 0..0x1100u32 {
            let characters = (block << 8..(block + 1) << 8).filter_map(char::from_u32);
            let text: String = characters.flat_map(|character| ['a', character]).collect();
            hasher.update(form(&mut NormalizedString::from(text)).get().as_bytes());
        }
        assert_eq!(hasher.finalize().to_hex()[..16], *expected);
    }
}

#[test]
fn characters_are_known_by_where_they_come_from() {
    let mut text = NormalizedString::from("e\u{301}x\u{323}\u{307}\u{fb01}");
    text.nfkc();
    assert_eq!(text.get(), "\u{e9}\u{1e8b}\u{323}fi");
    let origin = |range| text.convert_offsets(Range::Normalized(range));
    assert_eq!((origin(0..2), origin(7..8)), (Some(0..1), Some(8..11)));
}

/// Vedic tone U+1CF2 was a mark then, and U+1DF6 was not there yet.
#[test]
fn marks_are_those_of_unicode_9() {
    let mut text = NormalizedString::from("a\u{1cf2}\u{1df6}\u{301}b");
    StripAccents.normalize(&mut text).unwrap();
    assert_eq!(text.get(), "a\u{1df6}b");
}
