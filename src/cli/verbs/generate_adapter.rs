//! `olive generate-adapter`.

use super::arguments::{ModelArgs, RunningArgs, SharedCacheArgs, word};
use super::carry_out::carry_out;
use crate::cli::Globals;
use clap::Args;
use olive_core::Result;
use olive_verbs::generate_adapter::{Options, draft};
use olive_verbs::{AdapterType, WeightsFormat};

#[derive(Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct GenerateAdapterArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// Folder for the result.
    #[arg(short = 'o', long, value_name = "FOLDER", default_value = "optimized-model")]
    output_path: String,
    /// Kind of the adapters.
    #[arg(long, default_value = "lora", value_parser = word::<AdapterType>())]
    adapter_type: AdapterType,
    /// Format of the file for the weights.
    #[arg(long, default_value = "onnx_adapter", value_parser = word::<WeightsFormat>())]
    adapter_format: WeightsFormat,
    #[command(flatten)]
    cache: SharedCacheArgs,
    #[command(flatten)]
    running: RunningArgs,
}

impl GenerateAdapterArgs {
    pub(super) fn run(&self, globals: &Globals) -> Result<()> {
        let input = self.model.find()?;
        let options = Options {
            output: self.running.output(&self.output_path, Some(&self.cache)),
            adapter_type: self.adapter_type,
            adapter_format: self.adapter_format,
        };
        carry_out(&draft(&options, &input)?, &options.output, &self.running, globals)
    }
}
