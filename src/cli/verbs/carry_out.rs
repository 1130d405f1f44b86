//! What becomes of a draft: it is checked, and written, run, or both.

use super::arguments::RunningArgs;
use super::target;
use crate::cli::run::{self, Means};
use crate::cli::validate::{self, Strictness};
use crate::cli::{Globals, LogFormat, environment, output, session};
use olive_config::{ConfigError, Diagnostic, LoadOptions};
use olive_core::error::IoContext;
use olive_core::event::{Event, EventSink};
use olive_core::handle::ModelKind;
use olive_core::{Error, Result, file, shown};
use olive_engine::passes::MemoryPolicy;
use olive_engine::{EngineError, Environment, Plan, REGISTRY, RunConfig};
use olive_verbs::{Draft, OutputOptions};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The file in the output folder.
const FILE: &str = "config.json";

/// Its name beside an ONNX model, which brings the `config.json` of the model that it was made from.
const BESIDE_A_MODEL: &str = "olive-config.json";

/// A configuration without mistakes.
enum Checked {
    Sound(Box<RunConfig>),
    /// It asks for what Olive has and this program has not, or leaves options open.
    Lacking(Error),
}

pub(super) fn carry_out(
    draft: &Draft,
    output: &OutputOptions,
    how: &RunningArgs,
    globals: &Globals,
) -> Result<()> {
    let globals = &target::computing(globals);
    let folder = Path::new(&output.output_path);
    tell(draft, globals);
    match (check(draft, folder)?, how.dry_run) {
        (Checked::Sound(config), true) => {
            look_ahead(&config, folder, how, globals)?;
            write(&place(folder), draft, globals)
        }
        (Checked::Lacking(error), true) => {
            let message = output::with_hint(&format!("a run is refused: {error}"), error.hint().as_deref());
            session::sink(globals).emit(Event::Warning { message });
            write(&place(folder), draft, globals)
        }
        (Checked::Lacking(error), false) if how.save_config_file => {
            save(&place(folder), draft)?;
            Err(error)
        }
        (Checked::Lacking(error), false) => Err(of_the_command_line(error)),
        (Checked::Sound(config), false) => execute(draft, &config, folder, how, globals),
    }
}

/// Where the draft differs from what Olive would write, and what a run does differently.
fn tell(draft: &Draft, globals: &Globals) {
    let events = session::sink(globals);
    for message in draft.notices.iter().cloned() {
        events.emit(Event::Info { message });
    }
}

/// # Errors
/// What is wrong with the configuration.
fn check(draft: &Draft, folder: &Path) -> Result<Checked> {
    match RunConfig::from_value(&draft.effective, &place(folder), &LoadOptions::default(), &REGISTRY) {
        Ok(config) => Ok(Checked::Sound(Box::new(config))),
        Err(error) if error.downcast_ref().is_some_and(ConfigError::is_of_a_sound_file) => {
            Ok(Checked::Lacking(error))
        }
        Err(error) => Err(of_the_command_line(error)),
    }
}

/// The same without places, as there is no file.
fn of_the_command_line(error: Error) -> Error {
    let Some((_, diagnostics)) = error.downcast_ref().and_then(ConfigError::diagnostics) else {
        return error;
    };
    let diagnostics =
        diagnostics.iter().cloned().map(|found| Diagnostic { position: None, ..found }).collect();
    ConfigError::Invalid { path: "the command line".into(), diagnostics }.into()
}

/// What would stop a run on any machine is an error; what only this one lacks is a warning, as for `olive validate`.
fn look_ahead(config: &RunConfig, folder: &Path, how: &RunningArgs, globals: &Globals) -> Result<()> {
    let plan = Plan::new(config)?;
    let environment = environment::of_the_engine(globals, MemoryPolicy::Refuse)?;
    let environment = Environment { foreign_files: how.overwrite.foreign_files(), ..environment };
    let (_, errors) = validate::tell_prospects(config, &plan, &environment, Strictness::Lenient, globals);
    let earlier = folder.join(FILE);
    let is_of_an_earlier_one = |error: &Error| match error.downcast_ref() {
        Some(EngineError::OverConfiguration { path } | EngineError::OverFile { path }) => {
            *path == earlier && is_configuration(path)
        }
        _ => false,
    };
    errors.into_iter().find(|error| !is_of_an_earlier_one(error)).map_or(Ok(()), Err)?;
    if brings_a_config(&plan) {
        let message =
            "before `olive run` takes it, move the configuration out of the output folder: the result has a \
                       `config.json` of its own"
                .to_owned();
        session::sink(globals).emit(Event::Info { message });
    }
    Ok(())
}

/// Whether the result puts a `config.json` into the output folder itself.
fn brings_a_config(plan: &Plan) -> bool {
    let results = plan.flows.iter().filter_map(|flow| flow.steps.last());
    results.into_iter().any(|step| step.output == ModelKind::Onnx && step.pass.writes(FILE))
}

/// Whether a file is a configuration, and no model's `config.json`.
fn is_configuration(path: &Path) -> bool {
    let json = file::read(path).ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    json.is_some_and(|json| json.get("passes").is_some() && json.get("input_model").is_some())
}

/// Where the configuration goes: in the place of an earlier one, but of nothing else.
fn place(folder: &Path) -> PathBuf {
    let usual = folder.join(FILE);
    if usual.exists() && !is_configuration(&usual) { folder.join(BESIDE_A_MODEL) } else { usual }
}

/// Writes the configuration, and says where it is.
fn write(path: &Path, draft: &Draft, globals: &Globals) -> Result<()> {
    save(path, draft)?;
    output::result(&match globals.log_format {
        LogFormat::Text => format!("configuration: {}", shown(path)),
        LogFormat::Json => json!({"config": path}).to_string(),
    })
}

/// All of the draft, whatever a run leaves out.
fn save(path: &Path, draft: &Draft) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).at("create", folder)?;
    }
    file::replace(path, format!("{:#}\n", draft.config).as_bytes()).at("write", path)
}

fn execute(
    draft: &Draft,
    config: &RunConfig,
    folder: &Path,
    how: &RunningArgs,
    globals: &Globals,
) -> Result<()> {
    let plan = Plan::new(config)?;
    let (usual, other) = (folder.join(FILE), folder.join(BESIDE_A_MODEL));
    let makes_room = brings_a_config(&plan);
    if makes_room && is_configuration(&usual) {
        std::fs::rename(&usual, &other).at("move", &usual)?;
    }
    if how.save_config_file {
        save(&if makes_room { other } else { place(folder) }, draft)?;
    }
    let memory = if how.ignore_memory { MemoryPolicy::Ignore } else { MemoryPolicy::Refuse };
    let means = Means { memory, foreign_files: how.overwrite.foreign_files(), executors: Vec::new() };
    run::execute(config, &plan, means, globals).map(drop)
}
