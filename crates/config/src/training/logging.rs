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
            /// Services that get the log: `mlflow`, or `all`, which is MLflow where `MLFLOW_TRACKING_URI` names a server.
            /// `metrics.jsonl` and TensorBoard's `runs/` are always written.
            pub mlflow as "report_to": Wanted;
            /// Name of the run in MLflow, which makes one up without it.
            pub run_name: Option<String> = TEXT;
        }
    }
}

/// Whether a service is to get the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wanted {
    #[default]
    No,
    /// Where there is one.
    IfThere,
    Yes,
}

const MLFLOW: &str = "mlflow";
const ALL: &str = "all";
/// Words that ask for nothing that is not always done.
const ALWAYS: [&str; 2] = ["tensorboard", "none"];
const THERE: &str = "`mlflow` and `tensorboard`";

impl OptionValue for Wanted {
    const KIND: Kind = Kind::Texts;

    fn read(setting: &Setting) -> Option<Wanted> {
        let names = |name: &str| services(setting).any(|service| service == name);
        Some(match (names(MLFLOW), names(ALL)) {
            (true, _) => Wanted::Yes,
            (false, true) => Wanted::IfThere,
            (false, false) => Wanted::No,
        })
    }
}

fn services(setting: &Setting) -> impl Iterator<Item = &str> {
    setting.json.as_array().into_iter().flatten().filter_map(Json::as_str)
}

/// Says which services are not there. transformers fails as well where the package of one is missing.
pub(super) fn check(values: &mut Values, findings: &mut Findings) {
    for service in services(values.get("report_to")) {
        match service {
            MLFLOW | ALL => {}
            always if ALWAYS.contains(&always) => {}
            "wandb" => {
                let hint = format!("give {THERE}, whose files W&B imports: `wandb sync --sync-tensorboard`");
                let message = "there is no client of Weights & Biases here";
                values.refuse("report_to", message, hint, findings);
            }
            other => {
                let message = format!("nothing is logged to `{other}`: there are {THERE}");
                values.warn("report_to", message, findings);
            }
        }
    }
    values.hide(&["report_to", "run_name"]);
}
