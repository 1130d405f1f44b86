//! What a configuration comes to, in words: passes, options and where their values come from.

use olive_config::{DataConfig, DataFiles, InputModel, Origin, ResolvedOption};
use olive_engine::RunConfig;
use olive_engine::passes::DataPurpose;
use std::path::Path;

/// The plan of a configuration, for stdout. `states` says of every step of every flow what the cache holds.
pub(crate) fn render(config: &RunConfig, states: &[Vec<String>]) -> String {
    let mut lines = vec![format!("{}: {}", config.path.display(), config.workflow_id)];
    lines.push(field("model", &model(&config.input_model)));
    lines.push(field("host", &system(config, config.engine.host.as_deref())));
    lines.push(field("target", &system(config, config.engine.target.as_deref())));
    lines.push(field("cache", &config.engine.cache_dir.display().to_string()));
    lines.push(field("output", &config.engine.output_dir.display().to_string()));
    let several = config.flows.len() > 1;
    for (index, flow) in config.flows.iter().enumerate() {
        if several {
            lines.push(format!("\nflow {} of {}", index + 1, config.flows.len()));
        }
        for (number, pass) in flow.iter().filter_map(|pass| config.passes.get(*pass)).enumerate() {
            lines.push(String::new());
            lines.push(format!("{}. {} ({})", number + 1, pass.name, pass.pass.name()));
            if let Some(state) = states.get(index).and_then(|flow| flow.get(number)) {
                lines.push(field("cache", state));
            }
            if let Some(host) = &pass.host {
                lines.push(field("host", &system(config, Some(host))));
            }
            let used = pass.pass.data();
            for used in used.iter().filter(|used| used.purpose == DataPurpose::Training) {
                lines.push(field("data", &data(used.config)));
            }
            lines.extend(options(&pass.resolved, &config.path));
        }
    }
    lines.join("\n")
}

fn field(name: &str, value: &str) -> String {
    format!("  {name:<8}{value}")
}

fn model(model: &InputModel) -> String {
    match model {
        InputModel::HuggingFace { model_path, adapter_path, revision, .. } => {
            let mut text = model_path.clone();
            if let Some(revision) = revision {
                text.push_str(&format!(" at {revision}"));
            }
            if let Some(adapter) = adapter_path {
                text.push_str(&format!(" with the adapter {}", adapter.display()));
            }
            text
        }
        InputModel::Onnx { model_path } => format!("{} (ONNX)", model_path.display()),
    }
}

fn system(config: &RunConfig, name: Option<&str>) -> String {
    let Some(name) = name else { return "this machine".into() };
    let Some(system) = config.systems.get(name) else { return name.to_owned() };
    let hardware: Vec<String> = system
        .accelerators
        .iter()
        .map(|accelerator| {
            format!("{} with {}", accelerator.device, accelerator.execution_providers.join(", "))
        })
        .collect();
    match hardware.as_slice() {
        [] => format!("{name} ({})", system.kind.name()),
        _ => format!("{name} ({}, {})", system.kind.name(), hardware.join("; ")),
    }
}

fn data(config: &DataConfig) -> String {
    let load = &config.load;
    let files = match &load.data_files {
        DataFiles::Unset => String::new(),
        DataFiles::Local(files) => format!(" from {}", files.join(", ")),
        DataFiles::PerSplit(splits) => {
            format!(" from {}", splits.values().flatten().cloned().collect::<Vec<_>>().join(", "))
        }
        DataFiles::Remote { kind, description } => {
            format!(" from {description} ({kind}, cannot be read yet)")
        }
    };
    format!("{}: {} [{}]{files}", config.name, load.data_name, load.split)
}

/// A table of name, value and origin. Defaults that are null say nothing and are left out.
fn options(options: &[ResolvedOption], path: &Path) -> Vec<String> {
    let rows: Vec<(&str, String, String)> = options
        .iter()
        .filter(|option| !(option.value.is_null() && matches!(option.origin, Origin::Default(_))))
        .map(|option| (option.name.as_str(), short(&option.value), origin(option.origin, path)))
        .collect();
    let name_width = rows.iter().map(|(name, ..)| name.len()).max().unwrap_or(0);
    let value_width = rows.iter().map(|(_, value, _)| value.chars().count()).max().unwrap_or(0);
    let lines = rows.into_iter();
    lines
        .map(|(name, value, origin)| format!("  {name:<name_width$}  {value:<value_width$}  {origin}"))
        .collect()
}

/// A value on one line of bearable length.
fn short(value: &serde_json::Value) -> String {
    const WIDTH: usize = 44;
    let text = match value {
        serde_json::Value::Number(number) => match number.as_f64() {
            Some(value) if value.fract() == 0.0 && value.abs() < 1e15 => format!("{value:.0}"),
            _ => number.to_string(),
        },
        serde_json::Value::String(text) if !text.is_empty() && !text.contains(char::is_whitespace) => {
            text.clone()
        }
        value => value.to_string(),
    };
    if text.chars().count() <= WIDTH {
        return text;
    }
    text.chars().take(WIDTH - 1).chain(['…']).collect()
}

fn origin(origin: Origin, path: &Path) -> String {
    use olive_config::Era;
    match origin {
        Origin::File { line } => format!("{}:{line}", path.file_name().unwrap_or_default().to_string_lossy()),
        Origin::CommandLine => "command line".into(),
        Origin::Default(Era::Old) => "default (Olive up to 0.6)".into(),
        Origin::Default(Era::New) => "default (Olive since 0.7)".into(),
    }
}
