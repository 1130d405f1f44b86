//! What a person, or a program, sees of the events of a run.
//!
//! [`bars`] draws them on a terminal, [`plain`] writes lines for pipes and CI logs, [`json_lines`] writes them as they
//! are. All of that goes to stderr: stdout is for results.

pub(crate) mod bars;
pub(crate) mod json_lines;
pub(crate) mod log;
pub(crate) mod number;
pub(crate) mod own_name;
pub(crate) mod plain;
pub(crate) mod visible;
pub(crate) mod wrap;
