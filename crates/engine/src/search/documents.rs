//! What Olive writes beside the result of a search, and one line for each point.

use super::trial::{Found, Made};
use crate::flow_runner::FlowRunner;
use crate::model_document::{model_config, model_id};
use crate::output::Document;
use crate::searched::{SearchOutcome, TrialOutcome, TrialState};
use olive_core::Result;
use serde_json::{Map, Value, json};

/// `footprint.json`: every model that a search made or tried to make, by its id, on one line.
///
/// # Errors
/// A file of the input model cannot be read.
pub(super) fn footprint(found: &Found, runner: &FlowRunner) -> Result<Document> {
    let input = model_id(&runner.input_key()?);
    let mut nodes = Map::new();
    let root = Node { id: &input, parent: None, model: Value::Null, pass: None, options: Value::Null };
    nodes.insert(input.clone(), root.to_json([0.0, 0.0]));
    for (trial, made) in found.outcome.trials.iter().zip(&found.made) {
        match made {
            Some(made) => {
                let last = add_steps(&mut nodes, &input, made, runner);
                nodes[&last]["is_pareto_frontier"] = trial.is_on_frontier.into();
                nodes[&last]["metrics"] = metrics(trial, &found.outcome);
            }
            None => add_pruned(&mut nodes, &input, trial),
        }
    }
    Ok(Document::text("footprint.json", Value::Object(nodes).to_string()))
}

struct Node<'a> {
    id: &'a str,
    parent: Option<&'a str>,
    model: Value,
    pass: Option<String>,
    options: Value,
}

impl Node<'_> {
    /// `times` are the seconds since 1970 of its start and its end.
    fn to_json(&self, times: [f64; 2]) -> Value {
        json!({
            "parent_model_id": self.parent,
            "model_id": self.id,
            "model_config_data": self.model,
            "from_pass": self.pass,
            "pass_run_config": self.options,
            "is_pareto_frontier": false,
            "metrics": null,
            "start_time": times[0],
            "end_time": times[1],
        })
    }
}

/// Adds the models of a point that are not there yet, and gives the id of the last one.
fn add_steps(nodes: &mut Map<String, Value>, input: &str, made: &Made, runner: &FlowRunner) -> String {
    let mut model = runner.input.handle().clone();
    let mut parent = input.to_owned();
    let steps = made.prepared.flow.steps.iter().zip(&made.prepared.keys).zip(&made.steps);
    for ((step, key), outcome) in steps {
        model = model.made_into(step.output, outcome.path.clone());
        let id = model_id(&key.key);
        if !nodes.contains_key(&id) {
            let node = Node {
                id: &id,
                parent: Some(&parent),
                model: model_config(&model),
                pass: Some(step.pass.name().to_lowercase()),
                options: step.options(),
            };
            let manifest = runner.store.look_up(&key.artefact_id(step)).ok().map(|found| found.manifest);
            let times = manifest.map_or([0.0, 0.0], |manifest| {
                let start = manifest.started as f64;
                [start, start + manifest.seconds]
            });
            nodes.insert(id.clone(), node.to_json(times));
        }
        parent = id;
    }
    parent
}

/// Adds the model that a point did not come to, unless nothing is known of it.
fn add_pruned(nodes: &mut Map<String, Value>, input: &str, trial: &TrialOutcome) {
    let Some(id) = &trial.model_id else { return };
    let known = trial.ancestors.iter().rev().find(|id| nodes.contains_key(*id));
    let parent = known.map_or(input, String::as_str).to_owned();
    let model = json!({"is_pruned": true});
    let node = Node { id, parent: Some(&parent), model, pass: None, options: Value::Null };
    nodes.entry(id.clone()).or_insert_with(|| node.to_json([0.0, 0.0]));
}

fn metrics(trial: &TrialOutcome, outcome: &SearchOutcome) -> Value {
    let directions =
        outcome.objectives.iter().filter(|objective| trial.metrics.get(&objective.metric).is_some());
    let directions: Map<String, Value> = directions
        .map(|objective| (objective.metric.clone(), if objective.higher_is_better { 1 } else { -1 }.into()))
        .collect();
    json!({"value": trial.metrics, "cmp_direction": directions, "if_goals_met": trial.meets_goals()})
}

/// `search_results.jsonl`: one line for each point, in the order in which they were tried.
pub(super) fn search_results(outcome: &SearchOutcome) -> Document {
    let line = |trial: &TrialOutcome| {
        let values = outcome.varied.iter().zip(&trial.values);
        let values: Map<String, Value> =
            values.filter_map(|(name, value)| Some((name.clone(), value.clone()?))).collect();
        let mut line = serde_json::to_value(trial).expect("plain data");
        line["values"] = values.into();
        line.to_string() + "\n"
    };
    let text = outcome.trials.iter().map(line).collect();
    Document::text("search_results.jsonl", text)
}

/// `run_history.txt`: the models of all points as a table.
///
/// # Errors
/// A file of the input model cannot be read.
pub(super) fn run_history(found: &Found, runner: &FlowRunner) -> Result<Document> {
    let input = model_id(&runner.input_key()?);
    let head = ["model_id", "parent_model_id", "from_pass", "duration_sec", "metrics"];
    let mut rows = vec![head.map(str::to_owned)];
    rows.push([&input, "", "", "", ""].map(str::to_owned));
    for (trial, made) in found.outcome.trials.iter().zip(&found.made) {
        let Some(made) = made else { continue };
        let mut parent = input.clone();
        for (step, key) in made.steps.iter().zip(&made.prepared.keys) {
            let id = model_id(&key.key);
            let is_last = trial.model_id.as_ref() == Some(&id);
            let metrics = if is_last { one_line(trial) } else { String::new() };
            match rows.iter_mut().find(|row| row[0] == id) {
                Some(row) if is_last => row[4] = metrics,
                Some(_) => {}
                None => {
                    let pass = step.r#type.to_lowercase();
                    rows.push([id.clone(), parent, pass, format!("{:.3}", step.seconds), metrics]);
                }
            }
            parent = id;
        }
    }
    Ok(Document::text("run_history.txt", grid(&rows)))
}

fn one_line(trial: &TrialOutcome) -> String {
    let values = trial.metrics.iter().map(|(name, found)| format!("{name}: {}", found.value.as_f64()));
    let mut text = values.collect::<Vec<_>>().join(", ");
    if trial.state == TrialState::Measured && !trial.meets_goals() {
        text.push_str(" (goals missed)");
    }
    text
}

/// The grid that Olive's library of tables draws: a head, two columns wider than it need be, and lines between all rows.
fn grid(rows: &[[String; 5]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().enumerate().map(|(index, row)| {
            let more = if index == 0 { 2 } else { 0 };
            row[column].chars().count() + more
        });
        cells.max().unwrap_or(0)
    };
    let widths: [usize; 5] = std::array::from_fn(width);
    let rule = |fill: &str| format!("+{}+\n", widths.map(|width| fill.repeat(width + 2)).join("+"));
    let mut text = rule("-");
    for (index, row) in rows.iter().enumerate() {
        let cell = |(column, (cell, width)): (usize, (&String, usize))| match column {
            3 => format!(" {cell:>width$} "),
            _ => format!(" {cell:<width$} "),
        };
        let cells: Vec<String> = row.iter().zip(widths).enumerate().map(cell).collect();
        text.push_str(&format!("|{}|\n", cells.join("|")));
        text.push_str(&rule(if index == 0 { "=" } else { "-" }));
    }
    // The last line has no end.
    text.pop();
    text
}
