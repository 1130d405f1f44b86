//! Reading the command line.

use super::{Cli, exit_code, spelling, version};
use crate::report::own_name;
use clap::builder::StyledStr;
use clap::error::ErrorKind;
use clap::{Command, CommandFactory, FromArgMatches};
use std::process::ExitCode;

/// What the command line asks for. The exit code is for one that cannot be read, and for one that asks for help or the
/// version, which are printed here.
pub(crate) fn parse() -> Result<Cli, ExitCode> {
    let mut command = command();
    command.build();
    let arguments = spelling::normalised(std::env::args_os(), &command);
    let matches = command.try_get_matches_from_mut(arguments);
    let error = match matches.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => return Ok(cli),
        Err(error) => error.format(&mut command),
    };
    if error.kind() == ErrorKind::DisplayVersion
        && let Some(globals) = version::asked_for_more()
    {
        return Err(exit_code(version::print(&globals), &globals));
    }
    // Nothing can be done when the stream is gone.
    let _ = error.print();
    Err(u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from))
}

/// The command line, whose texts name the program as it was called.
pub(super) fn command() -> Command {
    match own_name::called() {
        own_name::USUAL => Cli::command(),
        _ => as_called(Cli::command()),
    }
}

fn as_called(command: Command) -> Command {
    let renamed = |text: &StyledStr| own_name::as_called(&text.to_string()).into_owned();
    let about = command.get_about().map(renamed);
    let command =
        command.mut_subcommands(as_called).mut_args(|argument| match argument.get_help().map(renamed) {
            Some(help) => argument.help(help),
            None => argument,
        });
    about.into_iter().fold(command, Command::about)
}
