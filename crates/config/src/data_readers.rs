//! The formats of data files, by the names that `data_name` gives them.

/// Readers of local files; any other `data_name` is the id of a dataset or a folder.
pub const READERS: [&str; 4] = ["json", "csv", "parquet", "text"];
