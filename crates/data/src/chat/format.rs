//! What the columns of conversations are: found once, for all rows alike.

use super::messages::is_share_gpt;
use crate::error::DataError;
use crate::rows::Rows;
use crate::value::Value;
use olive_config::canonical::{ChatSource, RowFormat, TextColumn};

/// The columns that lists of messages stand in.
const LISTS: [&str; 2] = ["messages", "conversations"];

/// Which columns make the conversation of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Columns {
    List { list: usize, system: Option<usize> },
    Alpaca(Alpaca),
    Pair { prompt: usize, completion: usize },
}

/// The columns of Alpaca's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Alpaca {
    pub instruction: usize,
    pub input: Option<usize>,
    pub output: Option<usize>,
    pub system: Option<usize>,
    pub history: Option<usize>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundFormat {
    /// Never [`RowFormat::Auto`].
    pub format: RowFormat,
    pub(crate) columns: Columns,
    /// There is also a column `text`, which is not used.
    pub ignores_text: bool,
}

impl FoundFormat {
    /// Finds the format of rows, or the columns of the one that is asked for.
    ///
    /// # Errors
    /// No format fits, several do, or the columns of that one are missing.
    pub(crate) fn find(rows: &Rows, source: &ChatSource) -> Result<FoundFormat, DataError> {
        let list = match &source.message_col {
            Some(column) => Some(rows.require(column, "the conversation")?),
            None => LISTS.iter().find_map(|column| rows.column(column)),
        };
        let fits = Fits {
            list,
            pair: rows.column("prompt").zip(rows.column("completion")),
            instruction: rows.column("instruction"),
            output: rows.column("output"),
        };
        let missing = |columns: &'static str| DataError::FormatColumns {
            location: rows.location(0),
            format: source.format.name(),
            columns,
            known: rows.columns.clone(),
        };
        let lists = "`messages` or `conversations`";
        let (format, columns) = match source.format {
            RowFormat::Auto => fits.only_one(rows)?,
            RowFormat::Messages | RowFormat::ShareGpt => {
                let list = list.ok_or_else(|| missing(lists))?;
                (source.format, Columns::List { list, system: rows.column("system") })
            }
            RowFormat::Alpaca => {
                let instruction = fits.instruction.ok_or_else(|| missing("`instruction`"))?;
                (RowFormat::Alpaca, Columns::Alpaca(Alpaca::new(rows, instruction)))
            }
            RowFormat::PromptCompletion => {
                let (prompt, completion) = fits.pair.ok_or_else(|| missing("`prompt` and `completion`"))?;
                (RowFormat::PromptCompletion, Columns::Pair { prompt, completion })
            }
        };
        Ok(FoundFormat { format, columns, ignores_text: rows.column(TextColumn::NAME).is_some() })
    }
}

impl Alpaca {
    fn new(rows: &Rows, instruction: usize) -> Alpaca {
        let [input, output, system, history] =
            ["input", "output", "system", "history"].map(|name| rows.column(name));
        Alpaca { instruction, input, output, system, history }
    }
}

/// The columns of each format that there are.
struct Fits {
    list: Option<usize>,
    pair: Option<(usize, usize)>,
    instruction: Option<usize>,
    output: Option<usize>,
}

impl Fits {
    fn only_one(&self, rows: &Rows) -> Result<(RowFormat, Columns), DataError> {
        // An instruction beside a conversation is a note about it.
        let is_alone = self.list.is_none() && self.pair.is_none();
        let instruction = self.instruction.filter(|_| self.output.is_some() || is_alone);
        let mut found = Vec::new();
        if let Some(list) = self.list {
            found.push((list_format(rows, list)?, Columns::List { list, system: rows.column("system") }));
        }
        if let Some(instruction) = instruction {
            found.push((RowFormat::Alpaca, Columns::Alpaca(Alpaca::new(rows, instruction))));
        }
        if let Some((prompt, completion)) = self.pair {
            found.push((RowFormat::PromptCompletion, Columns::Pair { prompt, completion }));
        }
        match found.as_slice() {
            [] => Err(DataError::NoFormat { location: rows.location(0), known: rows.columns.clone() }),
            [_] => Ok(found.remove(0)),
            [(first, _), (second, _), ..] => Err(DataError::SeveralFormats {
                location: rows.location(0),
                formats: [first.name(), second.name()],
            }),
        }
    }
}

/// Whose names the messages of a column have.
fn list_format(rows: &Rows, column: usize) -> Result<RowFormat, DataError> {
    let mut first: Option<RowFormat> = None;
    for row in 0..rows.len() {
        let format = match is_share_gpt(&rows.values(row)[column]) {
            None => continue,
            Some(true) => RowFormat::ShareGpt,
            Some(false) => RowFormat::Messages,
        };
        match first {
            None => first = Some(format),
            Some(first) if first == format => {}
            Some(first) => {
                let formats = [first.name(), format.name()];
                return Err(DataError::SeveralFormats { location: rows.location(row), formats });
            }
        }
    }
    Ok(first.unwrap_or(RowFormat::Messages))
}

/// Whether rows without a column `text` have those of conversations.
pub(crate) fn looks_like_chat(rows: &Rows) -> bool {
    let has = |name: &str| rows.column(name).is_some();
    LISTS.iter().any(|name| has(name)) || has("instruction") || (has("prompt") && has("completion"))
}

/// A column's value; `None` also where it is null.
pub(super) fn value(values: &[Value], column: Option<usize>) -> Option<&Value> {
    column.map(|column| &values[column]).filter(|value| **value != Value::None)
}
