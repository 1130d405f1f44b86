//! Tasks of a product on the threads of the current rayon pool.

use super::tiles::ROWS;
use rayon::prelude::*;

/// Runs the tasks on so many threads.
pub(super) fn for_each(tasks: usize, threads: usize, run: impl Fn(usize) + Send + Sync) {
    if threads == 1 || tasks == 1 {
        (0..tasks).for_each(run);
    } else {
        (0..tasks).into_par_iter().with_max_len(1).for_each(run);
    }
}

/// Columns of B below which packing them for fewer rows costs less than reading A once more.
const NARROW: usize = 48;

/// Rows and columns of C, `[m, n]` in all, per task: columns first, because each task packs its columns of B. Rows are a
/// multiple of `mr` and columns of `nr`, at most `widest` of them.
pub(super) fn shares(
    mr: usize,
    nr: usize,
    [m, n]: [usize; 2],
    widest: usize,
    threads: usize,
) -> (usize, usize) {
    if threads == 1 {
        return (m, widest.min(n.next_multiple_of(nr)));
    }
    // As many for each thread; enough that none waits long for the last.
    let fewest = n.div_ceil(widest);
    let across = fewest.next_multiple_of(threads).min(n / NARROW).max(fewest);
    let width = n.div_ceil(across).next_multiple_of(nr);
    let across = n.div_ceil(width);
    let down = (2 * threads).div_ceil(across).min(m / (ROWS / 2)).max(threads.div_ceil(across));
    (m.div_ceil(down).next_multiple_of(mr), width)
}
