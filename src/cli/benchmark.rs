//! `olive benchmark`.

use super::answering::{ModelArgs, Notes};
use super::{Globals, output};
use clap::Args;
use clap::builder::RangedU64ValueParser;
use olive_core::Result;
use olive_core::cancel::CancelFlag;
use olive_runtime::benchmark::{Measurement, Workload, measure, median, peak_memory};
use std::time::Instant;

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

pub(crate) fn run(args: &BenchmarkArgs, globals: &Globals) -> Result<()> {
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
    let memory = peak_memory();
    if args.json {
        let value = serde_json::json!({
            "model": args.model.model,
            "prompt_tokens": args.prompt_tokens,
            "new_tokens": args.new_tokens,
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
