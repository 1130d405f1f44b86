//! The model card of an output folder: `README.md` with the head that the Hugging Face Hub reads (hub-docs, `modelcard.md`).

use crate::format::{real, time};
use crate::run::Run;
use crate::stages::Stages;
use crate::visible::visible;
use olive_engine::record::{Metric, OptionDocument};
use serde_json::Value;
use std::path::Path;

/// The file of an output folder.
pub const CARD: &str = "README.md";

/// Tells cards of this program from those of people.
const MARK: &str = "# Written by olive; the next run writes it anew.";

/// Whether a file is a card that this program wrote, and may therefore be written again.
pub fn is_card(path: &Path) -> bool {
    olive_core::file::read(path).is_ok_and(|text| text.starts_with(format!("---\n{MARK}\n").as_bytes()))
}

/// What the result is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Adapter,
    Merged,
    Onnx,
}

/// What a run that has succeeded made, from what, how, and how good it is. `None`: it made no model of a flow of its own.
pub fn card(run: &Run) -> Option<String> {
    let steps = run.plan.as_ref()?.flows.first()?.steps.iter().map(|step| step.r#type.as_str());
    let types: Vec<&str> = steps.collect();
    let is_training = |kind: &&&str| matches!(**kind, "LoRA" | "QLoRA" | "DoRA" | "LoftQ");
    let training = types.iter().find(is_training).copied();
    let kind = match types.last().copied()? {
        "ModelBuilder" => Kind::Onnx,
        "MergeAdapterWeights" => Kind::Merged,
        _ => Kind::Adapter,
    };
    let base = Base::of(run)?;
    let mut card = head(kind, training, &base);
    let folder = run.plan.as_ref()?.flows.first()?.output_dir.to_string_lossy().into_owned();
    card.push_str(&format!("\n# {}\n\n{}\n", code(last_part(&folder)), about(run, kind, training, &base)));
    card.push_str(&passes(run));
    card.push_str(&losses(run));
    card.push_str(&measured(run));
    card.push_str(USE);
    Some(card)
}

/// The model that the run began with.
struct Base {
    /// `organisation/name`, or the last part of a path: where a model lies on somebody's machine is nobody's business.
    name: String,
    is_of_the_hub: bool,
}

impl Base {
    fn of(run: &Run) -> Option<Base> {
        let path = model_path(&run.plan.as_ref()?.input_model)?;
        let is_of_the_hub = path.matches('/').count() == 1
            && !path.starts_with(['/', '.', '~'])
            && !path.ends_with('/')
            && !Path::new(path).exists();
        let name = if is_of_the_hub { path } else { last_part(path) };
        Some(Base { name: name.to_owned(), is_of_the_hub })
    }
}

/// The first `model_path` in the input model, whatever kind that is of.
fn model_path(model: &Value) -> Option<&str> {
    match model {
        Value::Object(map) => match map.get("model_path") {
            Some(Value::String(path)) => Some(path),
            Some(nested) => nested.as_object()?.values().find_map(Value::as_str),
            None => map.values().find_map(model_path),
        },
        _ => None,
    }
}

fn last_part(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or(path)
}

fn head(kind: Kind, training: Option<&str>, base: &Base) -> String {
    let mut lines = vec!["---".to_owned(), MARK.to_owned(), "pipeline_tag: text-generation".into()];
    match kind {
        Kind::Adapter => lines.push("library_name: peft".into()),
        Kind::Merged => lines.push("library_name: transformers".into()),
        Kind::Onnx => {}
    }
    if base.is_of_the_hub {
        let relation = match (kind, training) {
            (Kind::Adapter, _) => "adapter",
            (Kind::Merged, _) | (Kind::Onnx, Some(_)) => "finetune",
            (Kind::Onnx, None) => "quantized",
        };
        lines.push(format!("base_model: {}", Value::from(base.name.as_str())));
        lines.push(format!("base_model_relation: {relation}"));
    }
    lines.push("tags:".into());
    let training = training.map(str::to_lowercase);
    let onnx = (kind == Kind::Onnx).then_some(["onnx", "onnxruntime-genai"]).into_iter().flatten();
    lines.extend(["olive"].into_iter().chain(training.as_deref()).chain(onnx).map(|tag| format!("- {tag}")));
    lines.push("---\n".into());
    lines.join("\n")
}

fn about(run: &Run, kind: Kind, training: Option<&str>, base: &Base) -> String {
    let document = run.record.run();
    let what = match kind {
        Kind::Adapter => "An adapter (PEFT) for",
        Kind::Merged => "A Hugging Face model made of",
        Kind::Onnx => "An ONNX model for ONNX Runtime and onnxruntime-genai, made of",
    };
    let trained = training.map(|training| format!(", trained with {training}")).unwrap_or_default();
    let when = time(document.ended.unwrap_or(document.started));
    format!("{what} {}{trained}. Made by olive {} on {when}.", code(&base.name), document.olive_version)
}

/// The passes, and the options that somebody chose.
fn passes(run: &Run) -> String {
    let mut text = String::from("\n## How it was made\n\n| pass | option | value |\n|---|---|---|\n");
    for step in run.plan.iter().flat_map(|plan| &plan.flows).flat_map(|flow| &flow.steps) {
        text.push_str(&format!("| {} | | {} |\n", code(&step.pass), step.r#type));
        let is_chosen = |option: &&OptionDocument| !option.origin.starts_with("default");
        for option in step.resolved.iter().filter(is_chosen) {
            text.push_str(&format!("| | {} | {} |\n", code(&option.name), code(&shortened(&option.value))));
        }
    }
    text
}

/// A value without the folders of the machine that it was used on.
fn shortened(value: &Value) -> String {
    match value {
        Value::String(text) if text.starts_with('/') => last_part(text).to_owned(),
        Value::String(text) if !text.contains('\n') => text.clone(),
        other => other.to_string(),
    }
}

/// The loss on held-out rows, before the first step and at its lowest.
fn losses(run: &Run) -> String {
    let evaluations: Vec<(usize, f64)> = run
        .metrics
        .iter()
        .filter_map(|metric| match metric {
            Metric::Eval { step, loss, .. } if loss.is_finite() => Some((*step, *loss)),
            _ => None,
        })
        .collect();
    let lowest = evaluations.iter().min_by(|a, b| a.1.total_cmp(&b.1));
    match (evaluations.first(), lowest) {
        (Some((0, before)), Some((step, after))) if *step > 0 => format!(
            "\nOn rows that were held out, the loss fell from {} to {} (step {step}).\n",
            real(*before),
            real(*after)
        ),
        _ => String::new(),
    }
}

/// What evaluators measured of the stages.
fn measured(run: &Run) -> String {
    let stages = Stages::of(run);
    if stages.metrics.is_empty() {
        return String::new();
    }
    let names: Vec<String> = stages.metrics.iter().map(|name| code(name)).collect();
    let mut text = format!(
        "\n## Evaluation\n\n| model | {} |\n|---|{}\n",
        names.join(" | "),
        "---|".repeat(names.len())
    );
    for stage in stages.rows.iter().filter(|stage| stage.evaluation.is_some()) {
        let values: Vec<String> =
            stages.metrics.iter().map(|name| stage.metric(name).unwrap_or_default()).collect();
        text.push_str(&format!("| {} | {} |\n", code(&stage.name), values.join(" | ")));
    }
    text
}

const USE: &str = "
## Use

```sh
olive chat .
```
";

/// A name or a value, which cannot be anything else.
fn code(text: &str) -> String {
    let text = visible(text).replace(['\n', '\r'], " ").replace('`', "'").replace('|', "\\|");
    if text.is_empty() { String::new() } else { format!("`{text}`") }
}
