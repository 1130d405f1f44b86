//! What the steps before the last made: adapters with their curves, and merged models, which belong to a result as well.

use super::StepOutcome;
use super::plan::Step;
use olive_core::handle::{ModelHandle, ModelKind};

/// The result of a step that another one follows.
pub struct Stage {
    /// Its folder in the output folder: `adapter` or `merged`, with the name of the pass where there are several.
    pub folder: String,
    pub model: ModelHandle,
}

/// The stages of a flow on `input`; `done` is what became of its steps.
pub fn stages(steps: &[Step], done: &[StepOutcome], input: &ModelHandle) -> Vec<Stage> {
    let Some((last, earlier)) = steps.split_last() else { return Vec::new() };
    let of_kind = |kind: ModelKind| earlier.iter().filter(move |step| step.output == kind).count();
    let is_merge = |step: &&Step| step.output == ModelKind::Hf && step.input == ModelKind::HfWithAdapter;
    let merges = earlier.iter().filter(is_merge).count();
    let mut model = input.clone();
    let mut stages = Vec::new();
    for (step, outcome) in earlier.iter().zip(done) {
        model = model.made_into(step.output, outcome.path.clone());
        if outcome.elsewhere.is_some() {
            continue;
        }
        let (folder, several) = match step.output {
            // That of the last step lies in `adapter`, too.
            ModelKind::HfWithAdapter => {
                ("adapter", of_kind(step.output) > 1 || last.output == ModelKind::HfWithAdapter)
            }
            ModelKind::Hf if step.input == ModelKind::HfWithAdapter => ("merged", merges > 1),
            ModelKind::Hf | ModelKind::HfWithNote | ModelKind::Onnx => continue,
        };
        let folder = if several {
            format!("{folder}-{}", step.config.name.replace('/', "_"))
        } else {
            folder.to_owned()
        };
        stages.push(Stage { folder, model: model.clone() });
    }
    stages
}
