//! The `olive` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    olive::cli::main()
}
