//! Rows as prompts with right answers: questions with choices, and texts to be continued.

use crate::answer_row::AnswerRow;
use crate::error::{DataError, Location};
use crate::prepare::rows_of;
use crate::python_text;
use crate::rows::Rows;
use crate::template::Template;
use crate::value::Value;
use olive_config::canonical::{DataConfig, Generation, MultipleChoice, RowPrompt};
use olive_core::Result;

/// A question, its choices, and which of them is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChoiceRow {
    pub prompt: String,
    pub choices: Vec<String>,
    /// From 0.
    pub answer: usize,
}

/// The questions of a data configuration, of which only the rows and `max_samples` are used.
///
/// # Errors
/// What is wrong with a file or a row.
pub fn choice_rows(config: &DataConfig, columns: &MultipleChoice) -> Result<Vec<ChoiceRow>> {
    let rows = rows_of(config)?;
    let prompts = Prompts::new(&rows, &columns.question_col, &columns.row)?;
    let choices = rows.require(&columns.choices_col, "the metric `multiple_choice`")?;
    let answer = rows.require(&columns.row.answer_col, "the metric `multiple_choice`")?;
    let row = |index: usize| {
        let values = rows.values(index);
        let wrong = |column: &str, value: &Value, expected| DataError::ColumnType {
            location: rows.location(index),
            column: column.to_owned(),
            found: value.kind(),
            expected,
        };
        let choices = Choices::of(&values[choices])
            .ok_or_else(|| wrong(&columns.choices_col, &values[choices], "a list of texts"))?;
        let right = choices.place_of(&values[answer]).ok_or_else(|| DataError::Malformed {
            location: rows.location(index),
            reason: format!(
                "`{}` is {}, which is none of the {} choices",
                columns.row.answer_col,
                python_text::repr(&values[answer]),
                choices.texts.len()
            ),
        })?;
        Ok(ChoiceRow { prompt: prompts.of(index)?, choices: choices.texts, answer: right })
    };
    (0..rows.wanted(config)).map(row).collect()
}

/// The prompts of a data configuration with their answers; of the configuration, only the rows and `max_samples` are used.
///
/// # Errors
/// What is wrong with a file or a row.
pub fn answer_rows(config: &DataConfig, columns: &Generation) -> Result<Vec<AnswerRow>> {
    let rows = rows_of(config)?;
    let prompts = Prompts::new(&rows, &columns.prompt_col, &columns.row)?;
    let answer = rows.require(&columns.row.answer_col, "the metric `generation`")?;
    let row = |index: usize| {
        let answer = python_text::str(&rows.values(index)[answer]);
        Ok(AnswerRow { prompt: prompts.of(index)?, answer })
    };
    (0..rows.wanted(config)).map(row).collect()
}

impl Rows {
    /// How many of the rows are taken.
    fn wanted(&self, config: &DataConfig) -> usize {
        config.pre_process.max_samples.map_or(self.len(), |most| most.min(self.len()))
    }
}

/// What makes the prompts of rows.
struct Prompts<'a> {
    rows: &'a Rows,
    source: Source,
}

enum Source {
    Column(usize),
    Template(Template),
}

impl Prompts<'_> {
    fn new<'a>(rows: &'a Rows, column: &str, row: &RowPrompt) -> Result<Prompts<'a>, DataError> {
        let source = match &row.prompt_template {
            None => Source::Column(rows.require(column, "the prompt")?),
            Some(text) => {
                let template = Template::parse(text)?;
                template
                    .columns()
                    .iter()
                    .try_for_each(|column| rows.require(column, "`prompt_template`").map(drop))?;
                Source::Template(template)
            }
        };
        Ok(Prompts { rows, source })
    }

    fn of(&self, index: usize) -> Result<String, DataError> {
        let values = self.rows.values(index);
        match &self.source {
            Source::Column(column) => Ok(python_text::str(&values[*column])),
            Source::Template(template) => {
                let location = || -> Location { self.rows.location(index) };
                let column = |name: &str| Ok(&values[self.rows.require(name, "`prompt_template`")?]);
                template.format(&column, &location)
            }
        }
    }
}

/// Choices, and what answers may call them.
struct Choices {
    texts: Vec<String>,
    labels: Option<Vec<String>>,
}

impl Choices {
    /// A list, the text of one in JSON, or an object with the lists `text` and `label`, as ARC has it.
    fn of(value: &Value) -> Option<Choices> {
        match value {
            Value::List(items) => {
                let texts: Vec<String> = items.iter().map(python_text::str).collect();
                (!texts.is_empty()).then_some(Choices { texts, labels: None })
            }
            Value::Dict(_) => {
                let texts = Choices::of(value.get("text")?)?.texts;
                let labels = value.get("label").and_then(Choices::of).map(|labels| labels.texts);
                Some(Choices { labels: labels.filter(|labels| labels.len() == texts.len()), texts })
            }
            Value::Str(text) => {
                let texts: Vec<String> = serde_json::from_str(text).ok()?;
                (!texts.is_empty()).then_some(Choices { texts, labels: None })
            }
            Value::None | Value::Bool(_) | Value::Int(_) | Value::Float(_) => None,
        }
    }

    /// The choice that an answer means: by its label, its number from 0, its text, or its letter.
    fn place_of(&self, answer: &Value) -> Option<usize> {
        let exists = |place: &usize| *place < self.texts.len();
        let text = match answer {
            Value::Int(number) => match self.labelled(&number.to_string()) {
                None => return usize::try_from(*number).ok().filter(exists),
                labelled => return labelled,
            },
            Value::Str(text) => text.trim(),
            Value::None | Value::Bool(_) | Value::Float(_) | Value::List(_) | Value::Dict(_) => return None,
        };
        let letter = || match text.as_bytes() {
            [letter @ b'A'..=b'Z'] => Some(usize::from(letter - b'A')).filter(exists),
            _ => None,
        };
        self.labelled(text)
            .or_else(|| self.texts.iter().position(|choice| choice.trim() == text))
            .or_else(letter)
            .or_else(|| text.parse().ok().filter(exists))
    }

    fn labelled(&self, label: &str) -> Option<usize> {
        self.labels.as_ref()?.iter().position(|known| known.trim() == label)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Value {
        Value::List(texts.iter().map(|text| Value::Str((*text).into())).collect())
    }

    #[test]
    fn answers_are_numbers_letters_labels_or_texts() {
        let places = |choices: &Value, answers: &[&str]| -> Vec<Option<usize>> {
            let choices = Choices::of(choices).expect("choices");
            answers.iter().map(|answer| choices.place_of(&Value::Str((*answer).into()))).collect()
        };
        let plain = texts(&["red", "green", "blue"]);
        assert_eq!(
            places(&plain, &["green", "A", "2", "3", "D", "b"]),
            [Some(1), Some(0), Some(2), None, None, None]
        );
        let arc = |labels: &[&str]| {
            Value::Dict(vec![
                ("text".into(), texts(&["red", "green", "blue"])),
                ("label".into(), texts(labels)),
            ])
        };
        assert_eq!(places(&arc(&["1", "2", "3"]), &["1", "3"]), [Some(0), Some(2)]);
        assert_eq!(places(&arc(&["C", "B", "A"]), &["A", "C"]), [Some(2), Some(0)]);
        let choices = Choices::of(&arc(&["1", "2", "3"])).expect("choices");
        assert_eq!((choices.place_of(&Value::Int(1)), choices.place_of(&Value::Float(1.0))), (Some(0), None));
        // A choice that is a letter is meant before the letter of another.
        assert_eq!(places(&texts(&["B", "A"]), &["A"]), [Some(1)]);
    }

    #[test]
    fn choices_of_a_table_are_a_list_in_json() {
        let of = |text: &str| Choices::of(&Value::Str(text.into())).map(|choices| choices.texts.len());
        assert_eq!((of(r#"["yes", "no"]"#), of("yes, no"), of("[]")), (Some(2), None, None));
    }
}
