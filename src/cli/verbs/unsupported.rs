//! Options that are read only to be refused by name.

use clap::error::Error;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use olive_verbs::{Takes, Unsupported, VerbError};
use std::marker::PhantomData;

/// The options of a verb that are not supported.
pub(crate) trait UnsupportedOptions {
    const OPTIONS: &'static [&'static [Unsupported]];
}

/// Those of them that were given.
pub(crate) struct Refused<T> {
    pub(crate) given: Vec<&'static Unsupported>,
    of: PhantomData<T>,
}

impl<T: UnsupportedOptions> Refused<T> {
    /// # Errors
    /// Some were given.
    pub(crate) fn check(&self) -> Result<(), VerbError> {
        Unsupported::refuse(&self.given)
    }

    fn all() -> impl Iterator<Item = &'static Unsupported> {
        T::OPTIONS.iter().flat_map(|options| options.iter())
    }
}

impl<T: UnsupportedOptions> Args for Refused<T> {
    fn augment_args(command: Command) -> Command {
        command.args(Self::all().map(|option| {
            let arg = Arg::new(option.name).long(option.name).hide(true);
            match option.takes {
                Takes::Nothing => arg.action(ArgAction::SetTrue),
                Takes::Value => arg.num_args(1),
                Takes::Values => arg.num_args(0..),
            }
        }))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<T: UnsupportedOptions> FromArgMatches for Refused<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let is_given =
            |option: &&Unsupported| matches.value_source(option.name) == Some(ValueSource::CommandLine);
        Ok(Refused { given: Self::all().filter(is_given).collect(), of: PhantomData })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
