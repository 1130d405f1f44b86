//! `olive quantize`.

use super::arguments::{AdaptedModelArgs, RunningArgs, SharedCacheArgs, TextArgs, word};
use super::carry_out::carry_out;
use super::unsupported::{Refused, UnsupportedOptions};
use crate::cli::Globals;
use clap::Args;
use olive_core::Result;
use olive_verbs::quantize::{Options, UNSUPPORTED, check_implementation, draft};
use olive_verbs::{Algorithm, OF_MODELS, Precision, Unsupported};

#[derive(Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct QuantizeArgs {
    #[command(flatten)]
    model: AdaptedModelArgs,
    /// Folder for the result.
    #[arg(short = 'o', long, value_name = "FOLDER", default_value = "quantized-model")]
    output_path: String,
    /// How weights are rounded.
    #[arg(long, default_value = "rtn", value_parser = word::<Algorithm>())]
    algorithm: Algorithm,
    /// Type of the weights.
    #[arg(long, default_value = "int8", value_parser = word::<Precision>())]
    precision: Precision,
    /// Whose quantiser; Olive's own is the one that is there.
    #[arg(long, value_name = "NAME", default_value = "olive")]
    implementation: String,
    /// Rows to calibrate on: `json`, `csv`, `parquet` or `text` with `--data_files`, or a file or folder.
    #[arg(short = 'd', long, value_name = "NAME")]
    data_name: Option<String>,
    /// Files of the rows.
    #[arg(long, value_name = "FILE,…", requires = "data_name")]
    data_files: Option<String>,
    /// Configuration of the dataset.
    #[arg(long, value_name = "NAME", requires = "data_name")]
    subset: Option<String>,
    /// Rows to take: `train[:128]`.
    #[arg(long, value_name = "SPLIT", requires = "data_name")]
    split: Option<String>,
    #[command(flatten)]
    text: TextArgs,
    #[command(flatten)]
    cache: SharedCacheArgs,
    #[command(flatten)]
    refused: Refused<OfQuantize>,
    #[command(flatten)]
    running: RunningArgs,
}

struct OfQuantize;

impl UnsupportedOptions for OfQuantize {
    const OPTIONS: &'static [&'static [Unsupported]] = &[UNSUPPORTED, OF_MODELS];
}

impl QuantizeArgs {
    pub(super) fn run(&self, globals: &Globals) -> Result<()> {
        check_implementation(&self.implementation)?;
        self.refused.check()?;
        let input = self.model.find()?;
        let rows = self.data_name.as_ref().map(|name| {
            self.text.rows(name, self.subset.as_ref(), self.split.as_ref(), self.data_files.as_ref())
        });
        let options = Options {
            output: self.running.output(&self.output_path, Some(&self.cache)),
            algorithm: self.algorithm,
            precision: self.precision,
            rows,
            text: self.text.options(),
        };
        carry_out(&draft(&options, &input)?, &options.output, &self.running, globals)
    }
}
