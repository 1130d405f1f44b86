//! Refusals of Azure's services, which are written in five ways (ARM, run history, blobs, Key Vault, sign-in).

use crate::safe_url::SafeUrl;
use crate::secret::redacted;
use reqwest::header::HeaderMap;
use serde::Deserialize;
use serde_json::Value;

/// What a service said when it refused.
#[derive(Debug, Clone)]
pub struct ServiceError {
    pub status: u16,
    /// The outermost code, `BadRequest`.
    pub code: String,
    /// The codes of the inner errors, from the outside in. The last is the most exact.
    pub inner_codes: Vec<String>,
    pub message: String,
    /// `x-ms-request-id`
    pub request_id: Option<String>,
    /// `x-ms-correlation-request-id`
    pub correlation_id: Option<String>,
    pub method: String,
    pub url: SafeUrl,
}

/// Texts of services that are longer say no more.
const LONGEST_MESSAGE: usize = 4000;

/// Deeper nesting of inner errors is not followed.
const DEEPEST: usize = 8;

impl ServiceError {
    /// Reads a refusal. `body` is the beginning of the answer's text.
    pub fn read(method: &str, url: SafeUrl, status: u16, headers: &HeaderMap, body: &str) -> ServiceError {
        let header = |name: &str| headers.get(name)?.to_str().ok().map(str::to_owned);
        let Told { code, inner_codes, message } = told(body);
        let code = code.or_else(|| header("x-ms-error-code")).unwrap_or_else(|| format!("HTTP {status}"));
        let message = message.unwrap_or_else(|| body.trim().to_owned());
        ServiceError {
            status,
            code,
            inner_codes,
            message: shortened(&redacted(&message)),
            request_id: header("x-ms-request-id"),
            correlation_id: header("x-ms-correlation-request-id"),
            method: method.to_owned(),
            url,
        }
    }

    /// Whether this is the code of the error, or of one inside it.
    pub fn has_code(&self, code: &str) -> bool {
        self.codes().any(|own| own == code)
    }

    /// From the most exact to the most general.
    fn codes(&self) -> impl Iterator<Item = &str> {
        self.inner_codes.iter().rev().chain(std::iter::once(&self.code)).map(String::as_str)
    }

    /// One sentence that says what to do: that of the deepest inner error that is known here.
    pub fn hint(&self) -> Option<String> {
        let of_code = self.codes().find_map(hint_for_code).or_else(|| hint_for_sign_in(&self.message));
        of_code.or_else(|| hint_for_status(self.status)).map(str::to_owned)
    }
}

impl std::fmt::Display for ServiceError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {} {}", self.method, self.url, self.status, self.code)?;
        for code in &self.inner_codes {
            write!(f, "/{code}")?;
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        let ids = [("request", &self.request_id), ("correlation", &self.correlation_id)];
        let ids: Vec<String> =
            ids.iter().filter_map(|(name, id)| Some(format!("{name} {}", id.as_ref()?))).collect();
        if !ids.is_empty() {
            write!(f, " ({})", ids.join(", "))?;
        }
        Ok(())
    }
}

impl std::error::Error for ServiceError {}

fn shortened(message: &str) -> String {
    match message.char_indices().nth(LONGEST_MESSAGE) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message.to_owned(),
    }
}

#[derive(Default)]
struct Told {
    code: Option<String>,
    inner_codes: Vec<String>,
    message: Option<String>,
}

fn told(body: &str) -> Told {
    let body = body.trim_start_matches('\u{feff}').trim();
    if body.starts_with('<') {
        return told_in_xml(body);
    }
    match serde_json::from_str::<Value>(body) {
        Ok(Value::Object(object)) => match object.get("error") {
            Some(Value::Object(_)) => told_by_arm(&object["error"]),
            // Sign-in and managed identities: `error` is the code itself.
            Some(Value::String(code)) => Told {
                code: Some(code.clone()),
                message: text(object.get("error_description")),
                inner_codes: Vec::new(),
            },
            _ => told_by_arm(&Value::Object(object)),
        },
        _ => Told::default(),
    }
}

/// ARM, run history and Key Vault: an object of code, message, details, and errors inside it.
fn told_by_arm(error: &Value) -> Told {
    let mut inner_codes = Vec::new();
    let mut inside = inner(error);
    while let Some(error) = inside.filter(|_| inner_codes.len() < DEEPEST) {
        inner_codes.extend(text(error.get("code")));
        inside = inner(error);
    }
    let mut message = text(error.get("message")).or_else(|| text(error.get("Message")));
    for detail in error.get("details").and_then(Value::as_array).into_iter().flatten() {
        inner_codes.extend(text(detail.get("code")));
        let Some(more) = text(detail.get("message")) else { continue };
        match &mut message {
            Some(message) if !message.contains(&more) => *message = format!("{message} {more}"),
            Some(_) => {}
            none => *none = Some(more),
        }
    }
    Told { code: text(error.get("code")), inner_codes, message }
}

/// The inner error: services write its name in three ways.
fn inner(error: &Value) -> Option<&Value> {
    ["innerError", "innererror", "inner_error"]
        .iter()
        .find_map(|name| error.get(name))
        .filter(|inner| inner.is_object())
}

fn text(value: Option<&Value>) -> Option<String> {
    value?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// Blobs: `<Error><Code/><Message/></Error>`.
fn told_in_xml(body: &str) -> Told {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct BlobError {
        code: Option<String>,
        message: Option<String>,
    }
    match quick_xml::de::from_str::<BlobError>(body) {
        // The lines after the first repeat the request's id and the time.
        Ok(BlobError { code, message }) => Told {
            code,
            message: message.and_then(|message| message.lines().next().map(str::to_owned)),
            inner_codes: Vec::new(),
        },
        Err(_) => Told::default(),
    }
}

fn hint_for_code(code: &str) -> Option<&'static str> {
    Some(match code {
        "AuthorizationFailed" | "LinkedAuthorizationFailed" => {
            "the account needs the role \"AzureML Data Scientist\" on the workspace; a new role takes minutes to work"
        }
        "AuthorizationPermissionMismatch" => {
            "the account needs the role \"Storage Blob Data Contributor\" on the storage account; a new role takes minutes to work"
        }
        "KeyBasedAuthenticationNotPermitted" => {
            "the storage account takes no keys: give the account the role \"Storage Blob Data Contributor\", and the datastore no credentials"
        }
        "AuthenticationFailed" | "InvalidAuthenticationToken" | "ExpiredAuthenticationToken" => {
            "sign in again; check the machine's clock"
        }
        "InvalidAuthenticationTokenTenant" => {
            "sign in to the tenant of the subscription: `az login --tenant …`"
        }
        "SubscriptionNotFound" | "InvalidSubscriptionId" => {
            "check `subscription_id`, and that the account sees it: `az account list`"
        }
        "ResourceNotFound" | "WorkspaceNotFound" => "check the name, the resource group and the subscription",
        "ResourceGroupNotFound" => "check `resource_group`: `az group list`",
        "NoRegisteredProviderFound" | "InvalidApiVersionParameter" | "UnsupportedApiVersion" => {
            "choose a version that this cloud has with OLIVE_AZUREML_API_VERSION"
        }
        "ForbiddenByRbac" => "the account needs the role \"Key Vault Secrets User\" on the vault",
        "ForbiddenByPolicy" | "AccessDenied" => {
            "the account needs an access policy of the vault with the permission Get on secrets"
        }
        "ForbiddenByFirewall" | "ForbiddenByConnection" => {
            "the vault's firewall does not let this network in"
        }
        "SecretNotFound" => {
            "store the secret: `az keyvault secret set --vault-name … --name hf-token --value …`"
        }
        "SecretDisabled" => "enable the secret in the vault, or store a new version of it",
        "invalid_client" | "unauthorized_client" => {
            "check AZURE_CLIENT_ID and AZURE_CLIENT_SECRET, and that the secret has not expired"
        }
        "invalid_grant" | "interaction_required" => "sign in again with `az login`",
        "QuotaExceeded" | "ClusterMinNodesExceedCoreQuota" | "ClusterCoreQuotaReached" => {
            "ask for more quota of this kind of machine, or take another compute"
        }
        "RequestThrottled" | "TooManyRequests" => "the service has too much to do; run again later",
        _ => return None,
    })
}

/// Codes of sign-in (AADSTS…) are in the message.
fn hint_for_sign_in(message: &str) -> Option<&'static str> {
    const KNOWN: [(&str, &str); 7] = [
        (
            "AADSTS7000215",
            "AZURE_CLIENT_SECRET is not a secret of this application: take its value, not its id",
        ),
        ("AADSTS7000222", "the client secret has expired: make a new one"),
        ("AADSTS700016", "check AZURE_CLIENT_ID and AZURE_TENANT_ID: the tenant has no such application"),
        ("AADSTS90002", "check AZURE_TENANT_ID: there is no such tenant"),
        ("AADSTS50076", "sign in with `az login`, which asks for the second factor"),
        ("AADSTS50079", "sign in with `az login`, which asks for the second factor"),
        (
            "AADSTS70021",
            "the federated credential does not match the issuer, subject or audience of the token file",
        ),
    ];
    // A longer code must not be taken for the shorter one that it begins with.
    let has =
        |code: &str| message.split(|letter: char| !letter.is_ascii_alphanumeric()).any(|word| word == code);
    KNOWN.iter().find(|(code, _)| has(code)).map(|(_, hint)| *hint)
}

fn hint_for_status(status: u16) -> Option<&'static str> {
    Some(match status {
        401 => "sign in again, to the tenant of the subscription",
        403 => "the account lacks a role for this; ask the owner of the workspace",
        408 | 429 | 500..=599 => "the service was not able to answer; run again later",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    fn read(status: u16, body: &str) -> ServiceError {
        let url = SafeUrl::parse("https://host/path?sig=abcdef&x=1");
        ServiceError::read("GET", url, status, &HeaderMap::new(), body)
    }

    #[test]
    fn arm_tells_code_message_details_and_ids() {
        let mut headers = HeaderMap::new();
        headers.insert("x-ms-request-id", HeaderValue::from_static("r-1"));
        headers.insert("x-ms-correlation-request-id", HeaderValue::from_static("c-1"));
        let body = r#"{"error": {"code": "ValidationError", "message": "The request is invalid.", "target": null,
            "details": [{"code": "InvalidName", "message": "The name is too long."}, {"code": "Other", "message": "The request is invalid."}]}}"#;
        let error = ServiceError::read("PUT", SafeUrl::parse("https://host/path?sig=q"), 400, &headers, body);
        assert_eq!(
            error.to_string(),
            "PUT https://host/path: 400 ValidationError/InvalidName/Other: The request is invalid. The name is too long. \
             (request r-1, correlation c-1)"
        );
    }

    #[test]
    fn the_deepest_inner_error_that_is_known_gives_the_hint() {
        let body = r#"{"error": {"code": "UserError", "message": "no", "innerError": {"code": "Auth",
            "innerError": {"code": "AuthorizationFailed", "innerError": {"code": "SomethingNew"}}}}, "correlation": {}}"#;
        let error = read(400, body);
        assert_eq!(error.inner_codes, ["Auth", "AuthorizationFailed", "SomethingNew"]);
        assert!(error.has_code("UserError") && error.has_code("Auth"));
        assert!(error.hint().unwrap().contains("AzureML Data Scientist"), "{:?}", error.hint());
    }

    #[test]
    fn blobs_and_vaults_and_sign_in_have_forms_of_their_own() {
        let blob = "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>AuthorizationPermissionMismatch</Code>\
            <Message>This request is not authorized.\nRequestId:1\nTime:2</Message></Error>";
        let vault = r#"{"error": {"code": "Forbidden", "message": "Caller may not.", "innererror": {"code": "ForbiddenByRbac"}}}"#;
        let sign_in = r#"{"error": "invalid_request", "error_description": "AADSTS7000222: The provided client secret keys are expired.", "error_codes": [7000222]}"#;
        let cases = [
            (
                blob,
                "AuthorizationPermissionMismatch",
                "This request is not authorized.",
                "Storage Blob Data Contributor",
            ),
            (vault, "Forbidden", "Caller may not.", "Key Vault Secrets User"),
            (
                sign_in,
                "invalid_request",
                "AADSTS7000222: The provided client secret keys are expired.",
                "has expired",
            ),
        ];
        for (body, code, message, hint) in cases {
            let error = read(403, body);
            assert_eq!((error.code.as_str(), error.message.as_str()), (code, message));
            assert!(error.hint().unwrap().contains(hint), "{:?}", error.hint());
        }
    }

    #[test]
    fn bodies_that_are_no_errors_are_told_as_they_are() {
        let mut headers = HeaderMap::new();
        headers.insert("x-ms-error-code", HeaderValue::from_static("KeyBasedAuthenticationNotPermitted"));
        let error = ServiceError::read("HEAD", SafeUrl::parse("https://host/c/b"), 403, &headers, "");
        assert_eq!(error.to_string(), "HEAD https://host/c/b: 403 KeyBasedAuthenticationNotPermitted");
        assert_eq!(
            read(502, "<html>Bad Gateway").to_string(),
            "GET https://host/path: 502 HTTP 502: <html>Bad Gateway"
        );
        assert_eq!(read(418, "[1]").hint(), None);
        assert_eq!(read(400, &"é".repeat(5000)).message.chars().count(), LONGEST_MESSAGE + 1);
    }

    #[test]
    fn what_looks_like_a_secret_is_not_kept() {
        let error = read(403, r#"{"error": {"code": "X", "message": "bad sig=abcdef for Bearer tok-1"}}"#);
        assert!(!format!("{error} {error:?}").contains("abcdef"), "{error:?}");
        assert!(!format!("{error:?}").contains("tok-1"), "{error:?}");
    }
}
