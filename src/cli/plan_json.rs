//! What a configuration comes to, for programs; `docs/runs.md` lists the fields.

use olive_config::{Era, Evaluator, Origin, ResolvedOption};
use olive_engine::passes::DataUse;
use olive_engine::{Plan, Prospects, RunConfig, Step, StepState};
use serde_json::{Value, json};
use std::path::Path;

/// The plan with what the cache holds of it, without errors and warnings.
pub(crate) fn document(config: &RunConfig, plan: &Plan, prospects: &Prospects) -> Value {
    let flows = plan.flows.iter().zip(&prospects.flows).map(|(flow, states)| {
        let steps: Vec<Value> = flow.steps.iter().zip(states).map(|(one, state)| step(one, state)).collect();
        json!({"output_dir": path(&plan.output_dir(flow, &config.engine.output_dir)), "steps": steps})
    });
    let flows: Vec<Value> = flows.collect();
    let jobs: Vec<Value> = plan.jobs().map(job).collect();
    json!({
        "file": path(&config.path),
        "workflow_id": config.workflow_id,
        "input_model": config.input_model,
        "cache_dir": path(&config.engine.cache_dir),
        "output_dir": path(&config.engine.output_dir),
        "memory_available": prospects.available.memory,
        "evaluator": config.engine.evaluator.as_deref().map(evaluator),
        "flows": flows,
        "jobs": jobs,
    })
}

/// Its name, and those of its values.
fn evaluator(evaluator: &Evaluator) -> Value {
    json!({"name": evaluator.name, "values": evaluator.keys().collect::<Vec<_>>()})
}

fn job((flow, steps): (usize, &[Step])) -> Value {
    let passes: Vec<&str> = steps.iter().map(|step| step.config.name.as_str()).collect();
    let compute = steps[0].host.azure_ml().map(|system| &system.compute);
    json!({"host": steps[0].host.name(), "compute": compute, "flow": flow, "passes": passes})
}

/// JSON has no room for a path that is not text.
pub(super) fn path(path: &Path) -> String {
    path.display().to_string()
}

fn step(step: &Step, state: &StepState) -> Value {
    let mut value = json!({
        "pass": step.config.name,
        "type": step.pass.name(),
        "host": step.host.name(),
        "cache": "unknown",
        "path": null,
        "changed": null,
        "reason": null,
        "memory": null,
        "data": data(step),
        "evaluator": step.config.evaluator.as_deref().map(evaluator),
        "options": step.config.resolved.iter().map(option).collect::<Vec<_>>(),
    });
    match state {
        StepState::Cached { output } => {
            value["cache"] = "cached".into();
            value["path"] = path(output).into();
        }
        StepState::Elsewhere { place } => {
            value["cache"] = "elsewhere".into();
            value["place"] = json!(place);
        }
        StepState::ToRun { changed, memory } => {
            value["cache"] = "to_run".into();
            value["changed"] = json!(changed.as_deref().map(path));
            value["memory"] = json!(memory.map(|need| need.estimate.total()));
        }
        StepState::NoInput => value["reason"] = "the input model is not on this machine".into(),
        StepState::NoKey { reason } => value["reason"] = json!(reason),
    }
    value
}

fn data(step: &Step) -> Vec<Value> {
    let used = step.pass.data();
    let entry = |used: &DataUse<'_>| {
        let format = olive_data::row_format(used.config);
        json!({"name": used.config.name, "purpose": used.purpose.name(), "format": format})
    };
    used.iter().map(entry).collect()
}

fn option(option: &ResolvedOption) -> Value {
    let (origin, line) = match option.origin {
        Origin::File { line } => ("file", Some(line)),
        Origin::CommandLine => ("command_line", None),
        Origin::Default(Era::Old) => ("default_up_to_0.6", None),
        Origin::Default(Era::New) => ("default_since_0.7", None),
    };
    json!({"name": option.name, "value": option.value, "origin": origin, "line": line})
}
