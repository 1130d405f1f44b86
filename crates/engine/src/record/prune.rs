//! How many run records an output folder keeps.

use super::{RunRecord, RunState};
use olive_core::shown;
use std::path::Path;

/// Records that are kept whatever they say.
pub const NEWEST: usize = 20;

/// Removes all but the newest records, those of runs that go on, and those that `kept` names. What cannot be removed
/// stays: it is no reason to stop a run.
pub(super) fn prune(output_dir: &Path, kept: &[String]) {
    for dir in RunRecord::list(output_dir).into_iter().skip(NEWEST) {
        let is_kept = dir.file_name().is_some_and(|name| kept.iter().any(|kept| name == kept.as_str()));
        let goes_on = || RunRecord::open(&dir).is_ok_and(|record| record.state() == RunState::Running);
        if is_kept || goes_on() {
            continue;
        }
        if let Err(error) = std::fs::remove_dir_all(&dir) {
            tracing::debug!("the run record {} stays: {error}", shown(&dir));
        }
    }
}
