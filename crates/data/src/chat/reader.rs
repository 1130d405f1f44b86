//! The conversation of a row.

use super::conversation::{Conversation, Role, Turn};
use super::format::{Alpaca, Columns, FoundFormat, value};
use super::json_text::parsed;
use super::messages::turns;
use super::tools::tools;
use crate::error::DataError;
use crate::row_fault::RowFault;
use crate::rows::Rows;
use crate::value::Value;
use olive_config::canonical::ChatSource;

/// What a row says.
#[derive(Debug, Clone, PartialEq)]
pub enum ChatRow {
    Conversation(Conversation),
    /// Texts without a template.
    Pair {
        prompt: String,
        completion: String,
    },
}

/// Reads the rows of a dataset as conversations.
#[derive(Debug)]
pub struct ChatReader<'r> {
    rows: &'r Rows,
    pub found: FoundFormat,
    tools: Option<usize>,
    variables: Option<usize>,
}

impl ChatReader<'_> {
    /// Finds the columns.
    ///
    /// # Errors
    /// No format fits the columns, or several do.
    pub fn new<'r>(rows: &'r Rows, source: &ChatSource) -> Result<ChatReader<'r>, DataError> {
        Ok(ChatReader {
            rows,
            found: FoundFormat::find(rows, source)?,
            tools: rows.column("tools"),
            variables: rows.column("chat_template_kwargs"),
        })
    }

    /// # Errors
    /// Why the row is no conversation that anything can be learned from.
    pub fn read(&self, row: usize) -> Result<ChatRow, RowFault> {
        let values = self.rows.values(row);
        let conversation = match &self.found.columns {
            Columns::List { list, system } => {
                let mut turns = turns(&self.rows.columns[*list], &values[*list], 0)?;
                if let Some(system) = text(values, *system, "system")?.filter(|text| !text.is_empty())
                    && turns.iter().all(|turn| turn.role != Role::System)
                {
                    turns.insert(0, Turn::plain(Role::System, system));
                }
                self.around(values, turns, None)?
            }
            Columns::Alpaca(columns) => self.around(values, alpaca(columns, values)?, None)?,
            Columns::Pair { prompt, completion } => match (&values[*prompt], &values[*completion]) {
                (Value::Str(prompt), Value::Str(completion)) if !is_list(prompt) => {
                    if completion.is_empty() {
                        return Err(RowFault::Empty { column: "completion" });
                    }
                    return Ok(ChatRow::Pair { prompt: prompt.clone(), completion: completion.clone() });
                }
                (Value::List(_) | Value::Str(_), Value::List(_) | Value::Str(_))
                    if is_messages(&values[*prompt]) && is_messages(&values[*completion]) =>
                {
                    let mut all = turns("prompt", &values[*prompt], 0)?;
                    let asked = all.len();
                    all.extend(turns("completion", &values[*completion], asked)?);
                    if all[asked..].iter().all(|turn| turn.role != Role::Assistant) {
                        return Err(RowFault::NoAnswer);
                    }
                    self.around(values, all, Some(asked))?
                }
                (prompt, completion) => {
                    return Err(RowFault::TwoKinds { prompt: prompt.kind(), completion: completion.kind() });
                }
            },
        };
        if conversation.answers().next().is_none() {
            return Err(RowFault::NoAnswer);
        }
        Ok(ChatRow::Conversation(conversation))
    }

    /// The messages with what stands in other columns.
    fn around(
        &self,
        values: &[Value],
        turns: Vec<Turn>,
        prompt: Option<usize>,
    ) -> Result<Conversation, RowFault> {
        let tools = value(values, self.tools).map_or(Ok(Vec::new()), tools);
        let tools = tools.map_err(|reason| RowFault::Tools { reason })?;
        let variables = match value(values, self.variables).map(parsed).transpose() {
            Ok(None) => Vec::new(),
            Ok(Some(Value::Dict(variables))) => variables,
            Ok(Some(other)) => return Err(RowFault::Variables { found: other.kind() }),
            Err(reason) => return Err(RowFault::NotJson { column: "chat_template_kwargs".into(), reason }),
        };
        Ok(Conversation { turns, tools, variables, prompt })
    }
}

/// Whether a text is JSON of a list, as tables have lists of messages.
fn is_list(text: &str) -> bool {
    text.trim_start().starts_with('[')
        && matches!(serde_json::from_str(text), Ok(serde_json::Value::Array(_)))
}

fn is_messages(value: &Value) -> bool {
    match value {
        Value::List(_) => true,
        Value::Str(text) => is_list(text),
        _ => false,
    }
}

/// The text of a column that may be missing.
fn text<'v>(
    values: &'v [Value],
    column: Option<usize>,
    name: &'static str,
) -> Result<Option<&'v str>, RowFault> {
    match value(values, column) {
        None => Ok(None),
        Some(Value::Str(text)) => Ok(Some(text)),
        Some(other) => Err(RowFault::Column { column: name, found: other.kind() }),
    }
}

/// Instruction and input on lines of their own are the question; the history comes before it.
fn alpaca(columns: &Alpaca, values: &[Value]) -> Result<Vec<Turn>, RowFault> {
    let text = |column, name| Ok(text(values, column, name)?.filter(|text: &&str| !text.trim().is_empty()));
    let answer = text(columns.output, "output")?.ok_or(RowFault::Empty { column: "output" })?;
    let question = [text(Some(columns.instruction), "instruction")?, text(columns.input, "input")?];
    let question: Vec<&str> = question.into_iter().flatten().collect();
    let mut turns = Vec::new();
    turns.extend(text(columns.system, "system")?.map(|system| Turn::plain(Role::System, system)));
    if let Some(history) = value(values, columns.history) {
        let Ok(Value::List(pairs)) = parsed(history) else { return Err(RowFault::History) };
        for pair in &pairs {
            let Value::List(pair) = pair else { return Err(RowFault::History) };
            let [Value::Str(question), Value::Str(answer)] = &pair[..] else { return Err(RowFault::History) };
            turns.push(Turn::plain(Role::User, question.clone()));
            turns.push(Turn::plain(Role::Assistant, answer.clone()));
        }
    }
    turns.push(Turn::plain(Role::User, question.join("\n")));
    turns.push(Turn::plain(Role::Assistant, answer));
    Ok(turns)
}
