//! What the reader of a pass may ask of the rest of the configuration.

use super::data::DataConfigs;
use super::model::ModelFacts;
use super::system::Systems;
use crate::fields::Fields;
use crate::findings::Findings;
use crate::origin::{Era, Origin, ResolvedOption};
use crate::place::At;
use crate::values::Values;

/// The surroundings of one pass.
pub struct PassContext<'a> {
    pub(super) era: Era,
    pub(super) model: &'a ModelFacts<'a>,
    pub(super) data: &'a DataConfigs<'a>,
    pub(super) systems: &'a Systems<'a>,
    /// Runs the pass, unless that is this machine.
    pub(super) host: Option<&'a str>,
    pub(super) target: Option<&'a str>,
    pub(super) target_origin: Origin,
}

impl PassContext<'_> {
    /// The grammar that the pass is written in.
    pub fn era(&self) -> Era {
        self.era
    }

    /// The grammar of blocks in the pass that do not tell their own.
    pub fn model_era(&self) -> Era {
        self.model.era
    }

    /// The task of the input model and its place, if the file gives one.
    pub fn task(&self) -> Option<(&str, At, &str)> {
        self.model.task.as_ref().map(|(task, at, path)| (task.as_str(), *at, path.as_str()))
    }

    /// Attaches the data config that an option refers to. Gives what the plan shows of it.
    pub fn attach_data(
        &self,
        fields: &Fields<'_>,
        values: &mut Values,
        option: &str,
        findings: &mut Findings,
    ) -> Vec<ResolvedOption> {
        let consumer = self.systems.consumer(self.host);
        let found = fields.found(option);
        let Some((data, shown)) = found.and_then(|found| self.data.reference(found, consumer, findings))
        else {
            return Vec::new();
        };
        values.attach(option, data);
        let name = |name: String| format!("{option}.{name}");
        shown.into_iter().map(|shown| ResolvedOption { name: name(shown.name), ..shown }).collect()
    }

    /// What a graph is built for (`cpu`, `cuda`, `dml`, `webgpu`, `NvTensorRtRtx`), and where that choice comes from. Warns about a
    /// target that asks for something else.
    pub fn execution_provider(&self, fields: &Fields<'_>, findings: &mut Findings) -> (String, Origin) {
        let (provider, message) = self.systems.execution_provider(self.host, self.target, findings);
        if let Some(message) = message {
            findings.warn(fields.at, &fields.path, message);
        }
        (provider, self.target_origin)
    }
}
