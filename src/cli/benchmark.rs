//! `olive benchmark`.

use super::answering::{ModelArgs, Notes};
use super::verbs::{Refused, UnsupportedOptions};
use super::{Globals, output};
use clap::builder::RangedU64ValueParser;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use olive_core::cancel::CancelFlag;
use olive_core::{Fault, Result};
use olive_runtime::benchmark::{Measurement, Workload, measure, median, peak_memory};
use olive_verbs::Unsupported;
use std::time::Instant;

/// What is measured here, or what Olive's verb of this name measures.
pub(crate) enum Benchmark {
    Speed(BenchmarkArgs),
    Tasks,
}

/// Options of Olive's verb.
struct OfTasks;

impl UnsupportedOptions for OfTasks {
    const OPTIONS: &'static [&'static [Unsupported]] = &[olive_verbs::TASKS];
}

impl Args for Benchmark {
    fn augment_args(command: Command) -> Command {
        let of_tasks =
            || OfTasks::OPTIONS.iter().flat_map(|options| options.iter()).map(|option| option.name);
        let command = BenchmarkArgs::augment_args(command)
            .mut_arg("model", |model| model.required(false).required_unless_present_any(of_tasks()));
        let short = [("model_name_or_path", 'm'), ("output_path", 'o'), ("task", 't'), ("adapter_path", 'a')];
        short.into_iter().fold(Refused::<OfTasks>::augment_args(command), |command, (name, letter)| {
            command.mut_arg(name, |arg| arg.short(letter))
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Benchmark {
    fn from_arg_matches(matches: &ArgMatches) -> std::result::Result<Self, clap::Error> {
        if Refused::<OfTasks>::from_arg_matches(matches)?.given.is_empty() {
            BenchmarkArgs::from_arg_matches(matches).map(Benchmark::Speed)
        } else {
            Ok(Benchmark::Tasks)
        }
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> std::result::Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// `olive benchmark --tasks …`.
#[derive(Debug, thiserror::Error)]
#[error(
    "`--tasks`, `-m` and the like are options of Olive's `benchmark`, which is `olive evaluate` here; `olive benchmark MODEL` measures speed"
)]
struct MeasuresSpeed;

impl Fault for MeasuresSpeed {
    fn hint(&self) -> Option<String> {
        Some(
            "tasks are files of questions with choices: `olive evaluate MODEL --data FILE.jsonl --multiple-choice`, with \
             `--max_samples N` for `--limit`"
                .into(),
        )
    }

    fn exit_code(&self) -> u8 {
        2
    }
}

#[derive(Args)]
pub(crate) struct BenchmarkArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// Tokens of the prompt.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    prompt_tokens: usize,
    /// Tokens that are generated after it.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    new_tokens: usize,
    /// How often to measure; the medians are what counts.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    repeat: usize,
    /// Print one JSON object, with every measurement.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(benchmark: &Benchmark, globals: &Globals) -> Result<()> {
    let Benchmark::Speed(args) = benchmark else { return Err(MeasuresSpeed.into()) };
    let notes = Notes::new(globals);
    let start = Instant::now();
    let generator = args.model.open(globals, &notes)?;
    let load = start.elapsed().as_secs_f64();
    let work =
        Workload { prompt_tokens: args.prompt_tokens, new_tokens: args.new_tokens, repeat: args.repeat };
    let measured = measure(&generator, work, &CancelFlag::default())?;
    let first = Figure::new(&measured, |m| Some(m.time_to_first_token));
    let prefill = Figure::new(&measured, |m| Some(m.prefill_tokens_per_second));
    let decode = Figure::new(&measured, |m| m.decode_tokens_per_second);
    let (threads, memory) = (generator.model().threads(), peak_memory());
    if args.json {
        let value = serde_json::json!({
            "model": args.model.model,
            "prompt_tokens": args.prompt_tokens,
            "new_tokens": args.new_tokens,
            "threads": threads,
            "load_seconds": load,
            "time_to_first_token": first.as_ref().map(|f| f.median),
            "prefill_tokens_per_second": prefill.as_ref().map(|f| f.median),
            "decode_tokens_per_second": decode.as_ref().map(|f| f.median),
            "peak_memory_bytes": memory,
            "measurements": measured,
        });
        return output::result(&value.to_string());
    }
    let line = |label: &str, figure: &Option<Figure>, unit: &str, digits: usize| {
        let text = figure.as_ref().map_or("too few tokens".into(), |f| f.text(unit, digits));
        output::result(&format!("{label:<12}  {text}"))
    };
    output::result(&format!("{:<12}  {threads}", "threads"))?;
    output::result(&format!("{:<12}  {load:.2} s", "load"))?;
    line("first token", &first, "s", 3)?;
    line("prefill", &prefill, "tokens/s", 1)?;
    line("decode", &decode, "tokens/s", 1)?;
    match memory {
        Some(bytes) => output::result(&format!("{:<12}  {:.1} MB", "peak memory", bytes as f64 / 1e6)),
        None => Ok(()),
    }
}

/// A median and the range around it.
struct Figure {
    median: f64,
    least: f64,
    most: f64,
}

impl Figure {
    fn new(measured: &[Measurement], value: impl Fn(&Measurement) -> Option<f64>) -> Option<Figure> {
        let values: Vec<f64> = measured.iter().filter_map(value).collect();
        Some(Figure {
            median: median(values.iter().copied())?,
            least: values.iter().copied().reduce(f64::min)?,
            most: values.iter().copied().reduce(f64::max)?,
        })
    }

    fn text(&self, unit: &str, digits: usize) -> String {
        let Figure { median, least, most } = self;
        format!("{median:.digits$} {unit} ({least:.digits$} to {most:.digits$})")
    }
}
