//! The metrics of an evaluator, measured on one model.

use super::samples::{Samples, exercises, ignored_label, meaningless, questions, without_label};
use olive_config::{Generation, Measure, Metric, MetricData, MetricKind, MultipleChoice, Timing};
use olive_core::Result;
use olive_core::cancel::CancelFlag;
use olive_core::event::EventSink;
use olive_core::handle::ModelHandle;
use olive_evaluate::{
    DummyTokens, Latencies, LetterCase, MetricDetail, MetricValue, Metrics, Number, PeakMemory, Repetition,
    Speed, Subject, Work, dummy_latency, exact_match, latency, losses, multiple_choice, size_on_disk, speed,
};
use olive_runtime::SpecialTokens;
use olive_runtime::benchmark::Workload;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Tokens of the prompt and of the answer where the data of a metric does not say how long prompts are.
const PROMPT: usize = 128;
const ANSWER: usize = 32;

/// A model under measurement. It is opened when the first metric needs it: a size does not.
pub(super) struct Measuring<'a> {
    pub handle: &'a ModelHandle,
    pub subject: &'a dyn Fn() -> Result<Rc<Subject>>,
    pub samples: &'a Samples<'a>,
    pub events: &'a dyn EventSink,
    pub cancel: &'a CancelFlag,
}

/// Values and how they came about, by the names of their metrics.
#[derive(Default)]
pub(super) struct Measured {
    pub metrics: Metrics,
    pub details: BTreeMap<String, MetricDetail>,
}

impl Measuring<'_> {
    /// Measures all metrics in their order.
    ///
    /// # Errors
    /// Data that cannot be read, a model that cannot be opened, or a computation that fails.
    pub(super) fn all(&self, metrics: &[Metric]) -> Result<Measured> {
        let mut measured = Measured::default();
        for metric in metrics {
            let started = Instant::now();
            let mut values = Values { metric, into: &mut measured.metrics, detail: MetricDetail::default() };
            self.measure(metric, &mut values)?;
            let mut detail = values.detail;
            detail.seconds = started.elapsed().as_secs_f64();
            measured.details.insert(metric.name.clone(), detail);
        }
        Ok(measured)
    }

    fn work<'m>(&'m self, metric: &'m Metric) -> Work<'m> {
        Work { name: &metric.name, events: self.events, cancel: self.cancel }
    }

    fn measure(&self, metric: &Metric, values: &mut Values) -> Result<()> {
        match &metric.kind {
            MetricKind::Accuracy => self.losses(metric, values),
            MetricKind::Latency | MetricKind::Throughput => self.times(metric, values),
            MetricKind::SizeOnDisk => {
                values.set(|_| Some(Number::Count(size_on_disk(self.handle).ok()?)));
                Ok(())
            }
            MetricKind::Memory => self.memory(metric, values),
            MetricKind::MultipleChoice(columns) => self.choices(metric, columns, values),
            MetricKind::Generation(columns) => self.answers(metric, columns, values),
        }
    }

    fn losses(&self, metric: &Metric, values: &mut Values) -> Result<()> {
        let dataset = self.samples.dataset(metric)?.expect("losses have data");
        let mut ignored: Vec<i64> =
            metric.sub_types.iter().filter_map(|sub_type| ignored_label(sub_type.measure)).collect();
        ignored.sort_unstable();
        ignored.dedup();
        for label in ignored {
            let dataset = without_label(&dataset, label);
            let found = losses(&*(self.subject)()?, &dataset, self.work(metric))?;
            values.detail.samples = found.samples;
            values.detail.tokens = found.tokens;
            values.detail.loss = Some(found.mean());
            values.set(|measure| match measure {
                Measure::Loss { ignore_index } if ignore_index == label => Some(Number::Real(found.mean())),
                Measure::Perplexity { ignore_index } if ignore_index == label => {
                    Some(Number::Real(found.perplexity()))
                }
                _ => None,
            });
        }
        Ok(())
    }

    fn times(&self, metric: &Metric, values: &mut Values) -> Result<()> {
        let measures = || metric.sub_types.iter().map(|sub_type| sub_type.measure);
        let subject = (self.subject)()?;
        let dataset = self.samples.dataset(metric)?;
        let of_batches = |measure| matches!(measure, Measure::Latency(_) | Measure::Throughput(_));
        if measures().any(of_batches) {
            let found = self.batches(&subject, metric, repetition(&metric.timing))?;
            values.set(|measure| statistic(&found, measure));
        }
        if !measures().all(of_batches) {
            let prompt =
                dataset.as_deref().and_then(|dataset| Some(dataset.samples.first()?.input_ids.len()));
            let workload = Workload {
                prompt_tokens: prompt.unwrap_or(PROMPT),
                new_tokens: ANSWER,
                repeat: metric.timing.repeats,
            };
            let found = speed(&subject, workload, self.work(metric))?;
            values.set(|measure| of_tokens(&found, measure));
        }
        values.detail.samples = metric.timing.repeats as u64;
        Ok(())
    }

    /// Times of one batch: of rows, or of tokens that mean nothing.
    fn batches(&self, subject: &Subject, metric: &Metric, repetition: Repetition) -> Result<Latencies> {
        let (size, work) = (metric.batch_size, self.work(metric));
        if let Some(MetricData::Dummy(input)) = metric.data {
            let input = DummyTokens { past: input.past_seq_len, tokens: input.seq_len };
            return dummy_latency(subject, input, size, repetition, work);
        }
        let rows = self.samples.dataset(metric)?.unwrap_or_else(|| Rc::new(meaningless(PROMPT, size)));
        latency(subject, &rows, size, repetition, work)
    }

    fn memory(&self, metric: &Metric, values: &mut Values) -> Result<()> {
        let subject = (self.subject)()?;
        // Made before memory is looked at, and kept.
        self.samples.dataset(metric)?;
        let peak = PeakMemory::begin();
        match metric.data {
            Some(_) => {
                let once = Repetition { warm_up: 0, repeat: 1, sleep: Duration::ZERO };
                self.batches(&subject, metric, once)?;
            }
            None => {
                let workload = Workload { prompt_tokens: PROMPT, new_tokens: ANSWER, repeat: 1 };
                speed(&subject, workload, self.work(metric))?;
            }
        }
        values.detail.memory = Some(peak.source());
        values.set(|_| peak.bytes().map(Number::Count));
        Ok(())
    }

    fn choices(&self, metric: &Metric, columns: &MultipleChoice, values: &mut Values) -> Result<()> {
        let Some(MetricData::Rows(data)) = &metric.data else { return Ok(()) };
        let questions = questions(data, columns)?;
        let found =
            multiple_choice(&*(self.subject)()?, &questions, SpecialTokens::Added, self.work(metric))?;
        (values.detail.samples, values.detail.tokens) = (found.questions, found.tokens);
        values.set(|measure| match measure {
            Measure::ChoiceAccuracy => Some(Number::Real(found.acc())),
            Measure::ChoiceAccuracyPerByte => Some(Number::Real(found.acc_norm())),
            _ => None,
        });
        Ok(())
    }

    fn answers(&self, metric: &Metric, columns: &Generation, values: &mut Values) -> Result<()> {
        let Some(MetricData::Rows(data)) = &metric.data else { return Ok(()) };
        let exercises = exercises(data, columns)?;
        let case = if columns.ignore_case { LetterCase::Ignored } else { LetterCase::Counts };
        let found =
            exact_match(&*(self.subject)()?, &exercises, columns.max_new_tokens, case, self.work(metric))?;
        (values.detail.samples, values.detail.tokens) = (found.exercises, found.tokens);
        values.set(|_| Some(Number::Real(found.exact_match())));
        Ok(())
    }
}

/// The values of one metric on their way into the metrics of a model.
struct Values<'a> {
    metric: &'a Metric,
    into: &'a mut Metrics,
    detail: MetricDetail,
}

impl Values<'_> {
    /// Sets the sub types that `value` knows.
    fn set(&mut self, value: impl Fn(Measure) -> Option<Number>) {
        for sub_type in &self.metric.sub_types {
            let Some(value) = value(sub_type.measure) else { continue };
            let value = MetricValue {
                value,
                priority: sub_type.priority.map_or(-1, |rank| rank.try_into().unwrap_or(i32::MAX)),
                higher_is_better: sub_type.higher_is_better,
            };
            self.into.insert(&self.metric.name, sub_type.measure.name(), value);
        }
    }
}

fn repetition(timing: &Timing) -> Repetition {
    Repetition {
        warm_up: timing.warm_ups,
        repeat: timing.repeats,
        sleep: Duration::try_from_secs_f64(timing.sleep_seconds).unwrap_or(Duration::MAX),
    }
}

fn statistic(found: &Latencies, measure: Measure) -> Option<Number> {
    match measure {
        Measure::Latency(statistic) => Some(Number::Real(found.milliseconds(statistic))),
        Measure::Throughput(statistic) => Some(Number::Real(found.throughput(statistic))),
        _ => None,
    }
}

fn of_tokens(found: &Speed, measure: Measure) -> Option<Number> {
    let value = match measure {
        Measure::TimeToFirstToken => found.time_to_first_token,
        Measure::TimePerToken => found.per_token,
        Measure::PrefillTokensPerSecond => found.prefill_tokens_per_second,
        Measure::DecodeTokensPerSecond => found.decode_tokens_per_second,
        _ => return None,
    };
    Some(Number::Real(value))
}
