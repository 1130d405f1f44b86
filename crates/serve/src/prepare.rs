//! From the bytes of a body to a job for the model.

use super::answers::Answer;
use super::api_error::ApiError;
use super::chat_request::ChatRequest;
use super::completion_request::{CompletionRequest, Prompt};
use super::fields::Fields;
use super::formats::refused;
use super::generation::{Facts, Generation};
use super::grammar::Grammar;
use super::job::{Event, Form, Job};
use super::state::{Model, ServerState};
use olive_core::event::Event as Message;
use olive_data::{Beside, DataError};
use olive_decoder::GenerateError;
use olive_runtime::SpecialTokens;
use serde_json::Value;
use tokio::sync::mpsc;

/// Most choices of a request, over all its prompts.
const CHOICES: usize = 128;

/// A request that can be answered.
pub(crate) struct Prepared {
    pub(crate) job: Job,
    pub(crate) answer: Answer,
}

/// Reads a request; its answer will go to `events`. This takes time where the prompt is long.
pub(crate) fn prepare(
    state: &ServerState,
    body: &[u8],
    form: Form,
    events: mpsc::Sender<Event>,
) -> Result<Prepared, ApiError> {
    let models = state.models()?;
    let body: Value = serde_json::from_slice(body)
        .map_err(|error| ApiError::body(format!("the body is not JSON: {error}")))?;
    let object = body.as_object().ok_or_else(|| ApiError::body("the body must be a JSON object"))?;
    let fields = Fields::of(object);
    let name = fields.text("model")?.ok_or_else(|| fields.invalid("model", "is missing"))?;
    let target = state.target(name)?;
    let model = &models[target.model];
    let facts = Facts {
        vocabulary: model.generator.model().vocabulary(),
        defaults: model.generator.defaults(),
        stop_tokens: model.generator.stop_tokens(),
        choices: state.options.limits.choices,
    };
    let (field, prompts, mut generation) = match form {
        Form::Chat => {
            let request = ChatRequest::read(fields, &facts)?;
            ("messages", vec![chat_prompt(state, model, &request)?], request.generation)
        }
        Form::Text => {
            let request = CompletionRequest::read(fields, &facts)?;
            ("prompt", text_prompts(state, model, request.prompts)?, request.generation)
        }
    };
    check_size(field, &prompts, &generation, model.context)?;
    if state.options.log_prompts {
        let said = object.get(field).map(Value::to_string).unwrap_or_default();
        state.events.emit(Message::Info { message: format!("{field}: {said}") });
    }
    let grammar = generation.schema.take().map(|schema| grammar(state, model, schema)).transpose()?;
    let answer = Answer::new(form, name, generation.delivery, generation.alternatives.is_some());
    Ok(Prepared { job: Job { target, form, prompts, generation, grammar, events }, answer })
}

fn grammar(state: &ServerState, model: &Model, schema: Value) -> Result<Grammar, ApiError> {
    let grammars = model.grammars().map_err(|reason| {
        let message = format!("answers cannot be kept to a schema with this vocabulary: {reason}");
        state.events.emit(Message::Warning { message });
        ApiError::failed()
    })?;
    grammars.compile(schema).map_err(refused)
}

fn chat_prompt(state: &ServerState, model: &Model, request: &ChatRequest) -> Result<Vec<u32>, ApiError> {
    let beside = Beside { tools: &[], variables: &request.variables };
    let tokens = model.generator.encode_conversation(&request.messages, beside);
    tokens.map_err(|error| refusal(state, "messages", &error))?.ok_or_else(|| {
        ApiError::invalid(
            "messages",
            "the model has no chat template; /v1/completions continues a prompt as it stands",
        )
    })
}

fn text_prompts(state: &ServerState, model: &Model, prompts: Vec<Prompt>) -> Result<Vec<Vec<u32>>, ApiError> {
    let tokens = prompts.into_iter().map(|prompt| match prompt {
        Prompt::Tokens(tokens) => Ok(tokens),
        Prompt::Text(text) => model.generator.tokens(text, SpecialTokens::Added),
    });
    tokens.collect::<olive_core::Result<_>>().map_err(|error| refusal(state, "prompt", &error))
}

/// An error about what the request says, or one of the server, of which the log says more.
fn refusal(state: &ServerState, field: &str, error: &olive_core::Error) -> ApiError {
    match (error.downcast_ref(), error.downcast_ref()) {
        (Some(DataError::Render { reason, .. }), _) => {
            ApiError::invalid(field, format!("the chat template refuses `{field}`: {reason}"))
        }
        (_, Some(GenerateError::BeyondVocabulary { .. })) => {
            ApiError::invalid(field, format!("`{field}` has a token that the model does not know"))
        }
        _ => {
            let message = format!("a prompt could not be read: {}", error.with_causes());
            state.events.emit(Message::Warning { message });
            ApiError::failed()
        }
    }
}

fn check_size(
    field: &str,
    prompts: &[Vec<u32>],
    generation: &Generation,
    context: usize,
) -> Result<(), ApiError> {
    if prompts.len() * generation.choices > CHOICES {
        let message = format!("`{field}` and `n` ask for more than {CHOICES} choices");
        return Err(ApiError::invalid(field, message));
    }
    if prompts.iter().any(Vec::is_empty) {
        return Err(ApiError::invalid(field, format!("`{field}` has no tokens")));
    }
    match prompts.iter().map(Vec::len).find(|tokens| *tokens >= context) {
        Some(tokens) => Err(ApiError::too_long(field, tokens, context)),
        None => Ok(()),
    }
}
