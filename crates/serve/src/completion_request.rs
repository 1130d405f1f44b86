//! `POST /v1/completions`: what a request says.

use super::api_error::ApiError;
use super::fields::Fields;
use super::formats::answer_schema;
use super::generation::{ALTERNATIVES, Facts, Generation, token_id};
use serde_json::Value;

/// Tokens of an answer where the request does not say, as OpenAI has it.
const MAX_TOKENS: usize = 16;

#[derive(Debug)]
pub(crate) struct CompletionRequest {
    pub(crate) prompts: Vec<Prompt>,
    pub(crate) generation: Generation,
}

/// What is continued.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Prompt {
    Text(String),
    Tokens(Vec<u32>),
}

impl CompletionRequest {
    pub(crate) fn read(fields: Fields<'_>, facts: &Facts<'_>) -> Result<CompletionRequest, ApiError> {
        let schema = answer_schema(fields)?;
        refuse_what_is_not_done(fields)?;
        let prompts = prompts(fields, facts.vocabulary)?;
        let mut generation = Generation::read(fields, facts)?;
        generation.schema = schema;
        generation.max_tokens = Some(fields.count("max_tokens", 1..=usize::MAX)?.unwrap_or(MAX_TOKENS));
        generation.alternatives = fields.count("logprobs", 0..=ALTERNATIVES)?;
        Ok(CompletionRequest { prompts, generation })
    }
}

fn refuse_what_is_not_done(fields: Fields<'_>) -> Result<(), ApiError> {
    let refuse = |name: &str| Err(ApiError::unsupported(name, format!("`{name}` is not supported")));
    if fields.boolean("echo")? == Some(true) {
        return refuse("echo");
    }
    if fields.text("suffix")?.is_some_and(|suffix| !suffix.is_empty()) {
        return refuse("suffix");
    }
    if fields.count("best_of", 0..=usize::MAX)?.is_some_and(|count| count > 1) {
        return refuse("best_of");
    }
    Ok(())
}

fn prompts(fields: Fields<'_>, vocabulary: usize) -> Result<Vec<Prompt>, ApiError> {
    const NAME: &str = "prompt";
    let wrong = || {
        fields.invalid(
            NAME,
            "must be a string, a list of strings, a list of token ids, or a list of such lists",
        )
    };
    let tokens = |list: &[Value]| {
        let ids: Option<Vec<u32>> = list.iter().map(|id| token_id(id, vocabulary)).collect();
        ids.ok_or_else(|| match list.iter().all(|id| id.is_i64() || id.is_u64()) {
            true => {
                fields.invalid(NAME, format!("has an id that is none of the model's {vocabulary} tokens"))
            }
            false => wrong(),
        })
    };
    let list = match fields.get(NAME) {
        None => return Err(fields.invalid(NAME, "is missing")),
        Some(Value::String(text)) => return Ok(vec![Prompt::Text(text.clone())]),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(wrong()),
    };
    match list.first() {
        None => Err(fields.invalid(NAME, "must not be empty")),
        Some(Value::Number(_)) => Ok(vec![Prompt::Tokens(tokens(list)?)]),
        Some(_) => list
            .iter()
            .map(|prompt| match prompt {
                Value::String(text) => Ok(Prompt::Text(text.clone())),
                Value::Array(ids) => Ok(Prompt::Tokens(tokens(ids)?)),
                _ => Err(wrong()),
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn prompts_have_four_forms() {
        let read = |prompt: Value| {
            let object = json!({ "prompt": prompt }).as_object().unwrap().clone();
            prompts(Fields::of(&object), 10)
        };
        let text = |text: &str| Prompt::Text(text.into());
        assert_eq!(read(json!("a")).unwrap(), [text("a")]);
        assert_eq!(read(json!(["a", "b"])).unwrap(), [text("a"), text("b")]);
        assert_eq!(read(json!([1, 2])).unwrap(), [Prompt::Tokens(vec![1, 2])]);
        assert_eq!(
            read(json!([[1], [2, 3]])).unwrap(),
            [Prompt::Tokens(vec![1]), Prompt::Tokens(vec![2, 3])]
        );
        for wrong in
            [json!([]), json!(null), json!(5), json!([1, 10]), json!([1, "a"]), json!([-1]), json!([[1.5]])]
        {
            assert_eq!(read(wrong.clone()).unwrap_err().to_json()["error"]["param"], "prompt", "{wrong}");
        }
    }

    #[test]
    fn echo_suffix_and_best_of_are_refused_where_they_ask_for_something() {
        let refused = |body: Value| refuse_what_is_not_done(Fields::of(body.as_object().unwrap())).is_err();
        assert!(!refused(json!({"echo": false, "suffix": "", "best_of": 1})));
        for wrong in
            [json!({"echo": true}), json!({"suffix": "x"}), json!({"best_of": 2}), json!({"echo": 1})]
        {
            assert!(refused(wrong.clone()), "{wrong}");
        }
    }
}
