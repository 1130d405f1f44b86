//! `olive run`.

use super::configuration_file::ConfigurationFile;
use super::overwrite::Overwrite;
use super::session::Session;
use super::validate::{self, Strictness};
use super::{Globals, LogFormat, environment, evaluation_table, output, report, search_table, table};
use crate::report::own_name;
use clap::Args;
use olive_config::LoadOptions;
use olive_core::{Fault, Result, shell_word, shown};
use olive_engine::executor::Executor;
use olive_engine::passes::MemoryPolicy;
use olive_engine::{Environment, ForeignFiles, Plan, REGISTRY, RunConfig, StepOutcome, WorkflowOutcome};
use olive_systems::azureml::{AzureMlExecutor, OnInterrupt};
use std::path::PathBuf;

#[derive(Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    file: ConfigurationFile,
    /// Run every pass on this machine, whatever `host` and `target` say.
    #[arg(long)]
    pub(crate) local: bool,
    /// Override a value of the configuration, for example `passes.lora.config.lora_r=16`. May be repeated.
    #[arg(long, value_name = "PATH=VALUE")]
    pub(crate) set: Vec<String>,
    #[command(flatten)]
    overwrite: Overwrite,
    /// Print the plan and stop.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// End jobs elsewhere on Ctrl-C. They go on otherwise, and the same command follows them.
    #[arg(long)]
    cancel_on_interrupt: bool,
    /// The program that jobs elsewhere run, for Linux on x86-64. This one by default.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Exit with 1 when a goal of an evaluator is missed, or something it asks for was not measured.
    #[arg(long)]
    fail_on_goals: bool,
    /// Run what does not fit into memory by prediction nevertheless. The system may swap, or end the run.
    #[arg(long)]
    ignore_memory: bool,
}

pub(crate) fn run(args: &RunArgs, globals: &Globals) -> Result<()> {
    let options = LoadOptions { set: args.set.clone(), local: args.local, ..LoadOptions::default() };
    let config = RunConfig::load(args.file.path(), &options, &REGISTRY)?;
    let plan = Plan::new(&config)?;
    let memory = if args.ignore_memory { MemoryPolicy::Ignore } else { MemoryPolicy::Refuse };
    let foreign_files = args.overwrite.foreign_files();
    if args.dry_run {
        let environment = Environment { foreign_files, ..environment::of_the_engine(globals, memory)? };
        return validate::print_plan(&config, &plan, &environment, Strictness::Strict, globals);
    }
    let means = Means { memory, foreign_files, executors: elsewhere(args, globals) };
    let outcome = execute(&config, &plan, means, globals)?;
    let missed: Vec<String> =
        outcome.flows.iter().flat_map(|flow| evaluation_table::misses(&flow.evaluations)).collect();
    match missed.is_empty() || !args.fail_on_goals {
        true => Ok(()),
        false => Err(GoalsMissed { missed }.into()),
    }
}

/// What a run may use and replace.
pub(super) struct Means {
    pub(super) memory: MemoryPolicy,
    pub(super) foreign_files: ForeignFiles,
    /// What runs passes on other machines.
    pub(super) executors: Vec<Box<dyn Executor>>,
}

/// Runs a configuration, writes its report and prints what came of it.
pub(super) fn execute(
    config: &RunConfig,
    plan: &Plan,
    means: Means,
    globals: &Globals,
) -> Result<WorkflowOutcome> {
    let Means { memory, foreign_files, executors } = means;
    let session = Session::start(globals, config.engine.log_severity_level)?;
    let environment = Environment { foreign_files, executors, ..session.environment(globals, memory) };
    let outcome = olive_engine::run_workflow(config, plan, &environment);
    // Bars must be gone before anything is printed to stdout.
    drop(session);
    if !config.engine.no_artifacts {
        report::write_of_run(&config.engine.output_dir, foreign_files);
    }
    let outcome = outcome?;
    print_outcome(&outcome, globals)?;
    Ok(outcome)
}

/// With `--fail-on-goals`.
#[derive(Debug, thiserror::Error)]
#[error("not all that was aimed at is reached:\n{}", missed.join("\n"))]
struct GoalsMissed {
    missed: Vec<String>,
}

impl Fault for GoalsMissed {}

/// What runs passes on other machines.
fn elsewhere(args: &RunArgs, globals: &Globals) -> Vec<Box<dyn Executor>> {
    if environment::is_offline(globals) {
        return Vec::new();
    }
    let on_interrupt = match args.cancel_on_interrupt {
        true => OnInterrupt::IsCancelled,
        false => OnInterrupt::GoesOn,
    };
    let settings = environment::azure_ml(globals, args.binary.clone(), on_interrupt);
    vec![Box::new(AzureMlExecutor::new(settings))]
}

fn print_outcome(outcome: &WorkflowOutcome, globals: &Globals) -> Result<()> {
    let output_dir = &outcome.output_dir;
    match globals.log_format {
        LogFormat::Text => {
            output::result(&table::render(outcome))?;
            for measured in
                outcome.flows.iter().filter_map(|flow| evaluation_table::render(&flow.evaluations))
            {
                output::result(&format!("\n{measured}\n"))?;
            }
            for search in outcome.flows.iter().filter_map(|flow| flow.search.as_ref()) {
                output::result(&format!("\n{}\n", search_table::render(search)))?;
            }
            output::result(&format!("output: {}", shown(output_dir)))?;
            if !globals.quiet {
                let page = output_dir.join("report.html");
                if page.is_file() {
                    output::note(&format!("report: {}", shown(&page)));
                }
                let model = output_dir.display().to_string();
                let model = shell_word(&model);
                output::note(&format!("try it: {} chat {model}", own_name::called()));
            }
            Ok(())
        }
        LogFormat::Json => {
            let steps: Vec<&StepOutcome> = outcome.steps().collect();
            let mut json = serde_json::json!({"output_dir": output_dir, "steps": steps});
            let evaluations: Vec<_> = outcome.flows.iter().flat_map(|flow| &flow.evaluations).collect();
            if !evaluations.is_empty() {
                json["evaluations"] = serde_json::to_value(evaluations).expect("plain data");
            }
            let searches: Vec<_> = outcome.flows.iter().filter_map(|flow| flow.search.as_ref()).collect();
            if !searches.is_empty() {
                json["searches"] = serde_json::to_value(searches).expect("plain data");
            }
            output::result(&json.to_string())
        }
    }
}
