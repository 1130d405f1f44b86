//! Verbs of Olive for what this program does not do: each is known, and refused in one line.

use clap::{Args, Subcommand};
use olive_core::{Fault, Result};

#[derive(Subcommand)]
pub(crate) enum UnservedVerb {
    #[command(hide = true)]
    TuneSessionParams(Anything),
    #[command(hide = true)]
    GenerateCostModel(Anything),
    #[command(hide = true)]
    ConfigureQualcommSdk(Anything),
    #[command(hide = true)]
    SharedCache(Anything),
    #[command(hide = true)]
    DiffusionLora(Anything),
    #[command(hide = true)]
    GenerateModelPackage(Anything),
}

/// Whatever stands behind the verb.
#[derive(Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Anything {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    rest: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
#[error("`olive {verb}` is not supported: {why}")]
struct Unserved {
    verb: &'static str,
    why: &'static str,
    instead: Option<&'static str>,
}

impl Fault for Unserved {
    fn hint(&self) -> Option<String> {
        self.instead.map(str::to_owned)
    }

    fn exit_code(&self) -> u8 {
        2
    }
}

impl UnservedVerb {
    pub(super) fn refuse(&self) -> Result<()> {
        let (verb, why, instead) = match self {
            UnservedVerb::TuneSessionParams(_) => (
                "tune-session-params",
                "sessions take as many threads as are free",
                Some("`olive benchmark MODEL` measures a model"),
            ),
            UnservedVerb::GenerateCostModel(_) => ("generate-cost-model", "models are not split", None),
            UnservedVerb::ConfigureQualcommSdk(_) => {
                ("configure-qualcomm-sdk", "nothing is made for Qualcomm's processors", None)
            }
            UnservedVerb::SharedCache(_) => (
                "shared-cache",
                "the cache is a folder on this machine",
                Some("`olive cache` looks after it"),
            ),
            UnservedVerb::DiffusionLora(_) => (
                "diffusion-lora",
                "models of pictures are not trained",
                Some("`olive finetune` trains language models"),
            ),
            UnservedVerb::GenerateModelPackage(_) => (
                "generate-model-package",
                "packages of several targets are not made",
                Some("`packaging_config` of a configuration makes an archive"),
            ),
        };
        Err(Unserved { verb, why, instead }.into())
    }
}
