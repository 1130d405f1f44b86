//! The most memory that a piece of work held.

use olive_runtime::benchmark::peak_memory;

/// What a [`PeakMemory`] covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemorySource {
    /// Resident memory since the measurement began.
    SinceReset,
    /// Resident memory since the process began: the system does not let the high-water mark be reset.
    SinceStart,
}

/// A measurement of this process's memory under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeakMemory {
    source: MemorySource,
}

impl PeakMemory {
    /// Begins a measurement, and ends one that another part of the process has under way.
    pub fn begin() -> PeakMemory {
        // Linux: 5 sets the high-water mark to what is held now (proc_pid_clear_refs(5)).
        let reset = std::fs::write("/proc/self/clear_refs", "5");
        PeakMemory { source: reset.map_or(MemorySource::SinceStart, |()| MemorySource::SinceReset) }
    }

    pub fn source(self) -> MemorySource {
        self.source
    }

    /// The most bytes held so far; `None` where the system does not tell.
    pub fn bytes(self) -> Option<u64> {
        peak_memory()
    }
}
