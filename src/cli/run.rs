//! `olive run`.

use super::session::Session;
use super::{Globals, LogFormat, environment, output, table};
use clap::Args;
use olive_config::LoadOptions;
use olive_core::Result;
use olive_core::content::ContentHashes;
use olive_core::event::Event;
use olive_engine::cache::Store;
use olive_engine::passes::RunContext;
use olive_engine::{Plan, REGISTRY, RunConfig, StepOutcome};
use olive_model::SourceOptions;
use std::path::{Path, PathBuf};

#[derive(Args)]
pub(crate) struct RunArgs {
    /// The configuration: JSON or YAML, either of Olive's grammars.
    #[arg(long, alias = "run-config", value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Run every pass on this machine, whatever `host` and `target` say.
    #[arg(long)]
    pub(crate) local: bool,
    /// Override a value of the configuration, for example `passes.lora.config.lora_r=16`. May be repeated.
    #[arg(long, value_name = "PATH=VALUE")]
    pub(crate) set: Vec<String>,
    /// Print the plan and stop.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

pub(crate) fn run(args: &RunArgs, globals: &Globals) -> Result<()> {
    let options = LoadOptions { set: args.set.clone(), local: args.local };
    let config = RunConfig::load(&args.config, &options, &REGISTRY)?;
    let plan = Plan::new(&config)?;
    if args.dry_run {
        return super::validate::print_plan(&config, &plan, globals);
    }
    plan.check()?;
    let session = Session::start(globals, config.engine.log_severity_level)?;
    for warning in &config.warnings {
        session.events().emit(Event::Warning { message: warning.render(&config.path) });
    }
    let outcome = execute(&config, &plan, &session, globals);
    // Bars must be gone before anything is printed to stdout.
    drop(session);
    print_outcome(&config.engine.output_dir, &outcome?, globals)
}

fn execute(
    config: &RunConfig,
    plan: &Plan,
    session: &Session,
    globals: &Globals,
) -> Result<Vec<StepOutcome>> {
    let engine_config = &config.engine;
    let store = Store::new(&engine_config.cache_dir);
    if engine_config.clean_cache {
        for kept in store.clean()?.kept {
            let message = format!("{} is not cleaned away: another process uses it", kept.display());
            session.events().emit(Event::Warning { message });
        }
    }
    let source = SourceOptions { cancel: session.cancel.clone(), ..environment::source_options(globals) };
    let here = SourceOptions { offline: true, read_only: true, ..source.clone() };
    if olive_engine::input::resolve(&config.input_model, &here, &()).is_err() {
        // Nothing is fetched for a run that the data stops.
        plan.flows.iter().try_for_each(|flow| flow.check_input(None, None, &store))?;
    }
    let input = olive_engine::input::resolve(&config.input_model, &source, session.events())?;
    let name = olive_engine::input::hub_model(&config.input_model);
    let contents = ContentHashes::open(&engine_config.cache_dir);
    let context = RunContext {
        device: session.device.open()?,
        device_choice: session.device,
        cancel: &session.cancel,
        events: session.events(),
        base: name.as_ref(),
        artefacts: None,
    };
    let output_dirs: Vec<PathBuf> = plan
        .flows
        .iter()
        .map(|flow| {
            let names: Vec<&str> = flow.steps.iter().map(|step| step.config.name.as_str()).collect();
            flow_output_dir(&engine_config.output_dir, &names, plan.flows.len())
        })
        .collect();
    for (flow, dir) in plan.flows.iter().zip(&output_dirs) {
        if let Some(last) = flow.steps.last() {
            olive_engine::output::check(dir, &config.path, &input, last)?;
        }
    }
    let keys = plan.flows.iter().map(|flow| flow.keys(&input, session.device, &contents));
    let keys = keys.collect::<Result<Vec<_>>>()?;
    if let Err(error) = contents.save() {
        // It only saves time; a cache that may be read but not written is a cache.
        tracing::debug!("content hashes are not remembered: {error}");
    }
    for (flow, keys) in plan.flows.iter().zip(&keys) {
        flow.check_input(Some(&input), Some(keys), &store)?;
    }
    let mut outcomes = Vec::new();
    for ((flow, keys), dir) in plan.flows.iter().zip(&keys).zip(&output_dirs) {
        let (model, steps) = olive_engine::run(flow, keys, input.clone(), &store, &context)?;
        let artifacts = !engine_config.no_artifacts;
        let changed = olive_engine::output::write(dir, &input, &model, &steps, name.as_ref(), artifacts)?;
        let message = if changed {
            format!("wrote {}", dir.display())
        } else {
            format!("{} is up to date", dir.display())
        };
        session.events().emit(Event::Info { message });
        outcomes.extend(steps);
    }
    Ok(outcomes)
}

/// One flow writes into the output folder itself, several into a folder each, named for their passes.
fn flow_output_dir(output_dir: &Path, passes: &[&str], flows: usize) -> PathBuf {
    if flows == 1 { output_dir.to_owned() } else { output_dir.join(passes.join("-")) }
}

fn print_outcome(output_dir: &Path, steps: &[StepOutcome], globals: &Globals) -> Result<()> {
    match globals.log_format {
        LogFormat::Text => {
            output::result(&table::render(steps))?;
            output::result(&format!("output: {}", output_dir.display()))
        }
        LogFormat::Json => {
            output::result(&serde_json::json!({"output_dir": output_dir, "steps": steps}).to_string())
        }
    }
}
