//! Hugging Face's training arguments as options, by the configuration's own table.

use clap::error::Error;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use olive_config::option::{Kind, Opt};
use olive_verbs::training::{TrainingArgument, arguments, is_honoured};

/// Those that were given.
pub(super) struct TrainingArgs(pub(super) Vec<TrainingArgument>);

impl Args for TrainingArgs {
    fn augment_args(command: Command) -> Command {
        command.next_help_heading("Hugging Face training arguments").args(arguments().map(argument))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// A flag alone means true, as on transformers' own command line.
fn argument(option: &'static Opt) -> Arg {
    let arg = Arg::new(option.name)
        .long(option.name)
        .help(option.doc.trim_end_matches('.'))
        .hide(!is_honoured(option))
        .allow_negative_numbers(true);
    match option.kind {
        Kind::Bool => arg.value_name("BOOL").num_args(0..=1).default_missing_value("true"),
        _ => arg.value_name("VALUE").num_args(1),
    }
}

impl FromArgMatches for TrainingArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let given = arguments().filter_map(|option| {
            let text = matches.get_one::<String>(option.name)?.clone();
            Some(TrainingArgument { option, text })
        });
        Ok(TrainingArgs(given.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
