//! The paths.

use super::api_error::{ApiError, json_response};
use super::body;
use super::gate::{HEALTH, gate};
use super::generation::Delivery;
use super::job::{Form, PIECES};
use super::log::{Record, Transcript};
use super::page;
use super::prepare::prepare;
use super::queue::Refused;
use super::state::{Model, ServerState};
use super::stream::Incoming;
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

type Shared = State<Arc<ServerState>>;

pub(crate) fn router(state: Arc<ServerState>) -> Router {
    page::routes(state.options.page)
        .route("/v1/models", get(models))
        .route("/v1/models/{*id}", get(model))
        .route("/v1/chat/completions", post(chat))
        .route("/v1/completions", post(completions))
        .route(HEALTH, get(health))
        .route("/metrics", get(metrics))
        .fallback(async || ApiError::unknown_path())
        .method_not_allowed_fallback(async || ApiError::method())
        .layer(from_fn_with_state(Arc::clone(&state), gate))
        .with_state(state)
}

async fn health(State(state): Shared) -> Result<Response, ApiError> {
    state.models()?;
    Ok(json_response(StatusCode::OK, &json!({"status": "ok"})))
}

async fn metrics(State(state): Shared) -> Response {
    const TEXT: [(header::HeaderName, &str); 1] =
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (TEXT, state.metrics.page(state.queue.len())).into_response()
}

async fn models(State(state): Shared) -> Result<Response, ApiError> {
    let models = state.models()?;
    let names = state.options.names();
    let list: Vec<Value> = names.map(|(name, of)| description(&state, name, &models[of.model])).collect();
    Ok(json_response(StatusCode::OK, &json!({"object": "list", "data": list})))
}

async fn model(State(state): Shared, Path(id): Path<String>) -> Result<Response, ApiError> {
    let model = &state.models()?[state.target(&id)?.model];
    Ok(json_response(StatusCode::OK, &description(&state, &id, model)))
}

/// Beside what OpenAI says: the longest context, as vLLM names it, and whether there is a chat template.
fn description(state: &ServerState, name: &str, model: &Model) -> Value {
    json!({
        "id": name, "object": "model", "created": state.started, "owned_by": "olive",
        "max_model_len": model.context, "chat": model.generator.has_chat_template(),
    })
}

async fn chat(
    State(state): Shared,
    Extension(record): Extension<Arc<Record>>,
    request: Request,
) -> Result<Response, ApiError> {
    answer(state, record, request, Form::Chat).await
}

async fn completions(
    State(state): Shared,
    Extension(record): Extension<Arc<Record>>,
    request: Request,
) -> Result<Response, ApiError> {
    answer(state, record, request, Form::Text).await
}

/// Whatever can be refused is refused before the answer begins. When the client goes away, this future is dropped, and
/// with it the other end of the job's channel.
async fn answer(
    state: Arc<ServerState>,
    record: Arc<Record>,
    request: Request,
    form: Form,
) -> Result<Response, ApiError> {
    state.models()?;
    let body = body::read(request, state.options.limits.body, state.options.times.body).await?;
    let (sender, events) = mpsc::channel(PIECES);
    let reading = {
        let state = Arc::clone(&state);
        spawn_blocking(move || prepare(&state, &body, form, sender))
    };
    let prepared = reading.await.map_err(|_| ApiError::failed())??;
    let incoming = Incoming {
        answer: prepared.answer,
        events,
        per_prompt: prepared.job.generation.choices,
        choices: prepared.job.choices(),
        record,
        transcript: Transcript::begin(&state, prepared.job.choices()),
    };
    let delivery = prepared.job.generation.delivery;
    state.queue.push(prepared.job).map_err(|refused| match refused {
        Refused::Full => ApiError::queue_full(),
        Refused::Closed => ApiError::stopping(),
    })?;
    match delivery {
        Delivery::Stream { .. } => Ok(incoming.stream(state.options.times.ping)),
        Delivery::Whole => Ok(json_response(StatusCode::OK, &incoming.whole().await?)),
    }
}
