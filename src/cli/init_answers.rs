//! What `olive init` must know, and asks if nobody has said it.

use super::download::own_folder;
use super::init_args::{InitArgs, ResultKind};
use super::{output, questions};
use clap::ValueEnum;
use olive_config::nearest;
use olive_core::event::{Event, EventSink};
use olive_core::{Error, Fault, Result, shown};
use olive_engine::Environment;
use olive_model::HubModel;
use olive_model::hub_folder::{OtherFiles, download};
use olive_project::{Columns, Outcome, ProjectError, RowShape};
use std::path::{Path, PathBuf};

/// Everything that is not computed.
pub(super) struct Answers {
    /// A folder, a GGUF file or a hub id.
    pub model: String,
    pub data: DataAnswer,
    pub outcome: Outcome,
    /// Somebody is there to be asked.
    pub asks: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DataAnswer {
    File(PathBuf),
    None,
}

/// Endings of files that may be data.
const DATA: [&str; 8] = ["jsonl", "ndjson", "json", "csv", "tsv", "parquet", "txt", "gz"];

/// Entries of a folder that are looked at, and shown.
const MOST: usize = 200;

impl Answers {
    pub(super) fn gather(
        args: &InitArgs,
        environment: &Environment,
        events: &dyn EventSink,
    ) -> Result<Answers> {
        let asks = !args.yes && questions::can_be_asked();
        if let Some(file) = args.data.as_ref().filter(|file| !file.exists()) {
            return Err(no_such_file(file));
        }
        let model = match &args.model {
            Some(model) => model.clone(),
            None => model(args, asks)?,
        };
        let data = match (&args.data, args.no_data) {
            (Some(file), _) => DataAnswer::File(file.clone()),
            (None, true) => DataAnswer::None,
            (None, false) => data(args, asks)?,
        };
        let outcome = match args.result {
            Some(kind) => kind.outcome(),
            None if asks => outcome(&data)?,
            None => Outcome::Int4,
        };
        if data == DataAnswer::None && matches!(outcome, Outcome::Merged | Outcome::Adapter) {
            return Err(InitError::NothingToDo.into());
        }
        let model = fetched(model, args, environment, events)?;
        Ok(Answers { model, data, outcome, asks })
    }

    /// What the rows are: as said, as asked, or as their columns tell.
    pub(super) fn shape(&self, columns: &Columns, args: &InitArgs) -> Result<RowShape> {
        if let (Some(question), Some(answer)) = (&args.question, &args.answer) {
            return Ok(RowShape::Pair { question: question.clone(), answer: answer.clone() });
        }
        if let Some(column) = &args.text {
            return Ok(RowShape::Text { column: column.clone() });
        }
        if let Some(template) = &args.template {
            return Ok(RowShape::Template(template.clone()));
        }
        let shape = columns.shape();
        match (shape, self.asks) {
            (Some(shape), false) => Ok(shape),
            (Some(shape @ RowShape::Conversation(_)), true) => Ok(shape),
            (Some(shape), true) => confirmed_shape(shape, columns),
            (None, true) if !columns.texts.is_empty() => asked_shape(columns),
            (None, _) => Err(ProjectError::UnknownShape { names: columns.names.clone() }.into()),
        }
    }

    /// Where the result goes, from the project's root.
    pub(super) fn output(&self) -> String {
        let stem = |path: &Path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let stem = name.split('.').find(|part| !part.is_empty()).unwrap_or("model").to_owned();
            stem.replace(|c: char| !c.is_alphanumeric() && c != '-' && c != '_', "-")
        };
        let name = match &self.data {
            DataAnswer::File(file) => stem(file),
            DataAnswer::None => stem(Path::new(&self.model)),
        };
        format!("gen-model/{name}")
    }
}

/// A model of the hub, in the project; offline, or where it cannot be had, what a run would find.
fn fetched(
    model: String,
    args: &InitArgs,
    environment: &Environment,
    events: &dyn EventSink,
) -> Result<String> {
    let Some(hub) = HubModel::named(&model, None) else { return Ok(model) };
    if environment.source.offline {
        return Ok(model);
    }
    let folder = args.dir.join(own_folder(&hub.id));
    events.emit(Event::Info { message: format!("`{}` goes into {}", hub.id, shown(&folder)) });
    download(&hub.id, "main", &folder, OtherFiles::Refuse, &environment.source, events)?;
    Ok(folder.display().to_string())
}

fn model(args: &InitArgs, asks: bool) -> Result<String> {
    let found: Vec<String> = [args.dir.join("model-cache"), PathBuf::from("model-cache")]
        .iter()
        .flat_map(|folder| entries(folder))
        .filter(|path| path.join("config.json").is_file() || has_ending(path, &["gguf"]))
        .map(|path| path.display().to_string())
        .collect();
    let found = without_repetitions(found);
    if !asks {
        return match <[String; 1]>::try_from(found) {
            Ok([model]) => Ok(model),
            Err(found) => Err(InitError::Unsaid { what: "model", flag: "--model MODEL", found }.into()),
        };
    }
    let other = "another: a folder, a GGUF file, or a model of the hub (organisation/name)";
    choose("Which model?", found, other, "Model")
}

fn data(args: &InitArgs, asks: bool) -> Result<DataAnswer> {
    let folders =
        [args.dir.join("datasets"), PathBuf::from("datasets"), args.dir.clone(), PathBuf::from(".")];
    let found = folders.iter().flat_map(|folder| entries(folder)).filter(|path| is_data(path));
    let found = without_repetitions(found.map(|path| path.display().to_string()).collect());
    if !asks {
        return match <[String; 1]>::try_from(found) {
            Ok([file]) => Ok(DataAnswer::File(file.into())),
            Err(found) => {
                Err(InitError::Unsaid { what: "data", flag: "--data FILE, or --no-data", found }.into())
            }
        };
    }
    const NONE: &str = "none: only convert the model";
    let mut choices = found;
    choices.push(NONE.into());
    let chosen = choose("Which data?", choices, "another file", "File")?;
    Ok(if chosen == NONE { DataAnswer::None } else { DataAnswer::File(chosen.into()) })
}

fn outcome(data: &DataAnswer) -> Result<Outcome> {
    let kinds: Vec<ResultKind> = match data {
        DataAnswer::File(_) => ResultKind::value_variants().to_vec(),
        DataAnswer::None => vec![ResultKind::Int4, ResultKind::Float32],
    };
    let words: Vec<String> = kinds.iter().map(|kind| in_words(*kind).to_owned()).collect();
    Ok(kinds[questions::select("What shall come of it?", &words)?].outcome())
}

fn in_words(kind: ResultKind) -> &'static str {
    match kind {
        ResultKind::Int4 => "an ONNX model in 4 bits: small and fast on a processor",
        ResultKind::Float32 => "an ONNX model in float32",
        ResultKind::Merged => "a Hugging Face folder, for vLLM and others (`olive export` makes GGUF of it)",
        ResultKind::Adapter => "an adapter (PEFT)",
    }
}

fn confirmed_shape(shape: RowShape, columns: &Columns) -> Result<RowShape> {
    let words = match &shape {
        RowShape::Pair { question, answer } => format!("`{question}` is asked, `{answer}` is the answer"),
        RowShape::Text { column } => format!("`{column}` is a text to learn"),
        _ => return Ok(shape),
    };
    match questions::select("What are the rows?", &[words, "something else".into()])? {
        0 => Ok(shape),
        _ => asked_shape(columns),
    }
}

fn asked_shape(columns: &Columns) -> Result<RowShape> {
    let texts = &columns.texts;
    let kinds = ["a question and its answer", "a text", "a text made of several columns"].map(str::to_owned);
    Ok(match questions::select("What is a row?", &kinds)? {
        0 => {
            let question = texts[questions::select("Which column is asked?", texts)?].clone();
            let others: Vec<String> = texts.iter().filter(|column| **column != question).cloned().collect();
            let answer = match others.as_slice() {
                [] => question.clone(),
                others => others[questions::select("Which column is the answer?", others)?].clone(),
            };
            RowShape::Pair { question, answer }
        }
        1 => RowShape::Text { column: texts[questions::select("Which column?", texts)?].clone() },
        _ => {
            output::note(&format!("Columns stand in braces: {}", braced(columns)));
            RowShape::Template(questions::text("Text")?)
        }
    })
}

fn braced(columns: &Columns) -> String {
    columns.names.iter().map(|name| format!("{{{name}}}")).collect::<Vec<_>>().join(", ")
}

/// One of these, or what is typed.
fn choose(question: &str, mut choices: Vec<String>, other: &str, typed: &str) -> Result<String> {
    if choices.is_empty() {
        return questions::text(question);
    }
    choices.push(other.to_owned());
    let chosen = questions::select(question, &choices)?;
    if chosen + 1 == choices.len() { questions::text(typed) } else { Ok(choices.swap_remove(chosen)) }
}

/// The first entries of a folder by name, without those that are hidden.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let shown =
        |path: &PathBuf| path.file_name().is_some_and(|name| !name.to_string_lossy().starts_with('.'));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(shown).take(MOST).collect();
    paths.sort();
    paths
}

fn has_ending(path: &Path, endings: &[&str]) -> bool {
    path.is_file()
        && path
            .extension()
            .is_some_and(|ending| endings.contains(&ending.to_string_lossy().to_lowercase().as_str()))
}

/// Whether a file may hold rows. Configurations and files of models do not.
fn is_data(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let of_programs = name.contains("config")
        || name.contains("schema")
        || name == "package.json"
        || name.starts_with("requirements");
    has_ending(path, &DATA) && !of_programs
}

/// Folders may be the same one by two names.
fn without_repetitions(paths: Vec<String>) -> Vec<String> {
    let mut seen = Vec::new();
    paths
        .into_iter()
        .filter(|path| {
            let whole = Path::new(path).canonicalize().ok();
            let is_new = !seen.contains(&whole);
            seen.push(whole);
            is_new
        })
        .map(|path| path.strip_prefix("./").map_or(path.clone(), str::to_owned))
        .collect()
}

/// A file that is not there, and one that may be meant.
fn no_such_file(file: &Path) -> Error {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let there: Vec<String> = entries(folder)
        .iter()
        .filter(|path| is_data(path))
        .filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
        .collect();
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let near = nearest(&name, there.iter().map(String::as_str)).map(str::to_owned);
    InitError::NoFile { file: file.to_owned(), near }.into()
}

/// A file from which nothing is read.
pub(super) fn no_rows(file: &Path) -> Error {
    InitError::NoRows { file: file.to_owned() }.into()
}

#[derive(Debug, thiserror::Error)]
enum InitError {
    #[error("which {what} is not said, and {}", found_in_words(found))]
    Unsaid { what: &'static str, flag: &'static str, found: Vec<String> },
    #[error("without data nothing is trained, and nothing would be made")]
    NothingToDo,
    #[error("there is no file `{}`", shown(file))]
    NoFile { file: PathBuf, near: Option<String> },
    #[error("no rows are read from `{}`", shown(file))]
    NoRows { file: PathBuf },
}

fn found_in_words(found: &[String]) -> String {
    match found {
        [] => "none is found in the project".into(),
        found => format!("there are {}: {}", found.len(), found.join(", ")),
    }
}

impl Fault for InitError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            InitError::Unsaid { flag, .. } => format!("say it with {flag}"),
            InitError::NoFile { near: Some(near), .. } => format!("did you mean `{near}`?"),
            InitError::NoFile { near: None, .. } => {
                "paths are relative to the folder the command was started in".into()
            }
            InitError::NothingToDo => "give data with --data, or ask for --result int4".into(),
            InitError::NoRows { .. } => "give a file of rows: JSON lines, JSON, CSV, Parquet or text".into(),
        })
    }

    fn exit_code(&self) -> u8 {
        2
    }
}
