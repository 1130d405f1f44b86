//! The token services of machines: of a job of Azure ML, of App Service, of Arc servers, of virtual machines.

use crate::support::{
    Received, Reply, START_SECONDS, Service, SkippingClock, broken, environment, json, options, status,
};
use olive_azureml::auth::CredentialOptions;
use olive_azureml::cloud::Scope;
use olive_azureml::http::{Client, ClientOptions};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

const TOKEN: &str = "tok-91d0ffee";

fn token(expires_on: Value) -> Value {
    json!({"access_token": TOKEN, "expires_on": expires_on, "resource": "r", "token_type": "Bearer"})
}

fn far() -> Value {
    json!((START_SECONDS + 3600).to_string())
}

fn query(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

const VAULT: (&str, &str) = ("resource", "https://vault.azure.net");

#[tokio::test]
async fn a_job_of_azure_ml_has_an_identity() {
    // All forms in which the service was seen to write the end, an hour from now.
    for end in [json!(START_SECONDS + 3600), far(), json!("11/24/2026 11:20:30 +00:00")] {
        let service = Service::start(move |_, _| json(token(end.clone()))).await;
        let variables = environment(&[
            ("MSI_ENDPOINT", &format!("{}/MSI/auth", service.url)),
            ("MSI_SECRET", "m-secret"),
            ("DEFAULT_IDENTITY_CLIENT_ID", "id-1"),
            // A job has these as well; they are not meant.
            ("IDENTITY_ENDPOINT", "http://127.0.0.1:1/"),
            ("IDENTITY_HEADER", "h"),
        ]);
        let clock = SkippingClock::new();
        let client = Client::new(&variables, options(&clock)).unwrap();
        assert_eq!(client.token(Scope::KeyVault).await.unwrap().expose(), TOKEN);
        assert_eq!(client.credential(), Some("ManagedIdentityCredential"));
        let request = service.received().remove(0);
        assert!(request.is("GET", "/MSI/auth"));
        assert_eq!(request.query, query(&[VAULT, ("api-version", "2017-09-01"), ("clientid", "id-1")]));
        assert_eq!((request.header("secret"), request.header("authorization")), ("m-secret", ""));
        assert!(!format!("{client:?}").contains("m-secret"), "{client:?}");
        clock.advance(3299);
        client.token(Scope::KeyVault).await.unwrap();
        assert_eq!(service.count(), 1, "301 s left");
        clock.advance(2);
        client.token(Scope::KeyVault).await.unwrap();
        assert_eq!(service.count(), 2, "299 s left");
    }
}

#[tokio::test]
async fn app_service_has_a_header_of_its_own() {
    let service = Service::start(|_, _| json(token(far()))).await;
    let variables = environment(&[
        ("IDENTITY_ENDPOINT", &format!("{}/msi/token", service.url)),
        ("IDENTITY_HEADER", "h-secret"),
        ("AZURE_CLIENT_ID", "id-2"),
    ]);
    let client = Client::new(&variables, options(&SkippingClock::new())).unwrap();
    client.token(Scope::KeyVault).await.unwrap();
    let request = service.received().remove(0);
    assert_eq!(request.query, query(&[VAULT, ("api-version", "2019-08-01"), ("client_id", "id-2")]));
    assert_eq!(request.header("x-identity-header"), "h-secret");
}

#[tokio::test]
async fn an_arc_server_that_names_other_files_than_its_keys_is_not_followed() {
    let service =
        Service::start(|_, _| status(401).header("www-authenticate", "Basic realm=/etc/passwd.key")).await;
    let variables = environment(&[("IDENTITY_ENDPOINT", &service.url), ("IMDS_ENDPOINT", "http://x")]);
    let client = Client::new(&variables, options(&SkippingClock::new())).unwrap();
    let error = client.token(Scope::Arm).await.unwrap_err().to_string();
    assert!(error.contains("the key file `/etc/passwd.key` is not in"), "{error}");
    let request = service.received().remove(0);
    assert_eq!((request.query("api-version"), request.header("metadata")), ("2020-06-01", "true"));
    assert_eq!(service.count(), 1);
}

#[tokio::test]
async fn a_virtual_machine_asks_its_metadata_service() {
    let service = Service::start(|_, _| json(token(far()))).await;
    let variables = environment(&[("AZURE_POD_IDENTITY_AUTHORITY_HOST", &service.url)]);
    let credentials: CredentialOptions =
        serde_json::from_value(json!({"managed_identity_client_id": "id-3"})).unwrap();
    let options = ClientOptions { credentials, ..options(&SkippingClock::new()) };
    let client = Client::new(&variables, options).unwrap();
    client.token(Scope::Arm).await.unwrap();
    let request = service.received().remove(0);
    assert!(request.is("GET", "/metadata/identity/oauth2/token"));
    let expected =
        [("resource", "https://management.azure.com"), ("api-version", "2018-02-01"), ("client_id", "id-3")];
    assert_eq!(request.query, query(&expected));
    assert_eq!(request.header("metadata"), "true");
}

#[tokio::test]
async fn a_metadata_service_that_is_updated_is_waited_for() {
    let asked = AtomicUsize::new(0);
    let service = Service::start(move |_, _| match asked.fetch_add(1, Ordering::Relaxed) {
        0..5 => status(410),
        _ => json(token(far())),
    })
    .await;
    let clock = SkippingClock::new();
    let variables = environment(&[("AZURE_POD_IDENTITY_AUTHORITY_HOST", &service.url)]);
    Client::new(&variables, options(&clock)).unwrap().token(Scope::Arm).await.unwrap();
    assert_eq!(service.count(), 6);
    assert!(clock.slept_in_all().as_secs() >= 70, "{:?}", clock.slept());
}

#[cfg(unix)]
#[tokio::test]
async fn a_machine_without_an_identity_is_passed_over_and_not_asked_again() {
    let folder = crate::support::command(
        "az",
        &format!(r#"echo '{{"accessToken": "{TOKEN}", "expires_on": {}}}'"#, START_SECONDS + 3600),
    );
    let service = Service::start(|_, _| {
        let body = json!({"error": "invalid_request", "error_description": "Identity not found"});
        status(400).body(body.to_string())
    })
    .await;
    let variables = environment(&[
        ("AZURE_POD_IDENTITY_AUTHORITY_HOST", &service.url),
        ("PATH", folder.path().to_str().unwrap()),
    ]);
    let client = Client::new(&variables, options(&SkippingClock::new())).unwrap();
    assert_eq!(client.token(Scope::Arm).await.unwrap().expose(), TOKEN);
    assert_eq!((client.credential(), service.count()), (Some("AzureCliCredential"), 1));
    client.token(Scope::Storage).await.unwrap();
    assert_eq!(service.count(), 1, "the choice is remembered");
}

#[tokio::test]
async fn a_machine_without_a_metadata_service_is_passed_over() {
    // Nobody listens at a port that was just given back.
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let host = format!("http://{free}");
    let variables = environment(&[("AZURE_POD_IDENTITY_AUTHORITY_HOST", &host)]);
    let error =
        Client::new(&variables, options(&SkippingClock::new())).unwrap().token(Scope::Arm).await.unwrap_err();
    assert!(error.to_string().contains("this machine has no metadata service"), "{error}");
}

#[tokio::test]
async fn a_proxy_is_no_metadata_service() {
    let answers: [fn() -> Reply; 3] = [
        || status(200).body("<html>Please sign in</html>"),
        || status(403).body("connecting to 169.254.169.254:80: host unreachable"),
        broken,
    ];
    for answer in answers {
        let service = Service::start(move |_, _| answer()).await;
        let variables = environment(&[("AZURE_POD_IDENTITY_AUTHORITY_HOST", &service.url)]);
        let client = Client::new(&variables, options(&SkippingClock::new())).unwrap();
        let error = client.token(Scope::Arm).await.unwrap_err().to_string();
        assert!(error.contains("no metadata service answers; AzureCliCredential"), "{error}");
    }
}

/// A service that has both identities of a job.
async fn job(user: Value) -> (Service, Vec<(&'static str, String)>) {
    let service = Service::start(move |request: &Received, _| match request.path.as_str() {
        "/obo" if user.is_null() => status(404),
        "/obo" => json(user.clone()),
        "/msi" => json(token(far())),
        _ => status(500),
    })
    .await;
    let variables = vec![
        ("OBO_ENDPOINT", format!("{}/obo", service.url)),
        ("MSI_ENDPOINT", format!("{}/msi", service.url)),
        ("MSI_SECRET", "m".to_owned()),
    ];
    (service, variables)
}

#[tokio::test]
async fn inside_of_a_job_the_user_is_first_and_the_compute_second() {
    let answers = [
        json!({"token": "user-token", "expiresOn": "2026-11-24T11:20:30Z"}),
        json!({"access_token": "user-token", "expires_in": 3600}),
        json!({"access_token": "user-token", "expires_on": START_SECONDS + 3600}),
    ];
    for answer in answers {
        let (service, variables) = job(answer).await;
        let clock = SkippingClock::new();
        let client = Client::in_job(&variables.into_iter().collect(), options(&clock)).unwrap();
        assert_eq!(client.token(Scope::KeyVault).await.unwrap().expose(), "user-token");
        assert_eq!(client.credential(), Some("AzureMLOnBehalfOfCredential"));
        assert_eq!(service.received()[0].query, query(&[VAULT]));
        clock.advance(3299);
        client.token(Scope::KeyVault).await.unwrap();
        assert_eq!(service.count(), 1, "all answers say: an hour");
    }
    let (_, mut variables) = job(json!(null)).await;
    variables.remove(0);
    // An application's secret would be first elsewhere.
    for name in ["AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"] {
        variables.push((name, "x".into()));
    }
    let client = Client::in_job(&variables.into_iter().collect(), options(&SkippingClock::new())).unwrap();
    assert_eq!(client.token(Scope::KeyVault).await.unwrap().expose(), TOKEN);
    assert_eq!(client.credential(), Some("ManagedIdentityCredential"));
}

#[tokio::test]
async fn an_answer_without_a_token_is_told() {
    let cases = [
        (json!({"expires_on": 1}), "the answer has no `access_token`"),
        (json!({"access_token": "tok-secret"}), "does not say when the token ends"),
        (json!(["tok-secret"]), "unexpected answer"),
    ];
    for (answer, expected) in cases {
        let (_, variables) = job(answer).await;
        let client =
            Client::in_job(&variables.into_iter().collect(), options(&SkippingClock::new())).unwrap();
        let error = client.token(Scope::KeyVault).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!format!("{error} {error:?}").contains("tok-secret"), "{error:?}");
    }
}
