//! The command line: a thin skin over the library. Only here does the program print, read the environment and
//! decide the exit code.

mod answering;
mod artefact_differences;
mod benchmark;
mod c_library;
mod cache;
mod chat;
mod chat_input;
mod completions;
mod configuration_file;
mod data;
mod data_text;
mod doctor;
mod download;
mod environment;
mod evaluate;
mod evaluation_table;
mod export;
mod generate;
mod init;
mod init_answers;
mod init_args;
mod init_summary;
mod jobs;
mod login;
#[cfg(any(test, feature = "man-pages"))]
mod man_pages;
mod output;
mod overwrite;
mod parse;
mod plan_json;
mod plan_state;
mod plan_text;
mod problem;
mod push;
mod questions;
mod report;
mod run;
mod run_job;
mod sandbox;
mod schema;
mod search_table;
mod serve;
mod session;
mod spelling;
mod table;
mod validate;
mod verbs;
mod version;

use crate::report::json_lines::JsonLines;
use crate::report::own_name;
use clap::builder::RangedU64ValueParser;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use olive_core::Error;
use olive_core::error::IoFault;
use olive_core::event::{Event, TimedEvent};
use olive_core::event_hub::EventListener;
use std::path::PathBuf;
use std::process::ExitCode;

pub(crate) use parse::parse;

/// Fine-tune, merge and quantise a language model from an Olive configuration.
#[derive(Parser)]
#[command(
    name = "olive",
    version,
    max_term_width = 100,
    propagate_version = true,
    disable_version_flag = true
)]
pub(crate) struct Cli {
    /// Print the version; with `--verbose`, what a bug report needs.
    #[arg(short = 'V', long, global = true, action = ArgAction::Version, display_order = 999)]
    version: (),
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten, next_help_heading = "Options of every command")]
    globals: Globals,
}

/// Options of every verb.
#[derive(Args, Clone)]
pub(crate) struct Globals {
    /// How progress is told on stderr: for people, or as one JSON object per line.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
    /// Never use the network: models and libraries must be on this machine.
    #[arg(long, global = true)]
    pub(crate) offline: bool,
    /// Let the files that are read decide nothing outside the working folder: other files are out of reach, and so is the
    /// network (Linux).
    #[arg(long, global = true)]
    pub(crate) sandbox: bool,
    /// The ONNX Runtime library to use (libonnxruntime.so).
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) ort_lib: Option<PathBuf>,
    /// Where to compute: `cpu` (if nothing is said), `cuda` or `cuda:1`. For Olive's commands that make a model for a device,
    /// also `gpu`, and computing stays on the CPU.
    #[arg(long, global = true, value_name = "DEVICE")]
    pub(crate) device: Option<String>,
    /// Threads that compute. Without this, one for every physical core; for ONNX models, for those that nobody else uses.
    #[arg(long, global = true, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..=1024))]
    pub(crate) threads: Option<usize>,
    /// Say more (debug messages).
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
    /// Say only warnings, errors and results.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
}

impl Globals {
    pub(crate) fn device(&self) -> &str {
        self.device.as_deref().unwrap_or("cpu")
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

#[derive(Subcommand)]
enum Verb {
    /// Make a project for a model and data of yours: look at them, propose how to train, write the configuration.
    Init(init_args::InitArgs),
    /// Run the passes of a configuration.
    Run(run::RunArgs),
    /// Do the work of a job that `olive run` sent to this machine.
    #[command(hide = true)]
    RunJob(run_job::RunJobArgs),
    /// Check a configuration and print the plan, without running anything.
    Validate(validate::ValidateArgs),
    /// Show what will be trained on: rows, tokens, lengths, and samples with what counts in the loss.
    Data(data::DataArgs),
    /// Answer one prompt with a model: a folder, a folder with an adapter, or an ONNX folder.
    Generate(generate::GenerateArgs),
    /// Talk with a model.
    Chat(chat::ChatArgs),
    /// Answer over HTTP as OpenAI's service does, with a model.
    Serve(serve::ServeArgs),
    /// Measure how fast a model reads and writes, and what memory it takes.
    Benchmark(benchmark::Benchmark),
    /// Measure models on data: perplexity, answers, size, speed.
    Evaluate(evaluate::EvaluateArgs),
    /// Write a model in the format of another program: GGUF for llama.cpp and Ollama.
    Export(export::ExportArgs),
    /// Bring a model to a repository of the Hugging Face Hub.
    Push(push::PushArgs),
    /// Write the page of a run again.
    Report(report::ReportArgs),
    /// Set runs side by side: how they differ, and what came of it.
    Compare(report::CompareArgs),
    /// Fetch a model of the hub into a folder.
    Download(download::DownloadArgs),
    /// Keep a token for the hub, for models that are gated or private; it is typed, or read from stdin.
    Login(login::LoginArgs),
    /// Forget the token for the hub.
    Logout(login::LogoutArgs),
    /// List, follow or cancel jobs that `olive run` sent to Azure ML.
    Jobs(jobs::JobsArgs),
    /// Look at, explain or clean the cache.
    Cache(cache::CacheArgs),
    /// Say what this machine has: ONNX Runtime, devices, caches.
    Doctor(doctor::DoctorArgs),
    /// Print the JSON Schema of olive-config.json, for editors.
    Schema(schema::SchemaArgs),
    /// Print what a shell needs to complete the command line.
    Completions(completions::CompletionsArgs),
    /// Write the pages of the manual.
    #[cfg(any(test, feature = "man-pages"))]
    #[command(hide = true)]
    ManPages(man_pages::ManPagesArgs),
    #[command(flatten)]
    Olive(Box<verbs::OliveVerb>),
}

impl Cli {
    /// `--sandbox`; the exit code where this machine cannot do it.
    pub(crate) fn enter_sandbox(&self) -> Result<(), ExitCode> {
        if !self.globals.sandbox {
            return Ok(());
        }
        sandbox::enter(&self.globals).map_err(|error| fail(&error, &self.globals))
    }

    /// `--threads`, for the pool that computes and for ONNX Runtime. The pool must not have begun.
    pub(crate) fn choose_threads(&self) {
        let Some(threads) = self.globals.threads else { return };
        olive_runtime::threads::choose(threads);
        if let Err(error) = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global() {
            tracing::warn!("--threads is not heeded: {error}");
        }
    }

    /// Does what was asked for.
    pub(crate) fn run(&self) -> ExitCode {
        let globals = &self.globals;
        environment::keep_secrets();
        let result = match &self.verb {
            Verb::Init(args) => init::run(args, globals),
            Verb::Run(args) => run::run(args, globals),
            Verb::RunJob(args) => run_job::run(args, globals),
            Verb::Validate(args) => validate::run(args, globals),
            Verb::Data(args) => data::run(args, globals),
            Verb::Generate(args) => generate::run(args, globals),
            Verb::Chat(args) => chat::run(args, globals),
            Verb::Serve(args) => serve::run(args, globals),
            Verb::Benchmark(args) => benchmark::run(args, globals),
            Verb::Evaluate(args) => evaluate::run(args, globals),
            Verb::Export(args) => export::run(args, globals),
            Verb::Push(args) => push::run(args, globals),
            Verb::Report(args) => report::report(args),
            Verb::Compare(args) => report::compare(args),
            Verb::Download(args) => download::run(args, globals),
            Verb::Login(args) => login::login(args, globals),
            Verb::Logout(args) => login::logout(args, globals),
            Verb::Jobs(args) => jobs::run(args, globals),
            Verb::Cache(args) => cache::run(args, globals),
            Verb::Doctor(args) => doctor::run(args, globals),
            Verb::Schema(args) => schema::run(args, globals),
            Verb::Completions(args) => completions::run(args, parse::command()),
            #[cfg(any(test, feature = "man-pages"))]
            Verb::ManPages(args) => man_pages::run(args, parse::command()),
            Verb::Olive(verb) => verbs::run(verb, globals),
        };
        exit_code(result, globals)
    }
}

/// Prints what went wrong, if something did.
fn exit_code(result: olive_core::Result<()>, globals: &Globals) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, globals),
    }
}

/// Prints an error, its causes and its hint.
fn fail(error: &Error, globals: &Globals) -> ExitCode {
    if let Some(IoFault { source, .. }) = error.downcast_ref()
        && source.kind() == std::io::ErrorKind::BrokenPipe
    {
        return ExitCode::SUCCESS; // The reader of a pipe has seen enough.
    }
    let text = own_name::as_called(&error.with_causes()).into_owned();
    let denied = globals.sandbox && text.contains("Permission denied");
    let hint = if denied { Some(sandbox::HINT.to_owned()) } else { error.hint() };
    let hint = hint.map(|hint| own_name::as_called(&hint).into_owned());
    match globals.log_format {
        LogFormat::Text => output::error(&text, hint.as_deref()),
        LogFormat::Json => {
            JsonLines.on_event(&TimedEvent::now(Event::Error { message: text, hint }));
        }
    }
    ExitCode::from(error.exit_code())
}
