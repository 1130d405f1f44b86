//! `olive run-pass`.

use super::arguments::{AdaptedModelArgs, RunningArgs, word};
use super::carry_out::carry_out;
use super::target;
use super::unsupported::{Refused, UnsupportedOptions};
use crate::cli::{Globals, output};
use clap::Args;
use olive_core::Result;
use olive_verbs::run_pass::{Options, UNSUPPORTED, draft, list};
use olive_verbs::{OF_MODELS, Provider, Unsupported};

#[derive(Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct RunPassArgs {
    /// The pass, in any case.
    #[arg(long = "pass-name", value_name = "NAME", required_unless_present = "list_passes")]
    pass_name: Option<String>,
    /// Its options: an object as JSON.
    #[arg(long = "pass-config", value_name = "JSON")]
    pass_config: Option<String>,
    /// List the passes there are, and stop.
    #[arg(long = "list-passes")]
    list_passes: bool,
    #[command(flatten)]
    model: AdaptedModelArgs,
    /// Folder for the result.
    #[arg(short = 'o', long, value_name = "FOLDER", default_value = "run-pass-output")]
    output_path: String,
    /// Execution provider of ONNX Runtime that the result is for.
    #[arg(long, value_parser = word::<Provider>())]
    provider: Option<Provider>,
    #[command(flatten)]
    refused: Refused<OfRunPass>,
    #[command(flatten)]
    running: RunningArgs,
}

struct OfRunPass;

impl UnsupportedOptions for OfRunPass {
    const OPTIONS: &'static [&'static [Unsupported]] = &[UNSUPPORTED, OF_MODELS];
}

impl RunPassArgs {
    pub(super) fn run(&self, globals: &Globals) -> Result<()> {
        let Some(pass_name) = self.pass_name.clone().filter(|_| !self.list_passes) else {
            return output::result(&list().join("\n"));
        };
        self.refused.check()?;
        let input = self.model.find()?;
        let options = Options {
            output: self.running.output(&self.output_path, None),
            pass_name,
            pass_config: self.pass_config.clone(),
            device: target::device(globals)?,
            provider: self.provider,
        };
        carry_out(&draft(&options, &input)?, &options.output, &self.running, globals)
    }
}
