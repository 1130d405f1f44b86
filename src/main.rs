//! The `olive` command.

#[cfg(target_os = "linux")]
mod allocator;

use std::process::ExitCode;

fn main() -> ExitCode {
    // On a thread of the pool that computes: work that is given to the pool from outside puts the giver to sleep and wakes
    // it again, thousands of times in a step of training.
    rayon::scope(|_| olive::cli::main())
}
