//! Where in a file something stands.

/// Line and column, both from 1. `None`: the value comes from `--set`, or from no file.
pub type At = Option<(usize, usize)>;

/// A JSON path and one key more.
pub fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
