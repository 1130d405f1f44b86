//! `POST /v1/chat/completions`: what a request says.

use super::api_error::ApiError;
use super::fields::Fields;
use super::formats::{answer_schema, check_tools};
use super::generation::{ALTERNATIVES, Facts, Generation};
use super::messages;
use olive_data::Value;

#[derive(Debug)]
pub(crate) struct ChatRequest {
    pub(crate) messages: Value,
    /// Variables for the template.
    pub(crate) variables: Vec<(String, Value)>,
    pub(crate) generation: Generation,
}

impl ChatRequest {
    pub(crate) fn read(fields: Fields<'_>, facts: &Facts<'_>) -> Result<ChatRequest, ApiError> {
        let schema = answer_schema(fields)?;
        check_tools(fields)?;
        let messages = messages::read(fields)?;
        let mut generation = Generation::read(fields, facts)?;
        generation.schema = schema;
        let older = fields.count("max_tokens", 1..=usize::MAX)?;
        generation.max_tokens = fields.count("max_completion_tokens", 1..=usize::MAX)?.or(older);
        generation.alternatives = alternatives(fields)?;
        let variables = fields.object("chat_template_kwargs")?.into_iter().flatten();
        let variables = variables.map(|(name, value)| (name.clone(), Value::from(value))).collect();
        Ok(ChatRequest { messages, variables, generation })
    }
}

fn alternatives(fields: Fields<'_>) -> Result<Option<usize>, ApiError> {
    let wanted = fields.boolean("logprobs")? == Some(true);
    match fields.count("top_logprobs", 0..=ALTERNATIVES)? {
        Some(1..) if !wanted => Err(fields.invalid("top_logprobs", "needs `logprobs: true`")),
        count => Ok(wanted.then(|| count.unwrap_or(0))),
    }
}
