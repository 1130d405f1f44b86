//! How a loader of `datasets` makes rows of its files.

use crate::choice;
use crate::node::{Node, NodeValue};
use crate::option::{BOOL, INT, Kind, Misfit, MisfitPlace, Opt, Special, TEXT};
use crate::options;
use crate::statement::OptionValue;
use crate::values::Setting;
use serde::{Deserialize, Serialize};
use serde_json::json;

options! {
    #[derive(Debug, Clone, PartialEq, Default, Serialize)]
    pub struct ReaderOptions {
        READER {
            /// csv: what stands between the values of a line, if not a comma (in files `.tsv` of a folder a tab).
            #[serde(skip_serializing_if = "Option::is_none")]
            pub delimiter: Option<AsciiChar>, also(&["sep"]);
            /// csv: what stands around values with delimiters or line ends, if not `"`.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub quotechar: Option<AsciiChar>;
            /// csv: names of the columns, for files without a header, or with `header` 0 instead of it.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub column_names: Option<Vec<String>>, also(&["names"]);
            /// csv: `infer`, so that the first line is one unless `column_names` are given, or 0, so that it is in any case.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub header: Option<Header>;
            /// csv: how many lines are skipped, or the list of them, of which the first has the number 0.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub skiprows: Option<SkipRows>;
            /// text: what makes a row.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub sample_by: Option<SampleBy>;
        }
    }
}

const NO_TYPES: &str = "types follow from the values";
const CSV: &str = "the csv reader has no such dialect";
const TAKE: &str = "select rows with `split` and `col_filters`, and columns by naming them in the text";

/// Arguments of the loaders that this program has not: an error where they would change rows.
pub(crate) const READER_UNUSED: &[Opt] = &[
    Opt::new("encoding", Kind::Choice(&["utf-8|utf8|utf-8-sig|utf_8|ascii"]), "Encoding of the files.")
        .quiet(),
    Opt::new("encoding_errors", TEXT, "What happens to bytes that are no text.")
        .refused_unless("\"strict\"", "they are an error"),
    Opt::new("features", Kind::Any, "Columns and their types.").refused_unless("null", NO_TYPES),
    Opt::new("converters", Kind::Any, "Python functions by column.")
        .refused_unless("null", "no Python is run"),
    Opt::new("dtype", Kind::Any, "Types of columns.").refused_unless("null", NO_TYPES),
    Opt::new("true_values", Kind::Any, "Words for true.").refused_unless("null", NO_TYPES),
    Opt::new("false_values", Kind::Any, "Words for false.").refused_unless("null", NO_TYPES),
    Opt::new("na_values", Kind::Any, "Words for no value.").refused_unless("null", NO_TYPES),
    Opt::new("keep_default_na", BOOL, "pandas' words for no value.").refused_unless("true", NO_TYPES),
    Opt::new("na_filter", BOOL, "Look for missing values.").refused_unless("true", NO_TYPES),
    Opt::new("parse_dates", Kind::Any, "Columns that are dates.").refused_unless("false", NO_TYPES),
    Opt::new("date_format", Kind::Any, "Form of dates.").refused_unless("null", NO_TYPES),
    Opt::new("thousands", TEXT, "Sign between thousands.").refused_unless("null", NO_TYPES),
    Opt::new("decimal", TEXT, "Sign before decimals.").refused_unless("\".\"", NO_TYPES),
    Opt::new("float_precision", TEXT, "How floats are read.").refused_unless("null", NO_TYPES),
    Opt::new("skipinitialspace", BOOL, "Drop spaces after delimiters.").refused_unless("false", CSV),
    Opt::new("skip_blank_lines", BOOL, "Drop empty lines.").refused_unless("true", CSV),
    Opt::new("lineterminator", TEXT, "End of lines.").refused_unless("null", CSV),
    Opt::new("quoting", INT, "When values are quoted.").refused_unless("0", CSV),
    Opt::new("doublequote", BOOL, "A doubled quote is one.").refused_unless("true", CSV),
    Opt::new("escapechar", TEXT, "Sign before quotes.").refused_unless("null", CSV),
    Opt::new("comment", TEXT, "Sign before comments.").refused_unless("null", CSV),
    Opt::new("dialect", Kind::Any, "Several of these at once.").refused_unless("null", CSV),
    Opt::new("prefix", TEXT, "Names of unnamed columns.").refused_unless("null", CSV),
    Opt::new("mangle_dupe_cols", BOOL, "Number repeated names.").refused_unless("true", CSV),
    Opt::new("index_col", Kind::Any, "Columns that are none.").refused_unless("null", CSV),
    Opt::new("error_bad_lines", BOOL, "Lines with too many values are an error.").refused_unless("true", CSV),
    Opt::new("on_bad_lines", TEXT, "What becomes of lines with too many values.")
        .refused_unless("\"error\"", CSV),
    Opt::new("keep_linebreaks", BOOL, "text: rows with their line ends.")
        .refused_unless("false", "rows have no line ends"),
    Opt::new("usecols", Kind::Any, "Columns that are read.").refused_unless("null", TAKE),
    Opt::new("columns", Kind::Any, "Columns that are read.").refused_unless("null", TAKE),
    Opt::new("filters", Kind::Any, "Rows that are read.").refused_unless("null", TAKE),
    Opt::new("nrows", INT, "Lines that are read.").refused_unless("null", TAKE),
    Opt::new("skipfooter", INT, "Lines at the end that are not.").refused_unless("0", TAKE),
    Opt::new("engine", TEXT, "pandas' parser.").quiet(),
    Opt::new("chunksize", INT, "How much is read at a time.").quiet(),
    Opt::new("low_memory", BOOL, "How much is read at a time.").quiet(),
    Opt::new("memory_map", BOOL, "How files are read.").quiet(),
    Opt::new("num_proc", INT, "Processes.").quiet(),
    Opt::new("cache_dir", TEXT, "Cache of `datasets`.").quiet(),
    Opt::new("keep_in_memory", BOOL, "Cache of `datasets`.").quiet(),
];

/// One character, as csv has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct AsciiChar(pub u8);

static ASCII_CHAR: Special = Special {
    value: "an ASCII character",
    schema: || json!({"type": ["string", "null"], "minLength": 1, "maxLength": 1}),
    check: |node| ascii_char(node).map(drop),
};

fn ascii_char(node: &Node) -> Result<AsciiChar, Misfit> {
    match node.as_text().map(str::as_bytes) {
        Some([one]) if one.is_ascii() => Ok(AsciiChar(*one)),
        _ => Err(misfit(format!("expected one ASCII character, found {}", node.describe()))),
    }
}

impl OptionValue for AsciiChar {
    const KIND: Kind = Kind::Special(&ASCII_CHAR);

    fn read(setting: &Setting) -> Option<AsciiChar> {
        ascii_char(&Node::from_json(&setting.json)).ok()
    }
}

/// Whether the first line is a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Header {
    /// Unless names are given.
    Infer,
    /// In any case.
    First,
}

static HEADER: Special = Special {
    value: "`infer` or 0",
    schema: || json!({"enum": ["infer", 0, null]}),
    check: |node| header(node).map(drop),
};

fn header(node: &Node) -> Result<Header, Misfit> {
    match &node.value {
        NodeValue::Text(text) if text == "infer" => Ok(Header::Infer),
        NodeValue::Int(0) => Ok(Header::First),
        _ => Err(misfit(format!("expected `infer` or 0, found {}", node.describe()))),
    }
}

impl OptionValue for Header {
    const KIND: Kind = Kind::Special(&HEADER);

    fn read(setting: &Setting) -> Option<Header> {
        header(&Node::from_json(&setting.json)).ok()
    }
}

/// Lines that are not read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum SkipRows {
    /// So many at the beginning.
    First(u64),
    /// Those with these numbers, from 0.
    These(Vec<u64>),
}

impl SkipRows {
    /// Whether the line with this number, from 0, is skipped.
    pub fn skips(&self, line: u64) -> bool {
        match self {
            SkipRows::First(count) => line < *count,
            SkipRows::These(lines) => lines.contains(&line),
        }
    }
}

static SKIP_ROWS: Special = Special {
    value: "a whole number or a list of them",
    schema: || {
        let number = json!({"type": "integer", "minimum": 0});
        json!({"anyOf": [{"type": "null"}, number, {"type": "array", "items": number}]})
    },
    check: |node| skip_rows(node).map(drop),
};

fn skip_rows(node: &Node) -> Result<SkipRows, Misfit> {
    let number = |node: &Node| node.to_json().as_u64();
    let lines = match &node.value {
        NodeValue::List(items) => items.iter().map(number).collect::<Option<_>>().map(SkipRows::These),
        _ => number(node).map(SkipRows::First),
    };
    let wrong = || misfit(format!("expected a whole number or a list of them, found {}", node.describe()));
    lines.ok_or_else(wrong)
}

impl OptionValue for SkipRows {
    const KIND: Kind = Kind::Special(&SKIP_ROWS);

    fn read(setting: &Setting) -> Option<SkipRows> {
        skip_rows(&Node::from_json(&setting.json)).ok()
    }
}

/// What makes a row of a text file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum SampleBy {
    #[default]
    Line,
    /// What stands between empty lines.
    Paragraph,
    /// The whole file.
    Document,
}

choice!(SampleBy: "line", "paragraph", "document");

fn misfit(message: String) -> Misfit {
    Misfit { message, hint: None, place: MisfitPlace::Value }
}
