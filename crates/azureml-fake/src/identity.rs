//! Where tokens come from: Entra ID, and the token services of jobs and virtual machines.

use crate::exchange::{Exchange, Reply};
use crate::tokens;
use serde_json::json;

/// What a job has to show for a token.
pub const MSI_SECRET: &str = "fake-msi-secret";
/// The application that may sign in.
pub const CLIENT_ID: &str = "22222222-2222-2222-2222-222222222222";
pub const CLIENT_SECRET: &str = "fake-client-secret";

/// Which identities there are besides the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MachineIdentity {
    /// Token services answer that there is none.
    #[default]
    Missing,
    Present,
}

/// `POST /{tenant}/oauth2/v2.0/token`
pub fn sign_in(request: &Exchange) -> Reply {
    let form = request.form();
    let field = |name: &str| form.get(name).map_or("", String::as_str);
    let refused = |code: &str, description: &str| {
        let body = json!({"error": code, "error_description": description, "error_codes": [], "trace_id": "t",
            "correlation_id": "c", "timestamp": "2026-11-24 00:00:00Z"});
        Reply::json(401, &body)
    };
    if field("grant_type") != "client_credentials" || field("client_id") != CLIENT_ID {
        return refused("unauthorized_client", "AADSTS700016: Application was not found in the directory.");
    }
    if field("client_secret") != CLIENT_SECRET && field("client_assertion").is_empty() {
        return refused("invalid_client", "AADSTS7000215: Invalid client secret provided.");
    }
    let token = tokens::issue(field("scope").trim_end_matches("/.default"));
    let body = json!({"token_type": "Bearer", "expires_in": tokens::LIFETIME - 1, "access_token": token});
    Reply::json(200, &body)
}

/// `GET /msi`, as inside of a job.
pub fn job_identity(request: &Exchange, machine: MachineIdentity) -> Reply {
    if request.header("secret") != MSI_SECRET {
        return Reply::status(401);
    }
    of_machine(request, machine)
}

/// `GET /metadata/identity/oauth2/token`, as on a virtual machine.
pub fn metadata(request: &Exchange, machine: MachineIdentity) -> Reply {
    if request.header("metadata") != "true" {
        return Reply::status(400);
    }
    of_machine(request, machine)
}

fn of_machine(request: &Exchange, machine: MachineIdentity) -> Reply {
    if machine == MachineIdentity::Missing {
        let body = json!({"error": "invalid_request", "error_description": "Identity not found"});
        return Reply::json(400, &body);
    }
    let resource = request.query("resource");
    let expires = chrono::Utc::now() + chrono::Duration::seconds(tokens::LIFETIME);
    let body = json!({"access_token": tokens::issue(resource), "resource": resource,
        "expires_on": expires.format("%m/%d/%Y %H:%M:%S +00:00").to_string()});
    Reply::json(200, &body)
}

/// `GET /obo`, as inside of a job that runs as its user.
pub fn on_behalf_of(request: &Exchange) -> Reply {
    let expires = chrono::Utc::now() + chrono::Duration::seconds(tokens::LIFETIME);
    let body = json!({"token": tokens::issue(request.query("resource")), "expiresOn": expires.to_rfc3339()});
    Reply::json(200, &body)
}
