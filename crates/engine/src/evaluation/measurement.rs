//! One evaluator on one model, from the cache where it was measured before.

use super::answers::answers_of;
use super::measure::Measuring;
use super::samples::Samples;
use crate::cache::artefacts::Derived;
use crate::cache::{Artefacts, KeyHasher, Store};
use crate::passes::{RunContext, TrainingLog, adapter_base, feed_data};
use crate::{EngineError, Environment};
use olive_config::{Evaluator, Measures, MetricData};
use olive_core::content::ContentHashes;
use olive_core::device::Device;
use olive_core::event::EventSink;
use olive_core::handle::ModelHandle;
use olive_core::{Result, error::IoContext, file};
use olive_evaluate::{Machine, Metrics, MetricsDetail, Opening, Subject, Versions};
use olive_model::ModelFolder;
use olive_runtime::ActiveAdapter;
use serde::{Deserialize, Serialize};
use std::cell::OnceCell;
use std::rc::Rc;

/// Raised whenever the same model, evaluator and data give other values than before.
const VERSION: u32 = 2;

/// The file of an artefact.
const FILE: &str = "evaluation.json";

/// What evaluations of models share.
#[derive(Clone, Copy)]
pub(super) struct Evaluation<'a> {
    pub environment: &'a Environment,
    pub device: &'a Device,
    pub store: &'a Store,
    pub contents: &'a ContentHashes,
    /// See [`crate::executor::Execution::unchanged`].
    pub unchanged: &'a dyn Fn() -> Result<()>,
}

/// What is kept of an evaluation.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Record {
    pub metrics: Metrics,
    pub detail: MetricsDetail,
}

/// What an evaluation depends on besides the model.
#[derive(Serialize)]
struct Dependencies<'a> {
    measures: &'a Measures,
    answers: usize,
    /// Hash of the data's content.
    data: String,
    program: &'static str,
    device: &'static str,
}

impl Evaluation<'_> {
    /// The values of a model, from the cache where they are there, and whether they were.
    pub(super) fn record(
        &self,
        evaluator: &Evaluator,
        model: &ModelHandle,
        key: &str,
        samples: &Samples,
    ) -> Result<(Record, bool)> {
        let mut hasher = KeyHasher::new(self.contents);
        let measures = without_places(&evaluator.measures, &mut hasher)?;
        let options = Dependencies {
            measures: &measures,
            answers: evaluator.answers,
            data: hasher.finish(),
            program: env!("CARGO_PKG_VERSION"),
            device: self.environment.device.family(),
        };
        let wanted = Derived { kind: "Evaluation", version: VERSION, input: model.dir(), options: &options };
        let artefacts = Artefacts { store: self.store, input_key: key, unchanged: self.unchanged };
        let (cancel, events) = (&self.environment.cancel, &*self.environment.events);
        let mut cached = true;
        let folder = artefacts.get_or_make(&wanted, cancel, events, |dir| {
            cached = false;
            let record = self.measure(evaluator, model, &options.data, &artefacts, samples)?;
            let text = serde_json::to_vec_pretty(&record).expect("plain data");
            let path = dir.join(FILE);
            file::replace(&path, &text).at("write", &path)
        })?;
        let path = folder.join(FILE);
        let record = serde_json::from_slice(&file::read(&path).at("read", &path)?);
        let record = record.map_err(|e| EngineError::Evaluation { path, reason: e.to_string() })?;
        Ok((record, cached))
    }

    fn measure(
        &self,
        evaluator: &Evaluator,
        model: &ModelHandle,
        hash: &str,
        artefacts: &Artefacts,
        samples: &Samples,
    ) -> Result<Record> {
        let (cancel, events) = (&self.environment.cancel, &*self.environment.events as &dyn EventSink);
        let subject = OnceCell::new();
        let open = || -> Result<Rc<Subject>> {
            if let Some(subject) = subject.get() {
                return Ok(Rc::clone(subject));
            }
            let opened = Rc::new(self.open(model, artefacts)?);
            Ok(Rc::clone(subject.get_or_init(|| opened)))
        };
        let measuring = Measuring { handle: model, subject: &open, samples, events, cancel };
        let measured = measuring.all(evaluator.measures.metrics())?;
        let detail = MetricsDetail {
            answers: answers_of(evaluator, samples, &open, events, cancel)?,
            metrics: measured.details,
            evaluator: hash.to_owned(),
            machine: subject.get().map(|subject| Machine::of(subject)),
            versions: Versions::of(subject.get().map(Rc::as_ref)),
        };
        Ok(Record { metrics: measured.metrics, detail })
    }

    /// Opens a model; under an adapter that was trained on 4 bits, with these.
    fn open(&self, model: &ModelHandle, artefacts: &Artefacts) -> Result<Subject> {
        let (cancel, events) = (&self.environment.cancel, &*self.environment.events);
        let quantised = match model {
            ModelHandle::HfWithAdapter { base, adapter } => {
                let context = RunContext {
                    device: self.device.clone(),
                    memory: self.environment.memory,
                    cancel,
                    events,
                    base: None,
                    pause_after: None,
                    artefacts: Some(*artefacts),
                    log: TrainingLog::default(),
                };
                adapter_base(&ModelFolder::open(base)?, adapter, &context)?
            }
            ModelHandle::Hf { .. } | ModelHandle::HfWithNote { .. } | ModelHandle::Onnx { .. } => None,
        };
        let library = || Ok(self.environment.library.find_or_fetch(events)?);
        Subject::open(
            model,
            &Opening {
                adapter: ActiveAdapter::Beside,
                quantised: quantised.as_ref(),
                device: self.device,
                library: &library,
            },
        )
    }
}

/// The measures as they enter keys: the content of the data is fed to `hasher`, and the places where it lies are left out.
fn without_places(measures: &Measures, hasher: &mut KeyHasher) -> Result<Measures> {
    let mut measures = measures.clone();
    let metrics = match &mut measures {
        Measures::Metrics(metrics) => metrics,
        Measures::LmTasks(tasks) => &mut tasks.metrics,
        Measures::Mteb(_) => return Ok(measures),
    };
    for metric in metrics {
        if let Some(MetricData::Rows(data)) = &mut metric.data {
            feed_data(&metric.name, data, hasher)?;
        }
    }
    Ok(measures)
}
