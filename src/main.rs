//! The `olive` command: Microsoft Olive's fine-tuning pipeline as one program. `docs/ARCHITECTURE.md` is the tour of the
//! crates that do the work; here is what the user sees of it.

#[cfg(target_os = "linux")]
mod allocator;
mod cli;
mod report;

use std::process::ExitCode;

fn main() -> ExitCode {
    let command = match cli::parse() {
        Ok(command) => command,
        Err(code) => return code,
    };
    // Before there is a second thread: what a process is denied, only threads that it starts later are denied, too.
    if let Err(code) = command.enter_sandbox() {
        return code;
    }
    command.choose_threads();
    // On a thread of the pool that computes: work that is given to the pool from outside puts the giver to sleep and wakes
    // it again, thousands of times in a step of training.
    rayon::scope(|_| command.run())
}
