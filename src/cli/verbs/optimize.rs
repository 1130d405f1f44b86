//! `olive optimize`.

use super::arguments::{AdaptedModelArgs, RunningArgs, word};
use super::carry_out::carry_out;
use super::target;
use super::unsupported::{Refused, UnsupportedOptions};
use crate::cli::Globals;
use clap::Args;
use olive_core::Result;
use olive_verbs::optimize::{Options, UNSUPPORTED, draft};
use olive_verbs::{Exporter, OF_MODELS, Precision, Provider, Unsupported};

#[derive(Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct OptimizeArgs {
    #[command(flatten)]
    model: AdaptedModelArgs,
    /// Folder for the result.
    #[arg(short = 'o', long, value_name = "FOLDER", default_value = "optimized-model")]
    output_path: String,
    /// Execution provider of ONNX Runtime that the model is for.
    #[arg(long, default_value = "CPUExecutionProvider", value_parser = word::<Provider>())]
    provider: Provider,
    /// Type of the weights.
    #[arg(long, default_value = "fp32", value_parser = word::<Precision>())]
    precision: Precision,
    /// Who makes the graph.
    #[arg(long, value_parser = word::<Exporter>())]
    exporter: Option<Exporter>,
    /// Changes to the graph, by name.
    #[arg(long, value_name = "NAME,…", num_args = 0.., value_delimiter = ',')]
    surgeries: Vec<String>,
    /// Weights per scale: 16, 32, 64, 128 or 256, or -1 for one scale per channel.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    block_size: Option<i64>,
    /// Kind of model.
    #[arg(long, default_value = "text", value_parser = ["text"], hide = true)]
    modality: String,
    /// Options of ModelBuilder: `int4_is_symmetric=true,int4_op_types_to_quantize=MatMul/Gather`.
    #[arg(long, value_name = "KEY=VALUE,…")]
    extra_mb_options: Option<String>,
    #[command(flatten)]
    refused: Refused<OfOptimize>,
    #[command(flatten)]
    running: RunningArgs,
}

struct OfOptimize;

impl UnsupportedOptions for OfOptimize {
    const OPTIONS: &'static [&'static [Unsupported]] = &[UNSUPPORTED, OF_MODELS];
}

impl OptimizeArgs {
    pub(super) fn run(&self, globals: &Globals) -> Result<()> {
        self.refused.check()?;
        let input = self.model.find()?;
        let options = Options {
            output: self.running.output(&self.output_path, None),
            provider: self.provider,
            device: target::device(globals)?,
            precision: self.precision,
            exporter: self.exporter,
            surgeries: self.surgeries.clone(),
            block_size: self.block_size,
            extra_mb_options: self.extra_mb_options.clone(),
        };
        carry_out(&draft(&options, &input)?, &options.output, &self.running, globals)
    }
}
