//! What a configuration comes to, in words: passes, options and where their values come from.

use crate::report::wrap;
use olive_config::{
    AzureMlResource, DataConfig, DataFiles, Era, Evaluator, InputModel, Origin, ResolvedOption, ResourcePath,
    SearchedPass, System, SystemKind,
};
use olive_core::shown;
use olive_engine::passes::{DataPurpose, PassConfig};
use olive_engine::{Host, Plan, RunConfig, SearchSize, Step};
use std::path::Path;

/// Columns before the value of a field.
const FIELD: usize = 10;

/// The plan of a configuration, for stdout. `states` says of every step of every flow what the cache holds, `sizes` how much
/// there is to do in the search of each flow, `columns` how wide the terminal is, if it is one.
pub(crate) fn render(
    config: &RunConfig,
    plan: &Plan,
    states: &[Vec<String>],
    sizes: &[SearchSize],
    columns: Option<usize>,
) -> String {
    let options_in = |columns| {
        let options = move |pass: &PassConfig| options(&pass.resolved, &config.path, columns);
        config.passes.iter().flat_map(options)
    };
    // All tables have one form.
    let too_wide = |columns: &usize| options_in(None).any(|line| line.chars().count() > *columns);
    let narrow = columns.filter(too_wide);
    let mut lines = vec![format!("{}: {}", shown(&config.path), config.workflow_id)];
    lines.push(field("model", &model(&config.input_model)));
    lines.push(field("host", &system(config, config.engine.host.as_deref())));
    lines.push(field("target", &system(config, config.engine.target.as_deref())));
    let jobs: Vec<String> = plan.jobs().map(|(_, steps)| job(steps)).collect();
    if !jobs.is_empty() {
        lines.push(field("jobs", &format!("{}: {}", jobs.len(), jobs.join("; "))));
    }
    if let Some(search) = &config.search {
        lines.push(field("search", &search.strategy.describe()));
        lines.extend(sizes.iter().map(|size| field("", &size.to_string())));
        let varied = search.passes.iter().flat_map(self::varied);
        lines.extend(varied.map(|varied| field("", &varied)));
    }
    if let Some(evaluator) = &config.engine.evaluator {
        let models = if config.engine.evaluate_input_model { "input model and result" } else { "result" };
        lines.push(field("measure", &format!("{models}, {}", measured(evaluator))));
    }
    lines.push(field("cache", &shown(&config.engine.cache_dir).to_string()));
    lines.push(field("output", &shown(&config.engine.output_dir).to_string()));
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
            let step = plan.flows.get(index).and_then(|flow| flow.steps.get(number));
            match step.map(|step| &step.host) {
                // Where steps go elsewhere, every step says where it runs.
                Some(host) if !jobs.is_empty() => lines.push(field("host", &self::host(host))),
                _ => lines.extend(pass.host.as_ref().map(|host| field("host", &system(config, Some(host))))),
            }
            lines.extend(pass.evaluator.as_ref().map(|evaluator| field("measure", &measured(evaluator))));
            let used = pass.pass.data();
            for used in used.iter().filter(|used| used.purpose == DataPurpose::Training) {
                lines.push(field("data", &data(used.config)));
            }
            lines.extend(options(&pass.resolved, &config.path, narrow));
        }
    }
    let fitted = lines.iter().map(|line| match columns {
        Some(columns) => wrap::wrapped(line, columns, FIELD),
        None => line.clone(),
    });
    fitted.collect::<Vec<_>>().join("\n")
}

/// What a search varies in a pass: a line for every option.
fn varied(pass: &SearchedPass) -> impl Iterator<Item = String> {
    let several = pass.alternatives.len() > 1;
    let alternatives = several.then(|| format!("{}: {} alternatives", pass.name, pass.alternatives.len()));
    let options = pass.alternatives.iter().enumerate().flat_map(move |(number, alternative)| {
        let options = alternative.options.iter().filter(|option| option.values.len() > 1);
        options.map(move |option| {
            let values: Vec<String> = option.values.iter().map(text).collect();
            let number = if several { format!("[{number}]") } else { String::new() };
            format!("{}{number}.{}: {}", pass.name, option.name, values.join(", "))
        })
    });
    alternatives.into_iter().chain(options)
}

/// An evaluator with its values.
fn measured(evaluator: &Evaluator) -> String {
    format!("by `{}`: {}", evaluator.name, evaluator.keys().collect::<Vec<_>>().join(", "))
}

fn field(name: &str, value: &str) -> String {
    format!("  {name:<width$}{value}", width = FIELD - 2)
}

fn model(model: &InputModel) -> String {
    match model {
        InputModel::HuggingFace { model_path, adapter_path, revision, .. } => {
            let mut text = path(model_path);
            if let Some(revision) = revision {
                text.push_str(&format!(" at {revision}"));
            }
            if let Some(adapter) = adapter_path {
                text.push_str(&format!(" with the adapter {}", path(adapter)));
            }
            text
        }
        InputModel::Onnx { model_path } => format!("{} (ONNX)", path(model_path)),
    }
}

fn path(path: &ResourcePath) -> String {
    match path {
        ResourcePath::Local(path) => shown(Path::new(path)).to_string(),
        ResourcePath::AzureMl(resource) => place(resource),
    }
}

/// A place in AzureML, short enough for a line.
fn place(resource: &AzureMlResource) -> String {
    let AzureMlResource { client, place } = resource;
    let workspace = client.as_ref().map(|client| format!(" of {}", client.workspace.workspace_name));
    format!("azureml://{place}{}", workspace.unwrap_or_default())
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
        [] => format!("{name} ({})", kind(system)),
        _ => format!("{name} ({}, {})", kind(system), hardware.join("; ")),
    }
}

/// The kind of a system and, of AzureML, the compute that runs passes.
fn kind(system: &System) -> String {
    let compute = system.azure_ml.as_ref().map(|azure_ml| format!(", compute {}", azure_ml.compute));
    format!("{}{}", system.kind.name(), compute.unwrap_or_default())
}

/// Where a step runs.
fn host(host: &Host) -> String {
    match host {
        Host::ThisMachine => "this machine".into(),
        Host::System { name, kind } => format!("{name} ({})", kind.name()),
        Host::AzureMl { name, system } => {
            format!("{name} ({}, compute {})", SystemKind::AzureMl.name(), system.compute)
        }
    }
}

/// The passes of a job, and the system that runs it.
fn job(steps: &[Step]) -> String {
    let passes: Vec<&str> = steps.iter().map(|step| step.config.name.as_str()).collect();
    format!("{} on {}", passes.join(", "), steps[0].host.name().unwrap_or_default())
}

fn data(config: &DataConfig) -> String {
    let load = &config.load;
    let files = match &load.data_files {
        DataFiles::Unset => String::new(),
        DataFiles::Local(files) => format!(" from {}", files.join(", ")),
        DataFiles::PerSplit(splits) => {
            format!(" from {}", splits.values().flatten().cloned().collect::<Vec<_>>().join(", "))
        }
        DataFiles::Listed(splits) => {
            format!(" from {} files", splits.iter().map(|(_, files)| files.len()).sum::<usize>())
        }
        DataFiles::AzureMl(splits) => {
            format!(" from {}", splits.values().flatten().map(place).collect::<Vec<_>>().join(", "))
        }
        DataFiles::Remote { kind, description } => {
            format!(" from {description} ({kind}, cannot be read yet)")
        }
    };
    let format = olive_data::row_format(config).map(|format| format!(", conversations as {format}"));
    let mixed = config.mix.iter().map(|part| format!(", mixed with {} × {}", part.config.name, part.weight));
    let more: String = format.into_iter().chain(mixed).collect();
    format!("{}: {} [{}]{files}{more}", config.name, load.data_name, load.split)
}

/// A table of name, value and origin, within so many columns if there are few. Defaults that are null say nothing and are
/// left out.
fn options(options: &[ResolvedOption], path: &Path, columns: Option<usize>) -> Vec<String> {
    let shown =
        |option: &&ResolvedOption| !(option.value.is_null() && matches!(option.origin, Origin::Default(_)));
    let rows = |origin: &dyn Fn(Origin) -> String| -> Vec<[String; 3]> {
        let row = |option: &ResolvedOption| [option.name.clone(), text(&option.value), origin(option.origin)];
        options.iter().filter(shown).map(row).collect()
    };
    match columns {
        Some(columns) => narrow(&rows(&short_origin), columns),
        None => wide(rows(&|origin| self::origin(origin, path))),
    }
}

/// One line for each row, with values of bearable length.
fn wide(mut rows: Vec<[String; 3]>) -> Vec<String> {
    const WIDTH: usize = 44;
    rows.iter_mut().for_each(|row| row[1] = cut(&row[1], WIDTH));
    let [names, values] = [0, 1].map(|column| widest(&rows, column));
    let lines = rows.iter();
    lines.map(|[name, value, origin]| format!("  {name:<names$}  {value:<values$}  {origin}")).collect()
}

/// The same within so many columns: values that would not fit have a line of their own.
fn narrow(rows: &[[String; 3]], columns: usize) -> Vec<String> {
    const LEAST: usize = 8;
    const INDENT: usize = 6;
    let [names, origins] = [0, 2].map(|column| widest(rows, column));
    let values = columns.saturating_sub(names + origins + 6).max(LEAST);
    let mut lines = Vec::new();
    for [name, value, origin] in rows {
        let fits = value.chars().count() <= values;
        let beside = if fits { value.as_str() } else { "" };
        lines.push(format!("  {name:<names$}  {beside:<values$}  {origin}"));
        if !fits {
            let value = cut(value, columns.saturating_sub(INDENT).max(LEAST));
            lines.push(format!("{:INDENT$}{value}", ""));
        }
    }
    lines
}

fn widest(rows: &[[String; 3]], column: usize) -> usize {
    rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)
}

/// A value on one line.
pub(super) fn text(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Number(number) => match number.as_f64() {
            Some(value) if value.fract() == 0.0 && value.abs() < 1e15 => format!("{value:.0}"),
            _ => number.to_string(),
        },
        serde_json::Value::String(text) if !text.is_empty() && !text.contains(char::is_whitespace) => {
            text.clone()
        }
        value => value.to_string(),
    }
}

pub(super) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width - 1).chain(['…']).collect()
}

fn origin(origin: Origin, path: &Path) -> String {
    match origin {
        Origin::File { line } => format!("{}:{line}", path.file_name().unwrap_or_default().to_string_lossy()),
        Origin::CommandLine => "command line".into(),
        Origin::Default(Era::Old) => "default (Olive up to 0.6)".into(),
        Origin::Default(Era::New) => "default (Olive since 0.7)".into(),
    }
}

/// The same where there is little room; the plan begins with the name of the file.
fn short_origin(origin: Origin) -> String {
    match origin {
        Origin::File { line } => format!("line {line}"),
        Origin::CommandLine => "command line".into(),
        Origin::Default(Era::Old) => "default (<0.7)".into(),
        Origin::Default(Era::New) => "default (0.7+)".into(),
    }
}
