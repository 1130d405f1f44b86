//! What `olive init` proposes, in words.

use crate::report::number::{bytes, duration};
use olive_core::available::Available;
use olive_core::shown;
use olive_model::ModelFolder;
use olive_project::{CONFIGURATION, Layout, Method, Outcome, Prospect, RowShape, Trained, parameters};
use std::path::Path;

/// What was seen of the rows.
pub(super) struct Surveyed {
    pub rows: usize,
    /// Rows that cannot be learned exactly.
    pub bad: usize,
    pub tokens: usize,
    /// Tokens that count in the loss.
    pub counted: usize,
    /// Tokens of the longest row.
    pub longest: usize,
    /// Rows longer than a block.
    pub cut: usize,
    pub shape: RowShape,
}

/// The proposal, a line for each thing.
pub(super) fn summary(
    model: &ModelFolder,
    surveyed: Option<&Surveyed>,
    prospect: &Prospect,
    layout: &Layout,
) -> String {
    let proposal = &layout.proposal;
    let mut lines = vec![field("model", &model_in_words(&proposal.model, model))];
    if let (Some(trained), Some(surveyed)) = (&proposal.trained, surveyed) {
        lines.extend(data(trained, surveyed));
        lines.extend(training(trained, prospect));
    }
    if let Some(needed) = prospect.memory {
        let available = Available::now().memory;
        let of =
            available.map(|available| format!(" beside the weights, of {} that are free", bytes(available)));
        lines.push(field("memory", &format!("about {}{}", bytes(needed), of.unwrap_or_default())));
    }
    if let Some(time) = prospect.duration {
        lines
            .push(field("time", &format!("about {} on this machine", duration(time.as_secs_f64().max(1.0)))));
    }
    let outcome = match proposal.outcome {
        Outcome::Int4 => "an ONNX model in 4 bits",
        Outcome::Float32 => "an ONNX model in float32",
        Outcome::Merged => "a Hugging Face folder",
        Outcome::Adapter => "a PEFT adapter",
    };
    lines.push(field("result", &format!("{outcome}, in {}", proposal.output_dir)));
    lines.join("\n")
}

/// What was written, and the one command that comes next.
pub(super) fn ending(layout: &Layout, written: &[&str]) -> String {
    let root = layout.root.strip_prefix(".").unwrap_or(&layout.root);
    let mut lines = vec![String::new()];
    lines.extend(written.iter().map(|file| format!("  wrote {}", shown(&root.join(file)))));
    lines.push(String::from("\nNext:\n"));
    if root != Path::new("") {
        lines.push(format!("  cd {}", shown(root)));
    }
    lines.push(format!("  {}", layout.command()));
    lines.push(format!(
        "\nWhat {CONFIGURATION} says is explained beside it; then ask the result: inferences/ask.sh"
    ));
    lines.join("\n")
}

fn field(name: &str, value: &str) -> String {
    format!("{name:<10}{value}")
}

fn model_in_words(name: &str, model: &ModelFolder) -> String {
    let mut text = name.to_owned();
    if let Ok(spec) = model.spec() {
        text.push_str(&format!(": {}", spec.model_type));
        if let Some(parameters) = parameters(model) {
            text.push_str(&format!(", {} parameters", count(parameters)));
        }
        text.push_str(&format!(", context of {} tokens", spec.context_length));
    }
    text
}

fn data(trained: &Trained, surveyed: &Surveyed) -> Vec<String> {
    let shape = match &surveyed.shape {
        RowShape::Conversation(format) => format!("conversations ({})", format.name()),
        RowShape::Pair { question, answer } => format!("`{question}` is asked, `{answer}` is learned"),
        RowShape::Text { column } => format!("`{column}` is learned"),
        RowShape::Template(_) => "a text of several columns is learned".into(),
    };
    let share = 100.0 * surveyed.counted as f64 / surveyed.tokens.max(1) as f64;
    let mut lines = vec![
        field("data", &format!("{}: {} rows, {shape}", trained.data.file, surveyed.rows)),
        field(
            "",
            &format!(
                "{} tokens, {share:.0} % of them in the loss; the longest row has {}",
                surveyed.tokens, surveyed.longest
            ),
        ),
    ];
    if surveyed.bad > 0 {
        lines.push(field("", &format!("{} rows cannot be learned and are left out", surveyed.bad)));
    }
    let is_cut = surveyed.cut > 0 && !matches!(surveyed.shape, RowShape::Text { .. });
    if is_cut {
        let text = format!("{} rows are cut to {} tokens", surveyed.cut, trained.data.block);
        lines.push(field("", &text));
    }
    lines
}

fn training(trained: &Trained, prospect: &Prospect) -> Vec<String> {
    let training = &trained.training;
    let method = match training.method {
        Method::Lora => "LoRA",
        Method::Qlora => "QLoRA: the weights are held in 4 bits",
    };
    let length = prospect.length.map(|length| {
        let rows = if training.rows == 1 { "row" } else { "rows" };
        let steps = if length.steps == 1 { "step" } else { "steps" };
        format!("{} {steps} of {} {rows}, {} tokens in all", length.steps, training.rows, length.tokens)
    });
    let epochs = if training.epochs == 1 { "1 epoch".into() } else { format!("{} epochs", training.epochs) };
    let mut lines =
        vec![field("training", &format!("{method}; {epochs}, learning rate {}", training.learning_rate))];
    lines.extend(length.map(|length| field("", &length)));
    if training.holds_out {
        lines.push(field(
            "",
            "a tenth of the rows is held out; the models before and after are measured on it",
        ));
    }
    lines
}

/// `135 M`.
fn count(number: u64) -> String {
    match number {
        0..1_000_000 => format!("{:.0} k", number as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.0} M", number as f64 / 1e6),
        _ => format!("{:.1} B", number as f64 / 1e9),
    }
}
