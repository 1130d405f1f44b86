//! Parquet files by hand, with whatever their page headers say.

/// Fields of a struct and elements of a list, in Thrift's compact protocol. A field says by how much its number is above that
/// of the one before.
type Bytes = Vec<u8>;

fn varint(mut value: u64) -> Bytes {
    let mut bytes = Bytes::new();
    while value > 0x7f {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

pub(crate) fn int(step: u8, value: i64) -> Bytes {
    const I32: u8 = 5;
    const I64: u8 = 6;
    let kind = if i32::try_from(value).is_ok() { I32 } else { I64 };
    [vec![step << 4 | kind], varint((value << 1 ^ value >> 63) as u64)].concat()
}

fn long(step: u8, value: usize) -> Bytes {
    [vec![step << 4 | 6], varint(value as u64 * 2)].concat()
}

fn text(text: &str) -> Bytes {
    [varint(text.len() as u64), text.into()].concat()
}

/// A text of which there is only its length.
pub(crate) fn endless_text(step: u8, length: u64) -> Bytes {
    [vec![step << 4 | 8], varint(length)].concat()
}

pub(crate) fn structure(step: u8, fields: &[Bytes]) -> Bytes {
    [vec![step << 4 | 12], fields.concat(), vec![0]].concat()
}

fn list(step: u8, kind: u8, elements: &[Bytes]) -> Bytes {
    [vec![step << 4 | 9, 0xf0 | kind], varint(elements.len() as u64), elements.concat()].concat()
}

/// The file of one column of 32-bit integers, packed with Snappy, with one row in each of its groups: 7. `header` makes the
/// fields of a page's header, of which the third says how many bytes follow, here six.
pub(crate) fn file(groups: usize, header: impl Fn() -> Vec<Bytes>) -> Bytes {
    let content = [4, 3 << 2, 7, 0, 0, 0];
    let page = [header().concat(), vec![0], content.to_vec()].concat();
    let mut bytes = b"PAR1".to_vec();
    let mut row_groups = Vec::new();
    for _ in 0..groups {
        let column = [
            int(1, 1),
            list(1, 5, &[vec![0]]),
            list(1, 8, &[text("n")]),
            int(1, 1),
            long(1, 1),
            long(1, page.len()),
            long(1, page.len()),
            long(2, bytes.len()),
        ];
        let chunk = [long(2, bytes.len()), structure(1, &column), vec![0]].concat();
        row_groups.push([list(1, 12, &[chunk]), long(1, page.len()), long(1, 1), vec![0]].concat());
        bytes.extend(&page);
    }
    let name = |step: u8, name: &str| [vec![step << 4 | 8], text(name)].concat();
    let root = [name(4, "schema"), int(1, 1), vec![0]].concat();
    let column = [int(1, 1), int(2, 0), name(1, "n"), vec![0]].concat();
    let footer =
        [int(1, 1), list(1, 12, &[root, column]), long(1, groups), list(1, 12, &row_groups), vec![0]]
            .concat();
    bytes.extend(&footer);
    bytes.extend((footer.len() as u32).to_le_bytes());
    bytes.extend(b"PAR1");
    bytes
}

/// The header of a data page that is said to have this many bytes, in memory and in the file; `more` is in its own header.
pub(crate) fn data_page(unpacked: i64, packed: i64, more: &[Bytes]) -> Vec<Bytes> {
    let of_data = [&[int(1, 1), int(1, 0), int(1, 3), int(1, 3)], more].concat();
    vec![int(1, 0), int(1, unpacked), int(1, packed), structure(2, &of_data)]
}
