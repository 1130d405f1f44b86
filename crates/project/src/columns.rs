//! What the rows of a file are.

use olive_config::{ChatSource, RowFormat};
use olive_data::chat::ChatReader;
use olive_data::{Rows, Value};

/// How a row becomes what the model learns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowShape {
    /// A conversation in one of the known formats.
    Conversation(RowFormat),
    /// A question in one column, its answer in another.
    Pair { question: String, answer: String },
    /// A text in one column.
    Text { column: String },
    /// A text that a template makes of the columns.
    Template(String),
}

/// The columns of a file, as far as texts could come from them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    pub names: Vec<String>,
    /// Those that hold texts.
    pub texts: Vec<String>,
    format: Option<RowFormat>,
    /// The only row has the rows in this column: a JSON document that says more than them.
    pub wrapped_in: Option<String>,
}

/// Names of columns that are asked with, the likeliest first: letters and digits only.
const QUESTIONS: [&str; 10] =
    ["question", "prompt", "instruction", "query", "input", "user", "request", "problem", "context", "q"];

/// Names of columns that are answered with.
const ANSWERS: [&str; 11] = [
    "bestanswer",
    "answer",
    "response",
    "completion",
    "output",
    "reply",
    "assistant",
    "solution",
    "target",
    "answers",
    "a",
];

/// Rows that are looked at.
const LOOKED_AT: usize = 200;

impl Columns {
    pub fn of(rows: &Rows) -> Columns {
        let looked_at = rows.len().min(LOOKED_AT);
        // A cell may be empty here and there.
        let holds_text = |column: &usize| {
            let mut values =
                (0..looked_at).map(|row| &rows.values(row)[*column]).filter(|value| **value != Value::None);
            values.next().is_some_and(|first| matches!(first, Value::Str(_)))
                && values.all(|value| matches!(value, Value::Str(_)))
        };
        let names = rows.columns.clone();
        let texts = (0..names.len()).filter(holds_text).map(|column| names[column].clone()).collect();
        Columns { names, texts, format: format(rows), wrapped_in: wrapped_in(rows) }
    }

    /// What the rows are by the names and the values of their columns. `None`: that cannot be told.
    pub fn shape(&self) -> Option<RowShape> {
        if let Some(format) = self.format {
            return Some(RowShape::Conversation(format));
        }
        let named = |known: &[&str]| {
            known.iter().find_map(|known| self.texts.iter().find(|name| plain(name) == *known))
        };
        if let (Some(question), Some(answer)) = (named(&QUESTIONS), named(&ANSWERS)) {
            return Some(RowShape::Pair { question: question.clone(), answer: answer.clone() });
        }
        match self.texts.as_slice() {
            [column] => Some(RowShape::Text { column: column.clone() }),
            texts => {
                let text = texts.iter().find(|name| plain(name) == "text")?;
                Some(RowShape::Text { column: text.clone() })
            }
        }
    }
}

/// The first column with a list of objects, where there is only one row, which is no conversation.
fn wrapped_in(rows: &Rows) -> Option<String> {
    let is_list = |value: &Value| match value {
        Value::List(items) => matches!(items.first(), Some(Value::Dict(_))),
        _ => false,
    };
    let first = (rows.len() == 1).then(|| rows.values(0).iter().position(is_list)).flatten()?;
    format(rows).is_none().then(|| rows.columns[first].clone())
}

/// A name without case, spaces and signs.
fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// The format of conversations that the rows are in. Pairs of texts, which no template would be put around, are left to the
/// names of the columns.
fn format(rows: &Rows) -> Option<RowFormat> {
    if rows.is_empty() {
        return None;
    }
    let format = ChatReader::new(rows, &ChatSource::default()).ok()?.found.format;
    let of_texts = || {
        let prompt = rows.column("prompt");
        prompt.is_some_and(|prompt| {
            matches!(&rows.values(0)[prompt], Value::Str(text) if !text.trim_start().starts_with('['))
        })
    };
    match format {
        RowFormat::PromptCompletion if of_texts() => None,
        // `instruction` alone is one of many names for a question.
        RowFormat::Alpaca if rows.column("output").is_none() => None,
        format => Some(format),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(texts: &[&str]) -> Columns {
        let texts: Vec<String> = texts.iter().map(|name| (*name).to_owned()).collect();
        Columns { names: texts.clone(), texts, format: None, wrapped_in: None }
    }

    fn pair(question: &str, answer: &str) -> Option<RowShape> {
        Some(RowShape::Pair { question: question.into(), answer: answer.into() })
    }

    #[test]
    fn knows_questions_and_answers_by_their_names() {
        assert_eq!(
            columns(&["id", "Question", "Answer", "Best Answer"]).shape(),
            pair("Question", "Best Answer")
        );
        assert_eq!(columns(&["Best_Answer", "QUERY"]).shape(), pair("QUERY", "Best_Answer"));
        assert_eq!(columns(&["completion", "prompt"]).shape(), pair("prompt", "completion"));
        assert_eq!(columns(&["de", "en"]).shape(), None);
        assert_eq!(columns(&[]).shape(), None);
    }

    #[test]
    fn a_single_text_is_what_is_learned() {
        assert_eq!(columns(&["body"]).shape(), Some(RowShape::Text { column: "body".into() }));
        assert_eq!(columns(&["title", "text"]).shape(), Some(RowShape::Text { column: "text".into() }));
    }
}
