//! `olive validate`.

use super::{Globals, environment, output, plan_state, plan_text, session};
use clap::Args;
use olive_config::LoadOptions;
use olive_core::Result;
use olive_core::event::{Event, EventSink};
use olive_engine::{Plan, REGISTRY, RunConfig, missing_inputs, prospects};
use std::path::PathBuf;

#[derive(Args)]
pub(crate) struct ValidateArgs {
    /// The configuration: JSON or YAML, either of Olive's grammars.
    #[arg(value_name = "FILE", required_unless_present = "named")]
    config: Option<PathBuf>,
    /// The same, as `olive run` takes it.
    #[arg(
        long = "config",
        alias = "run-config",
        value_name = "FILE",
        conflicts_with = "config",
        hide = true
    )]
    named: Option<PathBuf>,
    /// Plan for this machine, whatever `host` and `target` say.
    #[arg(long)]
    pub(crate) local: bool,
    /// Override a value of the configuration. May be repeated.
    #[arg(long, value_name = "PATH=VALUE")]
    pub(crate) set: Vec<String>,
}

pub(crate) fn run(args: &ValidateArgs, globals: &Globals) -> Result<()> {
    let options = LoadOptions { set: args.set.clone(), local: args.local };
    let file = args.config.as_ref().or(args.named.as_ref()).expect("one of them is required");
    let config = RunConfig::load(file, &options, &REGISTRY)?;
    print_plan(&config, &Plan::new(&config)?, globals)
}

/// Warnings to stderr, the plan to stdout; then, as an error, what would stop it.
pub(super) fn print_plan(config: &RunConfig, plan: &Plan, globals: &Globals) -> Result<()> {
    let events = session::sink(globals);
    for warning in config.warnings.iter().chain(&missing_inputs(config)) {
        events.emit(Event::Warning { message: warning.render(&config.path) });
    }
    let prospects = prospects(config, plan, &environment::of_the_engine(globals)?);
    output::result(&plan_text::render(config, &plan_state::describe(&prospects)))?;
    prospects.problem.map_or(Ok(()), Err)
}
