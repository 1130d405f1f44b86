//! The file of records: LevelDB's log behind a header of W&B's own.
//!
//! The file is cut into blocks of 32 KiB, the header of seven bytes included. A record lies in one block or is continued in the next
//! ones, each part behind the CRC-32 (of zlib) of its kind and data, its length as u16 and its kind, little-endian. What is too
//! short at the end of a block for such a head is zeros.

use crc::{CRC_32_ISO_HDLC, Crc};

/// `:W&B`, a magic number, version 0.
pub const HEADER: [u8; 7] = [b':', b'W', b'&', b'B', 0xe1, 0xbe, 0];

const BLOCK: usize = 32 << 10;
const HEAD: usize = 7;
const FULL: u8 = 1;
const FIRST: u8 = 2;
const MIDDLE: u8 = 3;
const LAST: u8 = 4;

const CRC_32: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// The bytes of a record that begins at `at` in the file.
pub fn framed(at: usize, record: &[u8]) -> Vec<u8> {
    let mut framed = Vec::with_capacity(record.len() + 2 * HEAD);
    let (mut rest, mut is_first) = (record, true);
    loop {
        let mut room = BLOCK - (at + framed.len()) % BLOCK;
        if room < HEAD {
            framed.resize(framed.len() + room, 0);
            room = BLOCK;
        }
        let (part, after) = rest.split_at(rest.len().min(room - HEAD));
        let kind = match (is_first, after.is_empty()) {
            (true, true) => FULL,
            (true, false) => FIRST,
            (false, false) => MIDDLE,
            (false, true) => LAST,
        };
        let mut checksum = CRC_32.digest();
        checksum.update(&[kind]);
        checksum.update(part);
        framed.extend_from_slice(&checksum.finalize().to_le_bytes());
        framed.extend_from_slice(&(part.len() as u16).to_le_bytes());
        framed.push(kind);
        framed.extend_from_slice(part);
        (rest, is_first) = (after, false);
        if rest.is_empty() {
            return framed;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_the_bytes_that_wandb_writes() {
        // CRC-32 of "123456789" is 0xcbf43926; here the kind stands for the first digit.
        let framed = framed(7, b"23456789");
        let checksum = CRC_32.checksum(b"\x0123456789").to_le_bytes();
        assert_eq!(
            (&framed[..4], &framed[4..7], &framed[7..]),
            (&checksum[..], &[8, 0, FULL][..], &b"23456789"[..])
        );
        assert_eq!(CRC_32.checksum(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn records_go_on_in_the_next_block_and_short_ends_are_zeros() {
        let long = vec![9; 2 * BLOCK];
        let framed_long = framed(HEAD, &long);
        let head =
            |at: usize| (u16::from_le_bytes([framed_long[at + 4], framed_long[at + 5]]), framed_long[at + 6]);
        // The first block has the header of the file as well.
        let whole = BLOCK - HEAD;
        assert_eq!(head(0), ((whole - HEAD) as u16, FIRST));
        assert_eq!(head(whole), (whole as u16, MIDDLE));
        assert_eq!(head(whole + BLOCK), (21, LAST));
        assert_eq!(framed_long.len(), long.len() + 3 * HEAD);
        let at_the_end = framed(BLOCK - 3, b"x");
        assert_eq!((&at_the_end[..3], at_the_end[3 + 6]), (&[0, 0, 0][..], FULL));
        assert_eq!(framed(BLOCK - HEAD, b"x")[6], FIRST, "a head without data, then the data");
    }
}
