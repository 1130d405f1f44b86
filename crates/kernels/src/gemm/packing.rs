//! Packing the operands of a product: which of them lie how, and which routine of [`super::pack`] takes them.

use super::matrix::MatRef;
use super::operand::{RightOperand, Stored};
use super::pack::{self, Bf16, Element, F16, F32};

/// Packs the panels of `rows` rows from `row` on, `len` steps from `start` on.
#[expect(unsafe_code, reason = "the packing takes pointers")]
pub(super) fn pack_left(
    mr: usize,
    a: MatRef,
    row: usize,
    rows: usize,
    start: usize,
    len: usize,
    out: *mut f32,
) {
    if len == 0 {
        return;
    }
    let (above, steps) = (a.row_stride, a.col_stride);
    let data = &a.data[row * above + start * steps..];
    assert!((rows - 1) * above + (len - 1) * steps < data.len(), "the panels lie in the matrix");
    let data = data.as_ptr();
    // SAFETY: reads: the assertion says that the last row's last step lies in the matrix, and with it all others. Writes:
    // the caller gives in `out` the place of these rows' whole panels, `len · mr` floats each, which no other task uses. The
    // features: a kernel, whose `mr` this is, is given out only where the machine has them.
    unsafe {
        match mr {
            6 if above == 1 => return pack::copy::<F32, 6, 8>(data, steps, rows, len, out),
            12 if above == 1 => return pack::copy::<F32, 12, 4>(data, steps, rows, len, out),
            _ => {}
        }
        for first in (0..rows).step_by(mr) {
            let (data, out, count) = (data.add(first * above), out.add(first * len), mr.min(rows - first));
            match mr {
                6 => pack::interleave::<F32, 6>(data, above, count, len, out),
                12 => pack::interleave::<F32, 12>(data, above, count, len, out),
                _ => unreachable!("the heights of the kernels"),
            }
        }
    }
}

/// Packs panels of `len` steps from `start` on: `width` columns from `col` on.
pub(super) fn pack_right(
    nr: usize,
    b: &RightOperand,
    start: usize,
    len: usize,
    col: usize,
    width: usize,
    out: &mut [f32],
) {
    if len == 0 || width == 0 {
        return;
    }
    let (steps, columns) = (b.row_stride, b.col_stride);
    let from = start * steps + col * columns;
    let last = from + (len - 1) * steps + (width - 1) * columns;
    match b.stored {
        Stored::F32(values) => {
            pack_stored::<F32>(nr, &values[from..=last], [steps, columns], [len, width], out)
        }
        Stored::Bf16(bytes) => {
            let values = &bytes.as_chunks().0[from..=last];
            pack_stored::<Bf16>(nr, values, [steps, columns], [len, width], out);
        }
        Stored::F16(bytes) => {
            let values = &bytes.as_chunks().0[from..=last];
            pack_stored::<F16>(nr, values, [steps, columns], [len, width], out);
        }
        Stored::Coded(_) if columns == 1 => {
            // Step by step: a row is decoded once for all panels.
            let mut row = vec![0.0; width];
            for k in 0..len {
                b.run(from + k * steps, &mut row);
                for (values, panel) in row.chunks(nr).zip(out.chunks_exact_mut(len * nr)) {
                    let step = &mut panel[k * nr..][..nr];
                    step[..values.len()].copy_from_slice(values);
                    step[values.len()..].fill(0.0);
                }
            }
        }
        Stored::Coded(_) => {
            // Panel by panel, through rows that fit an L1 cache.
            let mut rows = vec![0.0; nr * len];
            for (panel, first) in out.chunks_exact_mut(len * nr).zip((0..width).step_by(nr)) {
                let count = nr.min(width - first);
                for (j, row) in rows.chunks_exact_mut(len).take(count).enumerate() {
                    b.run(from + (first + j) * columns, row);
                }
                pack_stored::<F32>(nr, &rows[..count * len], [1, len], [len, count], panel);
            }
        }
    }
}

/// `data` begins with the first element and ends with the last.
fn pack_stored<E: Element>(
    nr: usize,
    data: &[E::Raw],
    [steps, columns]: [usize; 2],
    [len, width]: [usize; 2],
    out: &mut [f32],
) {
    assert!((len - 1) * steps + (width - 1) * columns < data.len(), "the panels lie in the matrix");
    assert!(width.next_multiple_of(nr) * len <= out.len(), "there is room for the panels");
    let (out, data) = (out.as_mut_ptr(), data.as_ptr());
    #[expect(unsafe_code, reason = "the packing takes pointers")]
    // SAFETY: reads and writes stay within the slices by the two assertions. The features: a kernel, whose `nr` this is, is
    // given out only where the machine has them.
    unsafe {
        match (nr, columns) {
            (16, 1) => pack::copy::<E, 16, 2>(data, steps, width, len, out),
            (32, 1) => pack::copy::<E, 32, 1>(data, steps, width, len, out),
            _ => {
                for first in (0..width).step_by(nr) {
                    let (data, out) = (data.add(first * columns), out.add(first * len));
                    let count = nr.min(width - first);
                    match nr {
                        16 => pack::interleave::<E, 16>(data, columns, count, len, out),
                        32 => pack::interleave::<E, 32>(data, columns, count, len, out),
                        _ => unreachable!("the widths of the kernels"),
                    }
                }
            }
        }
    }
}
