//! Tasks of a product on the threads of the current rayon pool.

use rayon::prelude::*;

/// Runs the tasks on so many threads.
pub(super) fn for_each(tasks: usize, threads: usize, run: impl Fn(usize) + Send + Sync) {
    if threads == 1 || tasks == 1 {
        (0..tasks).for_each(run);
    } else {
        (0..tasks).into_par_iter().with_max_len(1).for_each(run);
    }
}
