//! Faults of data, with the file, the row and the column where they are known.

use crate::row_fault::RowFault;
use olive_config::READERS;
use olive_core::shown;
use std::fmt;
use std::path::PathBuf;

/// Where a row comes from. Lines and rows count from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    pub path: PathBuf,
    pub number: u64,
    pub numbering: Numbering,
}

/// What the number of a [`Location`] counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbering {
    /// Lines of the file.
    Lines,
    /// Rows of the file, which has no lines or several lines per row.
    Rows,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.numbering {
            Numbering::Lines => "line",
            Numbering::Rows => "row",
        };
        write!(f, "`{}`, {unit} {}", shown(&self.path), self.number)
    }
}

/// A fault of data or of its configuration.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    #[error("the data files lie in {kind} ({description}), which this program cannot reach")]
    Remote {
        /// Name in `data_configs`, as far as it is known.
        name: Option<String>,
        kind: String,
        description: String,
    },
    #[error("the data lie in {place}, `{address}`, which is not on this machine yet")]
    InAzureMl {
        /// Name in `data_configs`, as far as it is known.
        name: Option<String>,
        place: &'static str,
        address: String,
    },
    #[error(
        "`{data_name}` is neither a loader nor a folder or file of rows here; datasets of the hub are not downloaded"
    )]
    NotLocal { data_name: String },
    #[error("the loader `{data_name}` is not supported")]
    UnknownLoader { data_name: String },
    #[error("the loader `{loader}` has no files: neither `data_files` nor `data_dir` is given")]
    NoFiles { loader: &'static str },
    #[error("the data file `{}` does not exist", shown(path))]
    MissingFile { path: PathBuf },
    #[error("the pattern `{pattern}` matches no file")]
    NoMatch { pattern: String },
    #[error("the pattern `{pattern}` is not valid: {reason}")]
    BadPattern { pattern: String, reason: String },
    #[error("the search for `{wanted}` leads through more than {most} folders behind links")]
    TooManyFolders {
        /// A folder or a pattern.
        wanted: String,
        most: usize,
    },
    #[error("the folder `{}` holds no {what}", shown(path))]
    EmptyFolder { path: PathBuf, what: String },
    #[error("the subset `{subset}` cannot be chosen: `{}` is a plain folder", shown(path))]
    Subset { path: PathBuf, subset: String },
    #[error("`{split}` is not a split: {reason}")]
    BadSplit { split: String, reason: String },
    #[error("there is no split `{split}`; there is {}", list(known))]
    UnknownSplit { split: String, known: Vec<String> },
    #[error("the split `{split}` selects none of the {rows} rows")]
    NoRows { split: String, rows: usize },
    #[error("none of the {rows} rows passes `col_filters`")]
    AllFiltered { rows: usize },
    #[error("the data file `{}` is empty", shown(path))]
    EmptyFile { path: PathBuf },
    #[error("the reader `{reader}` has no option `{option}`")]
    ReaderOption { reader: &'static str, option: String, owner: &'static str },
    #[error("{location}: {found} values where the header has {} columns", header.len())]
    TooManyValues { location: Location, found: usize, header: Vec<String> },
    #[error("{location}: {reason}")]
    Malformed { location: Location, reason: String },
    #[error("`{}`: {reason}", shown(path))]
    Unreadable { path: PathBuf, reason: String },
    #[error("{location}: the rows up to here take more than the {} of memory that there are for rows", gigabytes(*room))]
    NoRoomForRow { location: Location, room: u64 },
    #[error("`{}` holds more than the {} of memory that there are for rows", shown(path), gigabytes(*room))]
    NoRoomForFile { path: PathBuf, room: u64 },
    #[error("`{}` is {format}, which is not unpacked here", shown(path))]
    Packed { path: PathBuf, format: &'static str },
    #[error("{location}: the text is not UTF-8")]
    NotUtf8 { location: Location },
    #[error("`{}` has no field `{field}`; it has {}", shown(path), list(known))]
    MissingField { path: PathBuf, field: String, known: Vec<String> },
    #[error("{location}: there is no column `{column}`, which {wanted_by} needs; there is {}", list(known))]
    MissingColumn { location: Location, column: String, wanted_by: &'static str, known: Vec<String> },
    #[error("{location}: the column `{column}` holds {found} where {expected} is needed")]
    ColumnType { location: Location, column: String, found: &'static str, expected: &'static str },
    #[error("the text template is not valid at character {position}: {reason}")]
    Template { position: usize, reason: String },
    #[error("{location}: `{{{field}}}` cannot be formatted: {reason}")]
    Format { location: Location, field: String, reason: String },
    #[error("{}the chat template is not valid: {reason}", prefix(file))]
    ChatTemplate {
        /// `None`: it stands in the configuration.
        file: Option<PathBuf>,
        reason: String,
    },
    #[error(
        "{}the chat template refuses {}: {reason}",
        prefix(file),
        location.as_ref().map_or("the messages".into(), |l| l.to_string())
    )]
    Render { file: Option<PathBuf>, location: Option<Location>, reason: String },
    #[error("{location}: the token `{token}` ({id}) is beyond the model's vocabulary of {vocabulary}")]
    BeyondVocabulary { location: Location, token: String, id: u32, vocabulary: usize },
    #[error("the tokenizer in `{}` has no chat template", shown(dir))]
    NoChatTemplate { dir: PathBuf },
    #[error("{location}: the text cannot be tokenised: {reason}")]
    Tokenise { location: Location, reason: String },
    #[error("{location}: no conversation is found in the columns {}", list(known))]
    NoFormat { location: Location, known: Vec<String> },
    #[error("{location}: the columns fit more than one format, `{}` and `{}`", formats[0], formats[1])]
    SeveralFormats { location: Location, formats: [&'static str; 2] },
    #[error("{location}: the format `{format}` needs {columns}; there is {}", list(known))]
    FormatColumns { location: Location, format: &'static str, columns: &'static str, known: Vec<String> },
    #[error("{location}: {fault}{}", of_all(*bad, *rows))]
    BadRow { location: Location, fault: RowFault, bad: usize, rows: usize },
    #[error("`template_date` is `{date}`, which is no day of the calendar")]
    TemplateDate { date: String },
    #[error("{0}")]
    Options(&'static str, &'static str),
    #[error("`{option}` is {value}, and there is no memory for that many")]
    NoRoom { option: &'static str, value: usize },
    #[error("{rows} rows give {tokens} tokens, which is less than one block of {block} tokens")]
    TooFewTokens { rows: usize, tokens: usize, block: usize },
    #[error(
        "none of the {rows} rows has {block} tokens, the longest has {longest}; `drop_short_sequences` drops them all"
    )]
    AllShort { rows: usize, block: usize, longest: usize },
    #[error("all {rows} rows have an empty text")]
    AllEmpty { rows: usize },
    #[error("not one of the tokens of the {samples} samples counts in the loss")]
    NoLabels { samples: usize },
    #[error("{eval} of {samples} samples cannot be held out for evaluation: none is left to train on")]
    HoldOut { eval: usize, samples: usize },
    #[error("none of the {samples} evaluation samples has a token that counts in the loss")]
    NoEvaluationLabels { samples: usize },
}

impl DataError {
    /// Whether the data is not here, though it may be on another machine.
    pub fn is_absence(&self) -> bool {
        matches!(
            self,
            DataError::Remote { .. }
                | DataError::InAzureMl { .. }
                | DataError::NotLocal { .. }
                | DataError::MissingFile { .. }
                | DataError::NoMatch { .. }
                | DataError::EmptyFolder { .. }
        )
    }
}

impl olive_core::Fault for DataError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            DataError::Remote { name, .. } => format!(
                "download them and pass \
                 `--set data_configs.{}.load_dataset_config.params.data_files=PATH`",
                name.as_deref().unwrap_or("<name>")
            ),
            DataError::InAzureMl { name, .. } => format!(
                "`olive run` brings them; or pass `--set data_configs.{}.load_dataset_config.params.data_files=PATH`",
                name.as_deref().unwrap_or("<name>")
            ),
            DataError::NotLocal { .. } => format!(
                "download the dataset and set `data_name` to {} and `data_files` to its files, or `data_name` to its folder",
                listed(&READERS, "or")
            ),
            DataError::UnknownLoader { .. } => format!("supported are {}", listed(&READERS, "and")),
            DataError::NoFiles { .. } => "set `data_files` to a path, a glob or a list of them".into(),
            DataError::MissingFile { .. } | DataError::NoMatch { .. } => {
                "paths are relative to `data_dir` or else to the folder the command was started in; what `olive init` \
                 made is run from the project's root"
                    .into()
            }
            DataError::TooManyFolders { .. } => {
                "name the folders that hold the files: links may lead through the same ones again and again".into()
            }
            DataError::Subset { .. } => "remove `subset`, or point `data_dir` to the folder inside".into(),
            DataError::BadSplit { .. } => {
                "splits look like `train`, `train[:90%]`, `train[10:20]` or `train+test`".into()
            }
            DataError::UnknownSplit { split, known } => {
                nearest(split, known).map(|n| format!("did you mean `{n}`?")).unwrap_or_else(|| {
                    "files given as a path or a list are all in the split `train`".into()
                })
            }
            DataError::Packed { .. } => "unpack it, or use gzip, bzip2, xz, zstd or zip".into(),
            DataError::BeyondVocabulary { .. } => "the token was added to the tokenizer, and the model's embedding was not resized: \
                 take the tokenizer that the model was trained with, or leave such tokens out of the data"
                .into(),
            DataError::NoRoomForRow { .. } | DataError::NoRoomForFile { .. } => {
                "cut the file into smaller ones and train on some of them, or use a machine with more memory".into()
            }
            DataError::NotUtf8 { .. } => "convert the file to UTF-8".into(),
            DataError::MissingField { field, known, .. } => {
                nearest(field, known).map(|n| format!("did you mean `{n}`?"))?
            }
            DataError::ReaderOption { option, owner, .. } => format!("`{option}` is an option of `{owner}`"),
            DataError::TooManyValues { header, .. } => other_delimiter(header)?,
            DataError::MissingColumn { column, known, .. } => other_delimiter(known)
                .or_else(|| nearest(column, known).map(|n| format!("did you mean `{n}`?")))?,
            DataError::ColumnType { column, expected: "text", .. } => {
                format!("`text_template` with `{{{column}}}` prints any value")
            }
            DataError::Template { .. } => {
                "the template is a Python format string: `{column}` inserts a column, `{{` and `}}` are braces".into()
            }
            DataError::NoChatTemplate { .. } => {
                "give the template itself in `chat_template`, or use `text_template`".into()
            }
            DataError::NoFormat { .. } => "conversations stand in `messages` or `conversations`, in `instruction` and `output`, or in \
                 `prompt` and `completion`; `message_col` names another column of messages"
                .into(),
            DataError::SeveralFormats { .. } => {
                "say which one in `format`; rows of different formats belong into different data configs".into()
            }
            DataError::FormatColumns { .. } => "`message_col` names another column of messages".into(),
            DataError::BadRow { fault, .. } => format!("{}; `bad_rows: skip` leaves such rows out", fault.hint()),
            DataError::TemplateDate { .. } => "give it as year, month and day: `2026-03-07`".into(),
            DataError::Options(_, hint) => (*hint).into(),
            DataError::NoRoom { option, .. } => format!("lower `{option}`"),
            DataError::TooFewTokens { tokens, .. } => format!(
                "set `max_seq_len` to at most {tokens}, or use the strategy line-by-line, which pads rows one by one"
            ),
            DataError::AllShort { longest, .. } => {
                format!("set `max_seq_len` to at most {longest}, or leave `drop_short_sequences` out")
            }
            DataError::NoLabels { .. } => {
                "labels are masked where the attention mask is 0 and in the context of sliding windows: check \
                 `use_attention_mask`, `stride` and the texts"
                    .into()
            }
            DataError::HoldOut { .. } => {
                "hold out less, give more data, or make blocks shorter with `max_seq_len`".into()
            }
            DataError::BadPattern { .. }
            | DataError::EmptyFolder { .. }
            | DataError::NoRows { .. }
            | DataError::AllFiltered { .. }
            | DataError::EmptyFile { .. }
            | DataError::Malformed { .. }
            | DataError::Unreadable { .. }
            | DataError::ColumnType { .. }
            | DataError::Format { .. }
            | DataError::ChatTemplate { .. }
            | DataError::Render { .. }
            | DataError::Tokenise { .. }
            | DataError::AllEmpty { .. }
            | DataError::NoEvaluationLabels { .. } => return None,
        })
    }
}

/// What to do about a header that is one column because another character stands between the names.
fn other_delimiter(header: &[String]) -> Option<String> {
    let [header] = header else { return None };
    let delimiter = [';', '\t', '|', ','].into_iter().find(|delimiter| header.contains(*delimiter))?;
    let delimiter = serde_json::Value::from(delimiter.to_string());
    Some(format!(
        "the header looks as if {delimiter} stood between its columns: set `delimiter` to {delimiter}"
    ))
}

/// The known name that `name` was likely meant to be.
fn nearest<'a>(name: &str, known: &'a [String]) -> Option<&'a String> {
    let length = name.chars().count();
    let distance = |k: &String| strsim::damerau_levenshtein(&name.to_lowercase(), &k.to_lowercase());
    // Names of other lengths are too different, and long ones would take long.
    let similar = known.iter().filter(|k| k.chars().count().abs_diff(length) <= length / 2 && length < 200);
    similar
        .map(|k| (distance(k), k))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(d, _)| *d <= length / 2)
        .map(|(_, k)| k)
}

/// How many more rows are like this one.
fn of_all(bad: usize, rows: usize) -> String {
    match bad {
        0 | 1 => String::new(),
        bad => format!(" ({bad} of {rows} rows cannot be trained on exactly)"),
    }
}

/// The file that is to blame, before what is wrong with it.
fn prefix(file: &Option<PathBuf>) -> String {
    file.as_ref().map_or_else(String::new, |path| format!("`{}`: ", shown(path)))
}

/// "a, b or c".
pub(crate) fn listed(names: &[&str], conjunction: &str) -> String {
    match names {
        [] => String::new(),
        [name] => (*name).to_owned(),
        [first @ .., last] => format!("{} {conjunction} {last}", first.join(", ")),
    }
}

fn list(names: &[String]) -> String {
    /// More of them nobody reads.
    const MOST: usize = 30;
    if names.is_empty() {
        return "none".into();
    }
    let listed = names.iter().take(MOST).map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(MOST) {
        0 => listed,
        more => format!("{listed} and {more} more"),
    }
}

/// `1.3 GB`.
fn gigabytes(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
}
