//! Which service a request is for.

use crate::blob_service::BlobService;
use crate::exchange::{Exchange, Reply};
use crate::faults::FaultKind;
use crate::place::{ACCOUNT, REGISTRY, workspace_path};
use crate::world::{RegistryAccess, World};
use crate::{history, identity, jobs, registry, tokens, workspace};
use serde_json::{Value, json};
use std::sync::Arc;

/// The name of the cloud that these services are.
pub const CLOUD: &str = "FakeCloud";

/// Whom tokens for the control plane are for: in the public cloud, and in that one.
const AUDIENCES: [&str; 2] = ["https://management.azure.com", "https://management.fake.example"];

/// Answers a request, unless it is to go wrong.
pub fn answer(world: &Arc<World>, request: &Exchange) -> Reply {
    world.requests().push(request.clone());
    let reply = match world.faults.next(request) {
        None => served(world, request),
        Some(FaultKind::SignaturesExpire) => {
            world.signatures.expire_all();
            served(world, request)
        }
        Some(fault) => fault.instead().unwrap_or_else(|| served(world, request).cut()),
    };
    if let Some(traffic) = &world.options.traffic {
        traffic.keep(request, &reply);
    }
    reply
}

fn served(world: &Arc<World>, request: &Exchange) -> Reply {
    if let Some(rest) = request.path.strip_prefix(&format!("/blob/{ACCOUNT}/")) {
        let (container, blob) = rest.split_once('/').unwrap_or((rest, ""));
        let service = BlobService {
            store: &world.blobs,
            signatures: &world.signatures,
            policy: world.options.account,
            page_size: world.options.page_size,
            public: (world.options.registry == RegistryAccess::Everybody).then_some(REGISTRY.1),
        };
        return service.answer(request, container, blob);
    }
    let parts: Vec<&str> = request.path.split('/').filter(|part| !part.is_empty()).collect();
    match (request.method.as_str(), parts.as_slice()) {
        ("POST", [_, "oauth2", "v2.0", "token"]) => identity::sign_in(request),
        ("GET", ["msi"]) => identity::job_identity(request, world.options.machine),
        ("GET", ["obo"]) => identity::on_behalf_of(request),
        ("GET", ["metadata", "identity", "oauth2", "token"]) => {
            identity::metadata(request, world.options.machine)
        }
        ("GET", ["secrets", name]) => world.vault.secret(request, name),
        ("GET", ["metadata", "endpoints"]) => Reply::json(200, &cloud(world)),
        ("GET", ["discovery"]) => Reply::json(
            200,
            &json!({"api": world.url, "history": world.url, "studio": "https://ml.azure.com"}),
        ),
        _ => authorized(world, request),
    }
}

/// These services as a cloud of their own, as its control plane describes it.
fn cloud(world: &World) -> Value {
    json!([{"name": CLOUD, "portal": "https://portal.azure.fake.example/", "resourceManager": AUDIENCES[1],
        "authentication": {"loginEndpoint": world.url},
        "suffixes": {"storage": "core.fake.example", "keyVaultDns": "vault.fake.example"}}])
}

/// The control plane and the data planes, which take the same token.
fn authorized(world: &Arc<World>, request: &Exchange) -> Reply {
    let audience = request.bearer().and_then(tokens::audience);
    if !audience.is_some_and(|audience| AUDIENCES.contains(&audience.as_str())) {
        return Reply::refusal(401, "InvalidAuthenticationToken", "The access token is invalid.");
    }
    if request.query("api-version").is_empty() {
        return Reply::refusal(
            400,
            "MissingApiVersionParameter",
            "The api-version query parameter is required.",
        );
    }
    let parts: Vec<&str> = request.path.split('/').filter(|part| !part.is_empty()).collect();
    if let Some(reply) = registry::answer(world, request, &parts) {
        return reply;
    }
    let base = workspace_path();
    let at = request.path.to_lowercase().find(&base.to_lowercase());
    let Some(at) = at else {
        let message = "The Resource 'Microsoft.MachineLearningServices/workspaces' was not found.";
        return Reply::refusal(404, "ResourceNotFound", message);
    };
    let service = &request.path[..at];
    let below = &request.path[at + base.len()..];
    let rest: Vec<&str> = below.split('/').filter(|part| !part.is_empty()).collect();
    match (service, rest.as_slice()) {
        ("", ["jobs", rest @ ..]) => jobs::answer(world, request, rest),
        ("", ["mfeOperationsStatus", operation]) => {
            jobs::cancellation(world, operation.strip_prefix("jc:").unwrap_or(operation))
        }
        ("", rest) => workspace::answer(world, request, rest),
        ("/history/v1.0", ["runs", name, "details"]) => history::details(world, name),
        ("/history/v1.0", ["rundata"]) => history::run_data(world, request),
        ("/data/v1.0", ["dataversion", "batchGetResolvedUris"]) => history::resolved(world, request),
        _ => {
            Reply::refusal(404, "NotFound", &format!("The fake has no {} {}.", request.method, request.path))
        }
    }
}
