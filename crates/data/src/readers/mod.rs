//! Files to rows, one module per format; [`READERS`] lists them.

mod csv;
mod json;
mod parquet;
mod parquet_deltas;
mod parquet_pages;
mod source;
mod table;
mod text;

pub(crate) use source::Source;
pub(crate) use table::Table;

use crate::error::DataError;
use crate::room::Room;
use olive_config::canonical::LoadDataset;
use olive_core::Result;
use std::path::Path;

/// Reads the files of one format.
#[derive(Debug)]
pub struct RowReader {
    /// `data_name` in a configuration; its case does not matter. `csv` names two readers, of which the first is meant.
    pub name: &'static str,
    /// How its files end, without the dot; their case does not matter.
    pub(crate) extensions: &'static [&'static str],
    /// Stands for the reader in cache keys, so it must never change.
    pub key: &'static str,
    /// The options that decide how rows are made of its files, beside those that all formats have.
    pub(crate) options: &'static [&'static str],
    read: fn(&Source, &LoadDataset, &Room) -> Result<Table>,
}

/// All formats. Of readers that can read equally many files of a folder, the first is taken.
pub(crate) static READERS: [RowReader; 5] = [
    RowReader {
        name: "json",
        extensions: &["json", "jsonl", "ndjson"],
        key: "Json",
        options: &["field"],
        read: |source, load, room| json::read(&source.path, &source.text(room)?, load.field.as_deref(), room),
    },
    RowReader {
        name: "csv",
        extensions: &["csv"],
        key: "Csv { delimiter: 44 }",
        options: CSV_OPTIONS,
        read: |source, load, room| csv::read(source, b',', &load.reader, room),
    },
    RowReader {
        name: "csv",
        extensions: &["tsv"],
        key: "Csv { delimiter: 9 }",
        options: CSV_OPTIONS,
        read: |source, load, room| csv::read(source, b'\t', &load.reader, room),
    },
    RowReader {
        name: "parquet",
        extensions: &["parquet"],
        key: "Parquet",
        options: &[],
        read: |source, _, room| parquet::read(source, room),
    },
    RowReader {
        name: "text",
        extensions: &["txt"],
        key: "Text",
        options: &["sample_by"],
        read: |source, load, room| text::read(source, load.reader.sample_by.unwrap_or_default(), room),
    },
];

const CSV_OPTIONS: &[&str] = &["delimiter", "quotechar", "column_names", "header", "skiprows"];

impl RowReader {
    /// The reader that a configuration names.
    pub(crate) fn named(name: &str) -> Option<&'static RowReader> {
        READERS.iter().find(|reader| reader.name.eq_ignore_ascii_case(name))
    }

    /// The reader of a file, by its name.
    pub(crate) fn of_file(path: &Path) -> Option<&'static RowReader> {
        READERS.iter().find(|reader| reader.reads(path))
    }

    /// Whether a file of this name is of its format, compressed or not.
    pub(crate) fn reads(&self, path: &Path) -> bool {
        let extension = source::unpacked_name(path).extension().and_then(|e| e.to_str()).unwrap_or("");
        self.extensions.iter().any(|e| e.eq_ignore_ascii_case(extension))
    }

    /// Refuses options of other formats, which `datasets` does not take either.
    ///
    /// # Errors
    /// [`DataError::ReaderOption`].
    pub(crate) fn check(&self, load: &LoadDataset) -> Result<()> {
        let given = serde_json::to_value(&load.reader).expect("options are plain data");
        let given = given.as_object().into_iter().flatten().map(|(option, _)| option.as_str());
        let foreign =
            given.chain(load.field.as_ref().map(|_| "field")).find(|option| !self.options.contains(option));
        let Some(option) = foreign.map(str::to_owned) else { return Ok(()) };
        let owner = READERS.iter().find(|reader| reader.options.contains(&option.as_str()));
        let owner = owner.map_or("no reader", |reader| reader.name);
        Err(DataError::ReaderOption { reader: self.name, option, owner }.into())
    }

    /// The rows of a file.
    ///
    /// # Errors
    /// What is wrong with the file, with its line where it has lines; or there is no room for it.
    pub(crate) fn read(&self, source: &Source, load: &LoadDataset, room: &Room) -> Result<Table> {
        (self.read)(source, load, room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_can_name_the_readers_and_nothing_else() {
        let mut names: Vec<&str> = READERS.iter().map(|reader| reader.name).collect();
        names.dedup();
        assert_eq!(names, olive_config::READERS);
    }

    #[test]
    fn the_documentation_names_every_extension() {
        let page = include_str!("../../../../docs/data.md");
        let table = page.lines().filter(|line| line.starts_with("| a folder")).collect::<String>();
        for extension in READERS.iter().flat_map(|reader| reader.extensions) {
            assert!(table.contains(&format!("`.{extension}`")), "{extension}");
        }
    }
}
