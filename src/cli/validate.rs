//! `olive validate`.

use super::configuration_file::ConfigurationFile;
use super::{Globals, environment, output, plan_state, plan_text, session};
use crate::report::wrap;
use clap::Args;
use olive_config::LoadOptions;
use olive_core::Result;
use olive_core::event::{Event, EventSink};
use olive_engine::{Environment, ForeignFiles, Plan, REGISTRY, RunConfig, prospects};

#[derive(Args)]
pub(crate) struct ValidateArgs {
    #[command(flatten)]
    file: ConfigurationFile,
    /// Plan for this machine, whatever `host` and `target` say.
    #[arg(long)]
    pub(crate) local: bool,
    /// Override a value of the configuration. May be repeated.
    #[arg(long, value_name = "PATH=VALUE")]
    pub(crate) set: Vec<String>,
}

pub(crate) fn run(args: &ValidateArgs, globals: &Globals) -> Result<()> {
    let options = LoadOptions { set: args.set.clone(), local: args.local };
    let config = RunConfig::load(args.file.path(), &options, &REGISTRY)?;
    print_plan(&config, &Plan::new(&config)?, ForeignFiles::Kept, globals)
}

/// Warnings to stderr, the plan to stdout; then, as an error, what would stop it.
pub(super) fn print_plan(
    config: &RunConfig,
    plan: &Plan,
    foreign_files: ForeignFiles,
    globals: &Globals,
) -> Result<()> {
    let events = session::sink(globals);
    for warning in &config.warnings {
        events.emit(Event::Warning { message: warning.render(&config.path) });
    }
    let environment = Environment { foreign_files, ..environment::of_the_engine(globals)? };
    let prospects = prospects(config, plan, &environment);
    let columns = wrap::columns(std::io::stdout());
    output::result(&plan_text::render(config, &plan_state::describe(&prospects), columns))?;
    prospects.problem.map_or(Ok(()), Err)
}
