//! `olive validate`.

use super::configuration_file::ConfigurationFile;
use super::overwrite::Overwrite;
use super::problem::{self, Problem};
use super::{Globals, environment, output, plan_json, plan_state, plan_text, session};
use crate::report::wrap;
use clap::Args;
use olive_config::LoadOptions;
use olive_core::event::{Event, EventSink};
use olive_core::{Error, Result};
use olive_engine::passes::MemoryPolicy;
use olive_engine::{Environment, Obstacle, Plan, Prospects, REGISTRY, RunConfig, prospects, search_size};

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
    #[command(flatten)]
    overwrite: Overwrite,
    /// Fail where a run on this machine would, too: data or a model that is not here, too little memory.
    #[arg(long)]
    strict: bool,
    /// Print the plan, warnings and errors as one JSON object.
    #[arg(long)]
    json: bool,
}

/// What becomes of obstacles that only this machine has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Strictness {
    /// They are warnings.
    Lenient,
    /// They are errors, as for a run.
    Strict,
}

pub(crate) fn run(args: &ValidateArgs, globals: &Globals) -> Result<()> {
    let strictness = if args.strict { Strictness::Strict } else { Strictness::Lenient };
    let read = || -> Result<(RunConfig, Plan, Environment)> {
        let options = LoadOptions { set: args.set.clone(), local: args.local, ..LoadOptions::default() };
        let config = RunConfig::load(args.file.path(), &options, &REGISTRY)?;
        let plan = Plan::new(&config)?;
        let environment = environment::of_the_engine(globals, MemoryPolicy::Refuse)?;
        Ok((config, plan, Environment { foreign_files: args.overwrite.foreign_files(), ..environment }))
    };
    if !args.json {
        let (config, plan, environment) = read()?;
        return print_plan(&config, &plan, &environment, strictness, globals);
    }
    match read() {
        Ok((config, plan, environment)) => print_json(&config, &plan, &environment, strictness),
        Err(error) => problem::print_document(Err(error)),
    }
}

/// Warnings to stderr, the plan to stdout; then, as an error, what would stop it first.
pub(super) fn print_plan(
    config: &RunConfig,
    plan: &Plan,
    environment: &Environment,
    strictness: Strictness,
    globals: &Globals,
) -> Result<()> {
    let (prospects, errors) = tell_prospects(config, plan, environment, strictness, globals);
    let columns = wrap::columns(std::io::stdout());
    let sizes = match strictness {
        // For them, the data is tokenised.
        Strictness::Strict => search_size(config, environment),
        Strictness::Lenient => Vec::new(),
    };
    let states = plan_state::describe(&prospects);
    output::result(&plan_text::render(config, plan, &states, &sizes, columns))?;
    errors.into_iter().next().map_or(Ok(()), Err)
}

/// What a plan would find, with warnings of the configuration and of obstacles that are tolerated to stderr; and the
/// obstacles that are not.
pub(super) fn tell_prospects(
    config: &RunConfig,
    plan: &Plan,
    environment: &Environment,
    strictness: Strictness,
    globals: &Globals,
) -> (Prospects, Vec<Error>) {
    let events = session::sink(globals);
    let mut prospects = prospects(config, plan, environment);
    let (tolerated, errors) = sorted(&mut prospects, strictness);
    let warnings = config.warnings.iter().map(|warning| warning.render(&config.path));
    for message in warnings.chain(tolerated.iter().map(problem::as_warning)) {
        events.emit(Event::Warning { message });
    }
    (prospects, errors)
}

/// All of it to stdout.
fn print_json(
    config: &RunConfig,
    plan: &Plan,
    environment: &Environment,
    strictness: Strictness,
) -> Result<()> {
    let mut prospects = prospects(config, plan, environment);
    let (tolerated, errors) = sorted(&mut prospects, strictness);
    let located = config.warnings.iter().map(|warning| Problem::located(warning, &config.path));
    let warnings: Vec<Problem> = located.chain(tolerated.iter().flat_map(Problem::all_of)).collect();
    let mut document = plan_json::document(config, plan, &prospects);
    document["warnings"] = serde_json::json!(warnings);
    document["errors"] = serde_json::json!(errors.iter().flat_map(Problem::all_of).collect::<Vec<_>>());
    problem::print_document(Ok(document))?;
    errors.into_iter().next().map_or(Ok(()), Err)
}

/// The obstacles that are warnings, and those that are errors.
fn sorted(prospects: &mut Prospects, strictness: Strictness) -> (Vec<Error>, Vec<Error>) {
    let obstacles = std::mem::take(&mut prospects.obstacles);
    let tolerates = |obstacle: &Obstacle| {
        strictness == Strictness::Lenient && matches!(obstacle, Obstacle::OfThisMachine(_))
    };
    let (tolerated, errors): (Vec<_>, Vec<_>) = obstacles.into_iter().partition(tolerates);
    let errors_of = |obstacles: Vec<Obstacle>| obstacles.into_iter().map(Obstacle::into_error).collect();
    (errors_of(tolerated), errors_of(errors))
}
