//! Comma-separated values with a header. Types are those that pandas, which `datasets` reads with, would see.

use super::source::Source;
use super::table::Table;
use crate::error::{DataError, Location, Numbering};
use crate::room::Room;
use crate::value::Value;
use olive_config::canonical::{Header, ReaderOptions, SkipRows};
use olive_core::Result;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

/// What pandas takes for "no value".
const MISSING: [&str; 19] = [
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A",
    "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
];

/// `delimiter` is that of the format, where `options` name none.
pub(super) fn read(source: &Source, delimiter: u8, options: &ReaderOptions, room: &Room) -> Result<Table> {
    let (path, text) = (&source.path, source.text(room)?);
    let quote = options.quotechar.map_or(b'"', |character| character.0);
    let text = match &options.skiprows {
        Some(skip) => Cow::Owned(without(&text, skip, quote)),
        None => Cow::Borrowed(text.as_str()),
    };
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(options.delimiter.map_or(delimiter, |character| character.0))
        .quote(quote)
        .has_headers(false)
        .flexible(true)
        .from_reader(text.as_bytes());
    let mut records = reader.records();
    let malformed = |line: u64, reason: String| {
        let location = Location { path: path.to_owned(), number: line, numbering: Numbering::Lines };
        DataError::Malformed { location, reason }
    };
    let header = match (options.header, &options.column_names) {
        (None | Some(Header::Infer), Some(_)) => None,
        _ => match records.next() {
            Some(header) => Some(names(&header.map_err(|e| malformed(1, e.to_string()))?)),
            None => return Err(DataError::EmptyFile { path: path.to_owned() }.into()),
        },
    };
    let columns = options.column_names.clone().or(header).unwrap_or_default();

    let mut cells: Vec<Vec<String>> = vec![Vec::new(); columns.len()];
    let mut lines = Vec::new();
    for record in records {
        let record =
            record.map_err(|e| malformed(e.position().map_or(1, csv::Position::line), e.to_string()))?;
        let line = record.position().map_or(0, csv::Position::line);
        if record.len() > columns.len() {
            let location = Location { path: path.to_owned(), number: line, numbering: Numbering::Lines };
            return Err(DataError::TooManyValues { location, found: record.len(), header: columns }.into());
        }
        // Cells are texts first, then values.
        let taken = room.take(record.as_slice().len()).and_then(|()| room.take_rows(1, 2 * columns.len()));
        taken.map_err(|_| {
            room.no_room_for_row(Location {
                path: path.to_owned(),
                number: line,
                numbering: Numbering::Lines,
            })
        })?;
        lines.push(line);
        for (i, column) in cells.iter_mut().enumerate() {
            column.push(record.get(i).unwrap_or("").to_owned());
        }
    }
    let mut typed: Vec<_> = cells.into_iter().map(|column| infer(column).into_iter()).collect();
    let rows = lines
        .into_iter()
        .map(|line| (line, typed.iter_mut().map(|c| c.next().unwrap_or(Value::None)).collect()))
        .collect();
    Ok(Table { columns, rows, numbering: Numbering::Lines })
}

/// The text with empty lines, which are no rows, in place of what is skipped, so that lines keep their numbers. A line
/// goes on in the next one where it ends inside quotes.
fn without(text: &str, skip: &SkipRows, quote: u8) -> String {
    let mut kept = String::with_capacity(text.len());
    let (mut number, mut quoted) = (0, false);
    for line in text.split_inclusive('\n') {
        kept.push_str(if skip.skips(number) { "\n" } else { line });
        quoted ^= line.bytes().filter(|byte| *byte == quote).count() % 2 == 1;
        number += u64::from(!quoted);
    }
    kept
}

/// Column names: repeated ones are numbered, empty ones are named by their place.
fn names(header: &csv::StringRecord) -> Vec<String> {
    let mut names: Vec<String> = Vec::with_capacity(header.len());
    let mut taken = HashSet::new();
    // The last number that each repeated name was given.
    let mut numbers: HashMap<String, usize> = HashMap::new();
    for (i, name) in header.iter().enumerate() {
        let base = if name.is_empty() { format!("Unnamed: {i}") } else { name.to_owned() };
        let mut unique = base.clone();
        while taken.contains(&unique) {
            let number = numbers.entry(base.clone()).or_default();
            *number += 1;
            unique = format!("{base}.{number}");
        }
        taken.insert(unique.clone());
        names.push(unique);
    }
    names
}

/// One type for the whole column: whole numbers, numbers, truth values, or text.
fn infer(column: Vec<String>) -> Vec<Value> {
    let is_missing = |s: &String| MISSING.contains(&s.as_str());
    let present = || column.iter().filter(|s| !is_missing(s));
    let convert = |f: &dyn Fn(&str) -> Value| {
        column.iter().map(|s| if is_missing(s) { Value::None } else { f(s) }).collect::<Vec<_>>()
    };
    if present().next().is_none() {
        return convert(&|_| Value::None);
    }
    if present().all(|s| integer(s).is_some()) {
        // A column of whole numbers with gaps is one of floats to pandas.
        let gaps = column.iter().any(is_missing);
        return convert(&|s| match integer(s) {
            Some(i) if gaps => Value::Float(i as f64),
            Some(i) => Value::Int(i),
            None => Value::None,
        });
    }
    // Whole numbers that do not fit stay as they are written.
    let too_long = |s: &str| s.trim().trim_start_matches(['+', '-']).bytes().all(|b| b.is_ascii_digit());
    if present().all(|s| float(s).is_some()) && !present().all(|s| too_long(s)) {
        return convert(&|s| float(s).map_or(Value::None, Value::Float));
    }
    if present().all(|s| boolean(s).is_some()) {
        return convert(&|s| boolean(s).map_or(Value::None, Value::Bool));
    }
    convert(&|s| Value::Str(s.to_owned()))
}

fn integer(text: &str) -> Option<i64> {
    text.trim().parse().ok()
}

fn float(text: &str) -> Option<f64> {
    let text = text.trim();
    let unsigned = text.trim_start_matches(['+', '-']);
    let is_infinity = ["inf", "infinity"].iter().any(|i| unsigned.eq_ignore_ascii_case(i));
    let is_number = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    if is_infinity || is_number { text.parse().ok() } else { None }
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "True" | "TRUE" | "true" => Some(true),
        "False" | "FALSE" | "false" => Some(false),
        _ => None,
    }
}
