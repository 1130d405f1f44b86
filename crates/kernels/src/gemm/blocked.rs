//! The blocked product over packed panels.
//!
//! The depth is cut into blocks of a size that depends on the depth alone, and an element of C is the sum over these
//! blocks in order, each summed in order: it does not matter which task, tile or thread computes it. A is packed once and
//! shared, or read where it lies if C is narrow; each task takes some columns of C and packs (and decodes) its own columns
//! of B, so that nothing waits for B.

use super::ahead::Ahead;
use super::kernel::{Kernel, Tile};
use super::operand::{Right, Stored};
use super::pack::{self, Bf16, Element, F16, F32};
use super::scratch::Scratch;
use super::{Banded, Mat, MatMut, Write, dots};
use rayon::prelude::*;
use std::cell::Cell;
use std::ops::Range;

/// Largest block of the depth: a panel of B and one of A then take 25 KB, so that they stay in an L1 cache.
const DEPTH: usize = 288;
/// Rows of A worked on at a time, so that they stay in an L2 cache.
const ROWS: usize = 144;
/// Columns of B that a task packs at a time.
const COLS: usize = 128;
/// Floats of A packed at a time, 8 MB.
const PACKED: usize = 1 << 21;
/// Columns of B below which packing them for fewer rows costs less than reading A once more.
const NARROW: usize = 48;
/// Columns of C up to which packing A costs more than it saves.
const SKINNY: usize = 64;
/// Floats between the steps of A from which on they push each other out of the caches unless A is packed.
const FAR: usize = 2048;
/// Multiply-adds below which a second task does not pay.
const SMALL: usize = 1 << 18;

thread_local! {
    static LEFT: Cell<Scratch> = const { Cell::new(Scratch::EMPTY) };
    static RIGHT: Cell<Scratch> = const { Cell::new(Scratch::EMPTY) };
}

/// A pointer that tasks share; each writes or reads its own part.
#[derive(Clone, Copy)]
struct Shared(*mut f32);
#[expect(unsafe_code, reason = "panels of one buffer are written by several threads")]
// SAFETY: only the code of this file uses it, on disjoint parts.
unsafe impl Send for Shared {}
#[expect(unsafe_code, reason = "panels of one buffer are written by several threads")]
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    fn at(self, index: usize) -> *mut f32 {
        self.0.wrapping_add(index)
    }
}

/// The blocks of a depth.
#[derive(Clone, Copy)]
struct Depth {
    total: usize,
    block: usize,
}

impl Depth {
    fn new(total: usize) -> Depth {
        let blocks = total.div_ceil(DEPTH).max(1);
        Depth { total, block: total.div_ceil(blocks).next_multiple_of(32) }
    }

    fn blocks(self) -> usize {
        self.total.div_ceil(self.block).max(1)
    }

    /// First step and length of block `index`.
    fn range(self, index: usize) -> (usize, usize) {
        let start = index * self.block;
        (start, self.block.min(self.total - start))
    }
}

/// A as tasks read it.
#[derive(Clone, Copy)]
enum Left<'a> {
    /// The blocks of the depth one after another, `rows` rows of each.
    Packed { panels: Shared, rows: usize },
    /// As it lies.
    Direct(Mat<'a>),
}

/// What tasks of one product share.
struct Product<'a> {
    kernel: &'a Kernel,
    c: &'a MatMut<'a>,
    write: Write,
    alpha: f32,
    b: Right<'a>,
    depth: Depth,
    a: Left<'a>,
    /// Blocks `first..first + blocks` of the depth.
    first: usize,
    blocks: usize,
}

/// `c = [c +] alpha · a · b`, on the threads of the current rayon pool or on this one alone.
pub(super) fn product(
    kernel: &Kernel,
    c: &mut MatMut,
    write: Write,
    alpha: f32,
    a: Mat,
    b: Right,
    parallel: bool,
) {
    let (m, n, depth) = (c.rows, c.cols, Depth::new(a.cols));
    let threads = match parallel && m * n * a.cols >= SMALL {
        true => rayon::current_num_threads(),
        false => 1,
    };
    if dots::fits(a, &b) {
        return dots::product(c, write, alpha, a, &b, threads);
    }
    let direct = n <= SKINNY && a.col_stride < FAR;
    let panels = if direct { 0 } else { m.div_ceil(kernel.mr) };
    let rows = panels * kernel.mr;
    let at_once = match direct {
        true => depth.blocks(),
        false => (PACKED / (rows * depth.block)).clamp(1, depth.blocks()),
    };
    let mut left = LEFT.take();
    let packed = Shared(left.floats(rows * depth.block * at_once).as_mut_ptr());
    for first in (0..depth.blocks()).step_by(at_once) {
        let blocks = at_once.min(depth.blocks() - first);
        // A task packs some panels of one block.
        let part = if threads > 1 { (1 << 14) / (depth.block * kernel.mr) + 1 } else { panels.max(1) };
        let parts = panels.div_ceil(part);
        for_each(parts * blocks, threads, |task| {
            let (block, panel) = (task / parts, task % parts * part);
            let (start, len) = depth.range(first + block);
            let row = panel * kernel.mr;
            let count = (part * kernel.mr).min(m - row);
            let out = packed.at(rows * depth.block * block + row * len);
            pack_left(kernel.mr, a, row, count, start, len, out);
        });
        let product = Product {
            kernel,
            c: &*c,
            write: if first == 0 { write } else { Write::Add },
            alpha,
            b,
            depth,
            a: if direct { Left::Direct(a) } else { Left::Packed { panels: packed, rows } },
            first,
            blocks,
        };
        let (height, width) = tile(kernel, m, n, threads);
        let across = n.div_ceil(width);
        for_each(m.div_ceil(height) * across, threads, |task| {
            let (row, col) = (task / across * height, task % across * width);
            product.block(row, height.min(m - row), col, width.min(n - col));
        });
    }
    LEFT.set(left);
}

/// Runs the tasks on so many threads.
pub(super) fn for_each(tasks: usize, threads: usize, run: impl Fn(usize) + Send + Sync) {
    if threads == 1 || tasks == 1 {
        (0..tasks).for_each(run);
    } else {
        (0..tasks).into_par_iter().with_max_len(1).for_each(run);
    }
}

/// Rows and columns of C per task: columns first, because each task packs its columns of B.
fn tile(kernel: &Kernel, m: usize, n: usize, threads: usize) -> (usize, usize) {
    if threads == 1 {
        return (m, COLS.min(n.next_multiple_of(kernel.nr)));
    }
    // As many for each thread; enough that none waits long for the last.
    let fewest = n.div_ceil(COLS);
    let across = fewest.next_multiple_of(threads).min(n / NARROW).max(fewest);
    let width = n.div_ceil(across).next_multiple_of(kernel.nr);
    let across = n.div_ceil(width);
    let down = (2 * threads).div_ceil(across).min(m / (ROWS / 2)).max(threads.div_ceil(across));
    (m.div_ceil(down).next_multiple_of(kernel.mr), width)
}

impl Product<'_> {
    /// Computes `height` × `width` of C at (`row`, `col`); `row` is a multiple of `mr`.
    #[expect(unsafe_code, reason = "micro-kernels take pointers")]
    fn block(&self, row: usize, height: usize, col: usize, width: usize) {
        let Kernel { mr, nr, .. } = *self.kernel;
        let mut right = RIGHT.take();
        let panels = right.floats(width.next_multiple_of(nr) * self.depth.block);
        let mut write = self.write;
        for block in 0..self.blocks {
            let (start, len) = self.depth.range(self.first + block);
            pack_right(nr, &self.b, start, len, col, width, panels);

            // Mostly the next columns are this thread's as well.
            let (next, from) = match block + 1 < self.blocks {
                true => (block + 1, col),
                false => (0, col + width),
            };
            let (next, steps) = self.depth.range(self.first + next);
            let tiles_until_then = height.div_ceil(mr) * width.div_ceil(nr);
            let ahead = Ahead::new(&self.b, next..next + steps, from..from + width, tiles_until_then);
            let b = Packed { data: panels.as_ptr(), apart: nr * len, ahead };
            let a = match self.a {
                Left::Packed { panels, rows } => Rows {
                    data: panels.at(rows * self.depth.block * block + row * len),
                    steps: start..start + len,
                    apart: len,
                    strides: [1, mr],
                    whole: true,
                },
                Left::Direct(a) => Rows::direct(a, row, start..start + len),
            };
            // SAFETY: no other task writes this block of C; the panels were packed above and by `product`, or the rows
            // lie in A.
            unsafe {
                let c = self.c.block(row, col, height, width);
                tiles(self.kernel, &c, write, self.alpha, a, b, Banded::No);
            }
            write = Write::Add;
        }
        RIGHT.set(right);
    }
}

/// Rows of A in a block of the depth.
struct Rows {
    data: *const f32,
    /// The steps that lie there, counted in A.
    steps: Range<usize>,
    /// Floats per row before the first row of a tile.
    apart: usize,
    /// Within a tile: floats between rows and between steps.
    strides: [usize; 2],
    /// Whether the last tile is filled up.
    whole: bool,
}

impl Rows {
    /// A as it lies, from `row` on.
    fn direct(a: Mat, row: usize, steps: Range<usize>) -> Rows {
        let data = a.data.as_ptr().wrapping_add(row * a.row_stride + steps.start * a.col_stride);
        Rows { data, steps, apart: a.row_stride, strides: [a.row_stride, a.col_stride], whole: false }
    }
}

/// Panels of B in a block of the depth.
struct Packed {
    data: *const f32,
    /// Floats between panels.
    apart: usize,
    /// What is packed after them.
    ahead: Ahead,
}

/// `c = [c +] alpha · a · b` for one block of the depth.
///
/// # Safety
/// A holds the rows of C and B its columns in whole panels, each for A's steps; nobody else uses C. `kernel` is one that
/// this machine runs.
#[expect(unsafe_code, reason = "micro-kernels take pointers")]
unsafe fn tiles(
    kernel: &Kernel,
    c: &MatMut,
    write: Write,
    alpha: f32,
    a: Rows,
    mut b: Packed,
    banded: Banded,
) {
    let Kernel { mr, nr, adjacent, strided } = *kernel;
    let steps = a.steps;
    let add = write == Write::Add;
    for above in (0..c.rows).step_by(ROWS) {
        let below = (above + ROWS).min(c.rows);
        for (panel, left) in (0..c.cols).step_by(nr).enumerate() {
            for row in (above..below).step_by(mr) {
                let (rows, cols) = (mr.min(c.rows - row), nr.min(c.cols - left));
                let mut part = steps.clone();
                match banded {
                    Banded::No => {}
                    Banded::Left(band) => {
                        let seen = band.columns(row..row + rows, steps.end);
                        part = seen.start.max(steps.start)..seen.end.max(steps.start);
                        if part.is_empty() && add {
                            continue;
                        }
                    }
                    Banded::Product(band) => {
                        let seen = band.columns(row..row + rows, c.cols);
                        if seen.end <= left || left + cols <= seen.start {
                            continue;
                        }
                    }
                }
                b.ahead.step();
                let run = if a.strides[0] == 1 && (a.whole || rows == mr) { adjacent } else { strided };
                let skipped = part.start - steps.start;
                // SAFETY: as promised by the caller; the tile lies in C.
                unsafe {
                    let data = c.data.add(row * c.stride + left);
                    let tile = Tile { c: data, stride: c.stride, rows, cols, alpha, add };
                    let a_data = a.data.add(row * a.apart + skipped * a.strides[1]);
                    let b_data = b.data.add(panel * b.apart + skipped * nr);
                    run(part.len(), a_data, a.strides, b_data, tile);
                }
            }
        }
    }
}

/// A matrix packed as the right operand of several products.
pub(super) struct Panels {
    kernel: &'static Kernel,
    depth: Depth,
    cols: usize,
    values: Vec<f32>,
    /// Floats before the first on a multiple of 64 bytes.
    skipped: usize,
}

impl Panels {
    pub(super) fn empty(kernel: &'static Kernel) -> Panels {
        Panels { kernel, depth: Depth { total: 0, block: 1 }, cols: 0, values: Vec::new(), skipped: 0 }
    }

    pub(super) fn pack(&mut self, b: &Right) {
        let (depth, width) = (Depth::new(b.rows), b.cols.next_multiple_of(self.kernel.nr));
        (self.depth, self.cols) = (depth, b.cols);
        self.values.resize(self.values.len().max(width * b.rows + 16), 0.0);
        self.skipped = self.values.as_ptr().align_offset(64);
        for block in 0..depth.blocks() {
            let (start, len) = depth.range(block);
            let out = &mut self.values[self.skipped + width * start..];
            pack_right(self.kernel.nr, b, start, len, 0, b.cols, out);
        }
    }

    /// `c = [c +] alpha · a · b` on this thread, where B begins at (`row`, `col`) of the packed matrix.
    pub(super) fn product(
        &self,
        c: &mut MatMut,
        write: Write,
        alpha: f32,
        a: Mat,
        [row, col]: [usize; 2],
        banded: Banded,
    ) {
        let nr = self.kernel.nr;
        assert!(a.rows == c.rows && row + a.cols <= self.depth.total, "the shapes fit");
        assert!(col % nr == 0 && col + c.cols <= self.cols, "the columns begin with a panel");
        let mut write = write;
        for block in 0..self.depth.blocks() {
            let (start, len) = self.depth.range(block);
            let (from, to) = (row.max(start), (row + a.cols).min(start + len));
            if from >= to {
                continue;
            }
            let at = self.skipped + self.cols.next_multiple_of(nr) * start + col * len + (from - start) * nr;
            let b = Packed { data: self.values[at..].as_ptr(), apart: nr * len, ahead: Ahead::NOTHING };
            #[expect(unsafe_code, reason = "micro-kernels take pointers")]
            // SAFETY: A and C have the shapes just checked, and the panels hold B.
            unsafe {
                let a = Rows::direct(a, 0, from - row..to - row);
                tiles(self.kernel, c, write, alpha, a, b, banded);
            }
            write = Write::Add;
        }
    }
}

/// Packs the panels of `rows` rows from `row` on, `len` steps from `start` on.
#[expect(unsafe_code, reason = "the packing takes pointers")]
fn pack_left(mr: usize, a: Mat, row: usize, rows: usize, start: usize, len: usize, out: *mut f32) {
    if len == 0 {
        return;
    }
    let (above, steps) = (a.row_stride, a.col_stride);
    let data = &a.data[row * above + start * steps..];
    assert!((rows - 1) * above + (len - 1) * steps < data.len(), "the panels lie in the matrix");
    let data = data.as_ptr();
    // SAFETY: the elements lie in the matrix, `out` is the place of these panels, and a kernel was given out only
    // where the machine has the features.
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
fn pack_right(nr: usize, b: &Right, start: usize, len: usize, col: usize, width: usize, out: &mut [f32]) {
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
    // SAFETY: just checked; a kernel was given out only where the machine has the features.
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
