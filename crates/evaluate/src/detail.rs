//! What Olive's `metrics.json` does not say: on what was measured, and where.

use super::{Answer, MemorySource, Subject};
use olive_core::{Result, error::IoContext, file};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Beside `metrics.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricsDetail {
    /// By the names of the metrics.
    pub metrics: BTreeMap<String, MetricDetail>,
    /// What the model says to some prompts of the data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub answers: Vec<Answer>,
    /// Hash of the evaluator and its data.
    pub evaluator: String,
    /// `None`: nothing had to be computed.
    pub machine: Option<Machine>,
    pub versions: Versions,
}

/// One metric of an evaluator.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct MetricDetail {
    pub samples: u64,
    /// Labels of losses, tokens of choices or of answers.
    pub tokens: u64,
    /// Time that the measurement took.
    pub seconds: f64,
    /// Mean loss, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// What a peak of memory covers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemorySource>,
}

/// What computed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Name of the processor, where the system tells.
    pub cpu: Option<String>,
    pub threads: usize,
}

impl Machine {
    /// This one, as it computes the model.
    pub fn of(subject: &Subject) -> Machine {
        let mut system = sysinfo::System::new();
        system.refresh_cpu_list(sysinfo::CpuRefreshKind::nothing());
        let name = system.cpus().first().map(|cpu| cpu.brand().trim().to_owned());
        Machine { cpu: name.filter(|name| !name.is_empty()), threads: subject.threads() }
    }
}

/// Programs that took part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    pub olive: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub onnxruntime: Option<String>,
}

impl Versions {
    /// Those that a model was measured with, if it was opened.
    pub fn of(subject: Option<&Subject>) -> Versions {
        let onnxruntime = subject.and_then(Subject::onnxruntime).map(str::to_owned);
        Versions { olive: env!("CARGO_PKG_VERSION").to_owned(), onnxruntime }
    }
}

impl MetricsDetail {
    /// Name of the file.
    pub const FILE: &'static str = "metrics_detail.json";

    /// Writes the file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).expect("plain data") + "\n";
        file::replace(path, text.as_bytes()).at("write", path)
    }
}
