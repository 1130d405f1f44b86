//! `olive completions`: what a shell needs to complete the command line. Every verb and option comes from the definitions of
//! the command line.

use super::output;
use crate::report::own_name;
use clap::{Args, Command, ValueEnum};
use clap_complete::Generator;
use clap_complete::aot::{Bash, Fish, Zsh};
use olive_core::Result;

#[derive(Args)]
pub(crate) struct CompletionsArgs {
    /// Whose completions to print.
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Prints completions for the name that the program was called by.
pub(crate) fn run(args: &CompletionsArgs, command: Command) -> Result<()> {
    let script = match args.shell {
        Shell::Bash => of_bash(command),
        Shell::Zsh => script(Zsh, command),
        Shell::Fish => script(Fish, command),
    };
    output::result(script.trim_end())
}

/// The script for bash, whose labels are broken for names with hyphens: the name is put in where it is completed.
fn of_bash(command: Command) -> String {
    let script = named_script(Bash, command, own_name::USUAL);
    let line = |line: &str| match line.trim_start().starts_with("complete -F") {
        true => line
            .strip_suffix(own_name::USUAL)
            .map_or(line.to_owned(), |rest| format!("{rest}{}", own_name::called())),
        false => line.to_owned(),
    };
    script.lines().map(line).collect::<Vec<_>>().join("\n")
}

fn script(shell: impl Generator, command: Command) -> String {
    named_script(shell, command, own_name::called())
}

fn named_script(shell: impl Generator, command: Command, name: &str) -> String {
    let mut command = without_hidden(Box::leak(Box::new(command)));
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// The command with what its help shows: shells would offer hidden verbs and options, too. Names are borrowed for as long as
/// the process lives, as clap asks.
fn without_hidden(command: &'static Command) -> Command {
    let arguments = command.get_arguments().filter(|argument| !argument.is_hide_set()).cloned();
    let verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set()).map(without_hidden);
    let visible =
        Command::new(command.get_name()).args(arguments).subcommands(verbs).disable_version_flag(true);
    match command.get_about() {
        Some(about) => visible.about(about.clone()),
        None => visible,
    }
}
