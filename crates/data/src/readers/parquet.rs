//! Parquet, by rows.

use super::parquet_deltas::Checked;
use super::parquet_pages::{self, PageFault};
use super::source::Source;
use super::table::{Table, TableBuilder};
use crate::error::{DataError, Location, Numbering};
use crate::room::Room;
use crate::value::Value;
use crate::{calendar, python_text};
use olive_core::contain::contain;
use olive_core::{Result, error::IoContext};
use parquet::file::metadata::ParquetMetaDataReader;
use parquet::file::reader::{ChunkReader, FileReader, SerializedFileReader};
use parquet::record::Field;
use std::fmt::Display;
use std::path::Path;

pub(super) fn read(source: &Source, room: &Room) -> Result<Table> {
    let path = &source.path;
    // The library panics on some files that are damaged.
    let read = match source.unpacked() {
        Some(content) => contain(|| rows(path, content, room)),
        None => {
            let file = std::fs::File::open(path).at("read", path)?;
            contain(|| rows(path, file, room))
        }
    };
    read.unwrap_or_else(|panic| Err(unreadable(path, &panic).into()))
}

fn unreadable(path: &Path, reason: &dyn Display) -> DataError {
    DataError::Unreadable { path: path.to_owned(), reason: format!("not a readable parquet file: {reason}") }
}

fn rows<F: ChunkReader + 'static>(path: &Path, file: F, room: &Room) -> Result<Table> {
    let fail = |e: parquet::errors::ParquetError| unreadable(path, &e);
    if file.len() == 0 {
        return Err(DataError::EmptyFile { path: path.to_owned() }.into());
    }
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&file).map_err(fail)?;
    parquet_pages::check(&file, &metadata, room.largest_file()).map_err(|fault| match fault {
        PageFault::TooLarge => room.no_room_for_file(path),
        damaged => unreadable(path, &damaged),
    })?;
    let reader = Checked(SerializedFileReader::new(file).map_err(fail)?);
    let mut builder = TableBuilder::new(path, Numbering::Rows, room);
    for (number, row) in (1..).zip(reader.get_row_iter(None).map_err(fail)?) {
        let columns = row.map_err(fail)?.into_columns();
        let row: Vec<_> = columns.into_iter().map(|(name, field)| (name, value(&field))).collect();
        let bytes = row.iter().map(|(_, value)| value.heap()).sum();
        room.take(bytes).map_err(|_| {
            room.no_room_for_row(Location { path: path.to_owned(), number, numbering: Numbering::Rows })
        })?;
        builder.push(number, row)?;
    }
    Ok(builder.finish())
}

fn value(field: &Field) -> Value {
    match field {
        Field::Null => Value::None,
        Field::Bool(b) => Value::Bool(*b),
        Field::Byte(i) => Value::Int((*i).into()),
        Field::Short(i) => Value::Int((*i).into()),
        Field::Int(i) => Value::Int((*i).into()),
        Field::Long(i) => Value::Int(*i),
        Field::UByte(i) => Value::Int((*i).into()),
        Field::UShort(i) => Value::Int((*i).into()),
        Field::UInt(i) => Value::Int((*i).into()),
        Field::ULong(i) => i64::try_from(*i).map_or(Value::Float(*i as f64), Value::Int),
        Field::Float16(f) => Value::Float(f64::from(f32::from(*f))),
        Field::Float(f) => Value::Float((*f).into()),
        Field::Double(f) => Value::Float(*f),
        Field::Str(s) => Value::Str(s.clone()),
        Field::Bytes(bytes) => Value::Str(bytes_text(bytes.data())),
        Field::Group(row) => {
            Value::Dict(row.get_column_iter().map(|(name, field)| (name.clone(), value(field))).collect())
        }
        Field::ListInternal(list) => Value::List(list.elements().iter().map(value).collect()),
        Field::MapInternal(map) => {
            let key = |field: &Field| match value(field) {
                Value::Str(s) => s,
                other => python_text::str(&other),
            };
            Value::Dict(map.entries().iter().map(|(k, v)| (key(k), value(v))).collect())
        }
        Field::Date(days) => Value::Str(calendar::date(i64::from(*days))),
        Field::TimeMillis(t) => Value::Str(time(i64::from(*t) * 1000)),
        Field::TimeMicros(t) => Value::Str(time(*t)),
        Field::TimestampMillis(t) => Value::Str(timestamp(t.saturating_mul(1000))),
        Field::TimestampMicros(t) => Value::Str(timestamp(*t)),
        // Decimals print themselves as Python's `Decimal` does: all digits of the scale.
        other @ Field::Decimal(_) => Value::Str(other.to_string()),
    }
}

/// Text if it is UTF-8: old writers do not mark texts as such.
fn bytes_text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const DAY_MICROS: i64 = 86_400_000_000;

/// `str` of a Python `time`.
fn time(micros: i64) -> String {
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    let whole = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if fraction == 0 { whole } else { format!("{whole}.{fraction:06}") }
}

/// `str` of a Python `datetime`.
fn timestamp(micros: i64) -> String {
    format!("{} {}", calendar::date(micros.div_euclid(DAY_MICROS)), time(micros.rem_euclid(DAY_MICROS)))
}
