//! Where the log of a training goes, beside its own files.

use crate::findings::Findings;
use crate::option::{Kind, TEXT};
use crate::options;
use crate::statement::OptionValue;
use crate::values::{Setting, Values};
use serde_json::Value as Json;

options! {
    /// Where the log goes. The result does not depend on it.
    #[derive(Debug, Clone, PartialEq, Default)]
    pub struct Logging {
        LOGGING {
            /// Services that get the log: `mlflow`, `wandb` (files that `wandb sync` uploads), or `all`, which is both, MLflow where
            /// `MLFLOW_TRACKING_URI` names a server. `metrics.jsonl` and TensorBoard's `runs/` are always written.
            pub report_to: ReportTo;
            /// Name of the run there, which makes one up without it.
            pub run_name: Option<String> = TEXT;
        }
    }
}

/// Which services get the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReportTo {
    pub mlflow: Wanted,
    /// Weights & Biases, in files.
    pub wandb: bool,
}

/// Whether a server is to get the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wanted {
    #[default]
    No,
    /// Where there is one.
    IfThere,
    Yes,
}

const MLFLOW: &str = "mlflow";
const WANDB: &str = "wandb";
const ALL: &str = "all";
/// Words that ask for nothing that is not always done.
const ALWAYS: [&str; 2] = ["tensorboard", "none"];

impl OptionValue for ReportTo {
    const KIND: Kind = Kind::Texts;

    fn read(setting: &Setting) -> Option<ReportTo> {
        let names = |name: &str| services(setting).any(|service| service == name);
        let mlflow = match (names(MLFLOW), names(ALL)) {
            (true, _) => Wanted::Yes,
            (false, true) => Wanted::IfThere,
            (false, false) => Wanted::No,
        };
        Some(ReportTo { mlflow, wandb: names(WANDB) || names(ALL) })
    }
}

fn services(setting: &Setting) -> impl Iterator<Item = &str> {
    setting.json.as_array().into_iter().flatten().filter_map(Json::as_str)
}

/// Says which services are not there. transformers fails as well where the package of one is missing.
pub(super) fn check(values: &mut Values, findings: &mut Findings) {
    let known = |service: &&str| [MLFLOW, WANDB, ALL].contains(service) || ALWAYS.contains(service);
    for other in services(values.get("report_to")).filter(|service| !known(service)) {
        let there = "there are `mlflow`, `wandb` and `tensorboard`";
        values.warn("report_to", format!("nothing is logged to `{other}`: {there}"), findings);
    }
    values.hide(&["report_to", "run_name"]);
}
