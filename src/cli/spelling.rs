//! Options are spelled with hyphens here and with underscores in most of Olive: either is read in place of the other.

use clap::Command;
use std::ffi::OsString;

/// The arguments with every option in the spelling that its command has. `command` is built, so that it knows the options of
/// every command.
pub(crate) fn normalised(arguments: impl Iterator<Item = OsString>, command: &Command) -> Vec<OsString> {
    let mut command = command;
    let mut only_values = false;
    let spelled = arguments.map(|argument| {
        let Some(text) = argument.to_str().filter(|_| !only_values) else { return argument };
        only_values = text == "--";
        match text.strip_prefix("--").filter(|option| !option.is_empty()) {
            Some(option) => in_spelling_of(command, option).map_or(argument, OsString::from),
            None => {
                command = command.find_subcommand(text).unwrap_or(command);
                argument
            }
        }
    });
    spelled.collect()
}

/// An option, perhaps with `=value`, in the spelling of the command; `None` where it has it already, or knows neither.
fn in_spelling_of(command: &Command, option: &str) -> Option<String> {
    let (name, value) = option.split_at(option.find('=').unwrap_or(option.len()));
    let knows = |name: &str| command.get_arguments().any(|arg| arg.get_long() == Some(name));
    let others = [name.replace('-', "_"), name.replace('_', "-")];
    let other = others.into_iter().find(|other| knows(other)).filter(|_| !knows(name))?;
    Some(format!("--{other}{value}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Arg, Command};

    #[test]
    fn an_option_is_read_in_both_spellings_where_its_command_has_it() {
        let arg = |name: &'static str| Arg::new(name).long(name);
        let mut command = Command::new("olive")
            .arg(arg("log-format").global(true))
            .subcommand(Command::new("run").arg(arg("dry-run")))
            .subcommand(Command::new("optimize").arg(arg("dry_run")).arg(arg("pass-name")));
        command.build();
        for (given, read) in [
            (
                "optimize --dry-run --pass_name=a_b --log_format json",
                "optimize --dry_run --pass-name=a_b --log-format json",
            ),
            ("run --dry_run --no_such", "run --dry-run --no_such"),
            ("optimize --dry_run -- --dry-run", "optimize --dry_run -- --dry-run"),
        ] {
            let arguments = given.split(' ').map(OsString::from);
            assert_eq!(normalised(arguments, &command).join(&OsString::from(" ")), OsString::from(read));
        }
    }
}
