//! The samples of metrics, made once for all models that are measured on them.

use crate::Environment;
use olive_config::{DataConfig, Generation, Measure, Metric, MetricData, MetricKind, MultipleChoice};
use olive_core::Result;
use olive_core::cancel::CancelFlag;
use olive_core::event::EventSink;
use olive_data::{AnswerRow, Dataset, IGNORED, Sample, answer_rows, choice_rows, prepare, text_prompts};
use olive_evaluate::{Exercise, Question};
use olive_model::ModelFolder;
use olive_runtime::SpecialTokens;
use std::cell::RefCell;
use std::rc::Rc;

/// Tokenises data with the tokenizer of one model, and keeps what it made.
pub(super) struct Samples<'a> {
    folder: ModelFolder,
    events: &'a dyn EventSink,
    cancel: &'a CancelFlag,
    made: RefCell<Vec<(DataConfig, Rc<Dataset>)>>,
    prompts: RefCell<Vec<FoundPrompts>>,
}

/// What was found for the data of some metrics.
struct FoundPrompts {
    metrics: Vec<Metric>,
    most: usize,
    prompts: Option<Rc<Prompts>>,
}

/// Prompts with the answers of the data.
pub(super) struct Prompts {
    pub exercises: Vec<Exercise>,
    /// Whether the prompts spell their special tokens out.
    pub special: SpecialTokens,
}

/// What stands between a question and a choice, as in lm-eval.
const DELIMITER: &str = " ";

impl<'a> Samples<'a> {
    pub(super) fn new(folder: ModelFolder, environment: &'a Environment) -> Samples<'a> {
        let (events, cancel) = (&*environment.events, &environment.cancel);
        Samples { folder, events, cancel, made: RefCell::default(), prompts: RefCell::default() }
    }

    /// Whether both have the same `tokenizer.json`.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn has_tokenizer_of(&self, other: &Samples) -> Result<bool> {
        let own = self.folder.tokenizer_json()?;
        Ok(own.is_some() && own == other.folder.tokenizer_json()?)
    }

    /// The samples of a metric of losses or times.
    ///
    /// # Errors
    /// As [`prepare`].
    pub(super) fn dataset(&self, metric: &Metric) -> Result<Option<Rc<Dataset>>> {
        match &metric.data {
            None => Ok(None),
            Some(MetricData::Rows(data)) => self.rows(data).map(Some),
            Some(MetricData::Dummy(input)) => {
                Ok(Some(Rc::new(meaningless(input.seq_len, metric.batch_size))))
            }
        }
    }

    /// The first `most` prompts of the first metric whose data has some.
    ///
    /// # Errors
    /// As [`text_prompts`] and [`answer_rows`].
    pub(super) fn prompts(&self, metrics: &[Metric], most: usize) -> Result<Option<Rc<Prompts>>> {
        let is_same = |found: &&FoundPrompts| found.metrics == metrics && found.most == most;
        if let Some(found) = self.prompts.borrow().iter().find(is_same) {
            return Ok(found.prompts.clone());
        }
        let mut prompts = None;
        for metric in metrics.iter().filter(|_| most > 0) {
            prompts = self.prompts_of(metric, most)?.filter(|found| !found.exercises.is_empty()).map(Rc::new);
            if prompts.is_some() {
                break;
            }
        }
        let found = FoundPrompts { metrics: metrics.to_vec(), most, prompts: prompts.clone() };
        self.prompts.borrow_mut().push(found);
        Ok(prompts)
    }

    /// `None`: its data are no texts with answers.
    fn prompts_of(&self, metric: &Metric, most: usize) -> Result<Option<Prompts>> {
        let Some(MetricData::Rows(data)) = &metric.data else { return Ok(None) };
        Ok(match &metric.kind {
            MetricKind::Accuracy => {
                let rows = text_prompts(data, &self.folder, most)?;
                let exercises = rows.into_iter().map(exercise).collect();
                Some(Prompts { exercises, special: SpecialTokens::InText })
            }
            MetricKind::Generation(columns) => {
                let mut exercises = exercises(data, columns)?;
                exercises.truncate(most);
                Some(Prompts { exercises, special: SpecialTokens::Added })
            }
            _ => None,
        })
    }

    fn rows(&self, data: &DataConfig) -> Result<Rc<Dataset>> {
        if let Some((_, made)) = self.made.borrow().iter().find(|(known, _)| known == data) {
            return Ok(Rc::clone(made));
        }
        let dataset = Rc::new(prepare(data, &self.folder, self.events, self.cancel)?);
        self.made.borrow_mut().push((data.clone(), Rc::clone(&dataset)));
        Ok(dataset)
    }
}

/// Samples of so many token ids that mean nothing.
pub(super) fn meaningless(tokens: usize, batch_size: usize) -> Dataset {
    let (input_ids, labels) = (vec![1; tokens], vec![1; tokens]);
    let sample = Sample { input_ids, labels, ..Sample::default() };
    Dataset { samples: vec![sample; batch_size], rows: batch_size }
}

/// The dataset without the labels of this id.
pub(super) fn without_label(dataset: &Rc<Dataset>, ignored: i64) -> Rc<Dataset> {
    match i32::try_from(ignored) {
        Ok(ignored) if ignored != IGNORED => {
            let mut copy = Dataset::clone(dataset);
            let labels = copy.samples.iter_mut().flat_map(|sample| &mut sample.labels);
            labels.filter(|label| **label == ignored).for_each(|label| *label = IGNORED);
            Rc::new(copy)
        }
        _ => Rc::clone(dataset),
    }
}

/// Where the losses of a metric differ: in the label that they ignore.
pub(super) fn ignored_label(measure: Measure) -> Option<i64> {
    match measure {
        Measure::Loss { ignore_index } | Measure::Perplexity { ignore_index } => Some(ignore_index),
        _ => None,
    }
}

/// The questions of a metric.
///
/// # Errors
/// As [`choice_rows`].
pub(super) fn questions(data: &DataConfig, columns: &MultipleChoice) -> Result<Vec<Question>> {
    let rows = choice_rows(data, columns)?.into_iter();
    Ok(rows
        .map(|row| Question {
            context: row.prompt,
            choices: row.choices,
            delimiter: DELIMITER.into(),
            answer: row.answer,
        })
        .collect())
}

/// The prompts of a metric with their answers.
///
/// # Errors
/// As [`answer_rows`].
pub(super) fn exercises(data: &DataConfig, columns: &Generation) -> Result<Vec<Exercise>> {
    let rows = answer_rows(data, columns)?.into_iter();
    Ok(rows.map(exercise).collect())
}

fn exercise(row: AnswerRow) -> Exercise {
    Exercise { prompt: row.prompt, answer: row.answer }
}
