//! `olive auto-opt`.

use super::arguments::{AdaptedModelArgs, RunningArgs, SharedCacheArgs, word};
use super::carry_out::carry_out;
use super::target;
use super::unsupported::{Refused, UnsupportedOptions};
use crate::cli::Globals;
use clap::Args;
use olive_core::Result;
use olive_verbs::auto_opt::{Options, UNSUPPORTED, draft};
use olive_verbs::{OF_MODELS, Precision, Provider, Unsupported};

#[derive(Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct AutoOptArgs {
    #[command(flatten)]
    model: AdaptedModelArgs,
    /// Folder for the result.
    #[arg(short = 'o', long, value_name = "FOLDER", default_value = "auto-opt-output")]
    output_path: String,
    /// Execution provider of ONNX Runtime that the model is for.
    #[arg(long, value_parser = word::<Provider>())]
    provider: Option<Provider>,
    /// Type of the weights.
    #[arg(long, default_value = "fp32", value_parser = word::<Precision>())]
    precision: Precision,
    /// Make the graph with ModelBuilder, as is always done here.
    #[arg(long)]
    use_model_builder: bool,
    /// Accepted; the result is always one for onnxruntime-genai.
    #[arg(long, hide = true)]
    use_ort_genai: bool,
    /// Accepted; no pass needs data.
    #[arg(short = 'd', long, value_name = "NAME", hide = true)]
    data_name: Option<String>,
    #[arg(long, hide = true, requires = "data_name")]
    split: Option<String>,
    #[arg(long, hide = true, requires = "data_name")]
    subset: Option<String>,
    #[arg(long, hide = true)]
    batch_size: Option<usize>,
    #[command(flatten)]
    cache: SharedCacheArgs,
    #[command(flatten)]
    refused: Refused<OfAutoOpt>,
    #[command(flatten)]
    running: RunningArgs,
}

struct OfAutoOpt;

impl UnsupportedOptions for OfAutoOpt {
    const OPTIONS: &'static [&'static [Unsupported]] = &[UNSUPPORTED, OF_MODELS];
}

impl AutoOptArgs {
    pub(super) fn run(&self, globals: &Globals) -> Result<()> {
        self.refused.check()?;
        let input = self.model.find()?;
        let options = Options {
            output: self.running.output(&self.output_path, Some(&self.cache)),
            device: target::device(globals)?,
            provider: self.provider,
            precision: self.precision,
            use_model_builder: self.use_model_builder,
            data_name: self.data_name.clone(),
        };
        carry_out(&draft(&options, &input)?, &options.output, &self.running, globals)
    }
}
