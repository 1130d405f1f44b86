//! What can go wrong between passes.

use olive_core::shown;
use olive_train::MemoryShortage;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("pass `{pass}`: {reason}")]
    Plan { pass: String, reason: String, hint: String },
    #[error("pass `{pass}` ({pass_type}) cannot be run")]
    Check { pass: String, pass_type: &'static str, source: olive_core::Error },
    #[error("pass `{pass}` ({pass_type}) failed")]
    Pass { pass: String, pass_type: &'static str, source: olive_core::Error },
    #[error("pass `{pass}` ({pass_type}) does not fit into memory")]
    Memory { pass: String, pass_type: &'static str, source: MemoryShortage },
    #[error("no point of the search gave a result: {}", fates(*.tried, *.failed, *.missed))]
    NoCandidate { tried: usize, failed: usize, missed: usize },
    #[error("the model of this point is on another machine, and is not measured there")]
    NotMeasured,
    #[error("the sampler `halving` compares trainings by rows that are held out, and `{pass}` has none")]
    NothingHeldOut { pass: String },
    #[error("the sampler `halving` stops trainings of this machine only, and `{pass}` is not one of them")]
    HalvingElsewhere { pass: String },
    #[error("nothing here runs passes on {host}")]
    Host { host: String },
    #[error("`{option}` of the system `{system}` is `{}`, which is not there", shown(path))]
    HostFile { system: String, option: &'static str, path: PathBuf },
    /// A model or data that a step here needs, and that cannot be brought here. `what` begins the sentence: "the adapter lies".
    #[error("{what} in {place}, `{address}`: {reason}")]
    InAzureMl { what: String, place: &'static str, address: String, reason: Absence, hint: String },
    #[error("the input model is in {place}, `{address}`, which is not on this machine yet")]
    InputNotHere { place: &'static str, address: String },
    #[error("the result would overwrite the input model in `{}`", shown(path))]
    OverInput { path: PathBuf },
    #[error("the result would overwrite `{}`, which is the configuration of this run", shown(path))]
    OverConfiguration { path: PathBuf },
    #[error("the result would overwrite `{}`, which no earlier run wrote there", shown(path))]
    OverFile { path: PathBuf },
    #[error("the result would go through the symbolic link `{}`", shown(path))]
    OutputLink { path: PathBuf },
    #[error("the evaluation in `{}` cannot be read: {reason}", shown(path))]
    Evaluation { path: PathBuf, reason: String },
    #[error("`{}` is no folder for a result: it is {what}", shown(path))]
    OutputPlace { path: PathBuf, what: &'static str },
}

/// Why something in Azure ML does not come to this machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Absence {
    #[error("it is not in the cache, and the network is not to be used")]
    Offline,
    #[error("no workspace is named that has it")]
    NoWorkspace,
    /// What is wrong with one of its names.
    #[error("{0}")]
    Name(String),
}

/// What became of the points of a search.
fn fates(tried: usize, failed: usize, missed: usize) -> String {
    format!("{failed} of {tried} failed, {missed} missed their goals")
}

impl olive_core::Fault for EngineError {
    fn hint(&self) -> Option<String> {
        match self {
            EngineError::Plan { hint, .. } => Some(hint.clone()).filter(|h| !h.is_empty()),
            EngineError::Check { source, .. } | EngineError::Pass { source, .. } => source.hint(),
            EngineError::Memory { source, .. } => source.hint(),
            EngineError::NoCandidate { missed: 0, .. } => {
                Some("the errors are in the lines above and in the run's record".into())
            }
            EngineError::NoCandidate { .. } => Some("lower the goals, or try other values".into()),
            EngineError::NotMeasured => Some("run it on this machine with --local".into()),
            EngineError::NothingHeldOut { pass } => {
                Some(format!("give `eval_dataset_size` or `eval_data_config` in `passes.{pass}`"))
            }
            EngineError::HalvingElsewhere { .. } => {
                Some("run every pass on this machine with --local, or take another sampler".into())
            }
            EngineError::Host { .. } => Some("run every pass on this machine with --local".into()),
            EngineError::HostFile { .. } => {
                Some("paths are relative to the folder the command was started in".into())
            }
            EngineError::InAzureMl { hint, .. } => Some(hint.clone()),
            EngineError::InputNotHere { .. } => Some("`olive run` brings it".into()),
            EngineError::OverInput { .. } => Some("choose another `output_dir`".into()),
            EngineError::OverConfiguration { .. } => {
                Some("move the configuration, or choose another `output_dir`".into())
            }
            EngineError::OverFile { .. } => Some(
                "give a folder for the result in `output_dir`, which is the working folder unless it is given; \
                 `olive run --overwrite` replaces such files"
                    .into(),
            ),
            EngineError::OutputLink { .. } => {
                Some("remove the link, or give the folder that it leads to as `output_dir`".into())
            }
            EngineError::Evaluation { .. } => Some("remove its folder: it is measured again then".into()),
            EngineError::OutputPlace { .. } => Some("give a folder of its own in `output_dir`".into()),
        }
    }

    /// 2 where the configuration or the call is to blame, else 1.
    fn exit_code(&self) -> u8 {
        match self {
            EngineError::Plan { .. }
            | EngineError::Check { .. }
            | EngineError::NothingHeldOut { .. }
            | EngineError::HalvingElsewhere { .. }
            | EngineError::Host { .. }
            | EngineError::HostFile { .. }
            | EngineError::InAzureMl { .. }
            | EngineError::InputNotHere { .. }
            | EngineError::OverInput { .. }
            | EngineError::OverConfiguration { .. }
            | EngineError::OverFile { .. }
            | EngineError::OutputLink { .. }
            | EngineError::OutputPlace { .. } => 2,
            EngineError::Evaluation { .. } | EngineError::NoCandidate { .. } | EngineError::NotMeasured => 1,
            EngineError::Pass { source, .. } => source.exit_code(),
            EngineError::Memory { source, .. } => source.exit_code(),
        }
    }
}
