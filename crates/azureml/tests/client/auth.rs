//! Which source gives the token, what it is asked, and what is said where none does.

use crate::support::{
    Received, Reply, START_SECONDS, Service, SkippingClock, environment, json, options, status,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use olive_azureml::Error;
use olive_azureml::auth::CredentialOptions;
use olive_azureml::cloud::{PlainHttp, Scope};
use olive_azureml::http::{Client, ClientOptions};
use ring::signature::{RSA_PSS_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::json;
use std::collections::BTreeMap;

const TOKEN: &str = "tok-91d0ffee";

fn granted() -> Reply {
    json(json!({"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": TOKEN}))
}

/// A service that signs everybody in.
async fn authority() -> Service {
    Service::start(|_, _| granted()).await
}

fn form(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

const ARM_SCOPE: &str = "https://management.azure.com/.default";

#[tokio::test]
async fn an_application_signs_in_with_its_secret() {
    let service = authority().await;
    let variables = environment(&[
        ("AZURE_AUTHORITY_HOST", &service.url),
        ("AZURE_TENANT_ID", "tenant-1"),
        ("AZURE_CLIENT_ID", "client-1"),
        ("AZURE_CLIENT_SECRET", "s3cret&value"),
    ]);
    let client = Client::new(&variables, options(&SkippingClock::new())).unwrap();
    assert_eq!(client.credential(), None, "nothing was asked yet");
    assert_eq!(client.token(Scope::Arm).await.unwrap().expose(), TOKEN);
    assert_eq!(client.credential(), Some("EnvironmentCredential"));
    let request = service.received().remove(0);
    assert!(request.is("POST", "/tenant-1/oauth2/v2.0/token"), "{request:?}");
    let expected = [
        ("grant_type", "client_credentials"),
        ("client_id", "client-1"),
        ("client_secret", "s3cret&value"),
        ("scope", ARM_SCOPE),
    ];
    assert_eq!(request.form(), form(&expected));
    client.token(Scope::MachineLearning).await.unwrap();
    client.token(Scope::Storage).await.unwrap();
    let scopes: Vec<String> =
        service.received().iter().map(|request| request.form()["scope"].clone()).collect();
    assert_eq!(
        scopes,
        [ARM_SCOPE, "https://ml.azure.com/.default", "https://storage.azure.com/.default"],
        "a token for each audience"
    );
}

/// Made with `openssl req -x509 -newkey rsa:2048 -nodes`.
const CERTIFICATE: &[u8] = include_bytes!("certificate.pem");

/// `openssl x509 -outform DER | openssl dgst -sha256 -binary`, in base64 for addresses.
const THUMBPRINT: &str = "Yy3ybDvb_HT66z-X9KUHsTqEDQb50T0wpArnlp8jOq0";

#[tokio::test]
async fn an_application_signs_in_with_its_certificate() {
    let service = authority().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.pem");
    std::fs::write(&path, CERTIFICATE).unwrap();
    let mut variables = vec![
        ("AZURE_AUTHORITY_HOST", service.url.as_str()),
        ("AZURE_TENANT_ID", "tenant-1"),
        ("AZURE_CLIENT_ID", "client-1"),
        ("AZURE_CLIENT_CERTIFICATE_PATH", path.to_str().unwrap()),
    ];
    let client = Client::new(&environment(&variables), options(&SkippingClock::new())).unwrap();
    assert_eq!(client.token(Scope::Arm).await.unwrap().expose(), TOKEN);
    let form = service.received().remove(0).form();
    assert!(
        form["client_assertion_type"].ends_with(":jwt-bearer") && !form.contains_key("client_secret"),
        "{form:?}"
    );
    let (signed, signature) = form["client_assertion"].rsplit_once('.').unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    let read = |part: &str| {
        serde_json::from_slice::<serde_json::Value>(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    };
    assert_eq!(read(header), json!({"alg": "PS256", "typ": "JWT", "x5t#S256": THUMBPRINT}));
    let claims = read(claims);
    assert_eq!(claims["aud"], format!("{}/tenant-1/oauth2/v2.0/token", service.url));
    assert_eq!((&claims["iss"], &claims["sub"]), (&json!("client-1"), &json!("client-1")));
    assert_eq!((&claims["nbf"], &claims["exp"]), (&json!(START_SECONDS), &json!(START_SECONDS + 600)));
    let key = PrivatePkcs8KeyDer::from_pem_slice(CERTIFICATE).unwrap();
    let key = RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).unwrap();
    UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, key.public().as_ref())
        .verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap())
        .unwrap();

    // A file without a key, and forms that are not read.
    std::fs::write(&path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    let told = async |variables: &[(&str, &str)]| {
        let client = Client::new(&environment(variables), options(&SkippingClock::new())).unwrap();
        client.token(Scope::Arm).await.unwrap_err().to_string()
    };
    let error = told(&variables).await;
    assert!(error.contains("app.pem`: expected a PEM file with a certificate and its RSA key"), "{error}");
    variables.push(("AZURE_CLIENT_CERTIFICATE_PASSWORD", "p4ss"));
    for content in [
        &[0x30, 0x82, 0x0a, 0x11, 2, 1, 3, 0x30][..],
        &[0x30, 0x80, 2, 1, 3, 0x30],
        &[0x30, 0x10, 2, 1, 3, 0x30],
        b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    ] {
        std::fs::write(&path, content).unwrap();
        let error = told(&variables).await;
        let command = if content[0] == 0x30 { "`openssl pkcs12 -in '" } else { "openssl pkey -in '" };
        assert!(error.contains(command) && error.contains("app.unlocked.pem'"), "{error}");
        assert!(!error.contains("p4ss"));
    }
    // The password of a file that has none is not missed.
    std::fs::write(&path, CERTIFICATE).unwrap();
    Client::new(&environment(&variables), options(&SkippingClock::new()))
        .unwrap()
        .token(Scope::Arm)
        .await
        .unwrap();
    assert_eq!(service.count(), 2);
}

#[tokio::test]
async fn a_workload_exchanges_its_token_file_which_is_read_again_after_ten_minutes() {
    let service = Service::start(|_, _| json(json!({"expires_in": "301", "access_token": TOKEN}))).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "assertion-1\n").unwrap();
    let variables = environment(&[
        ("AZURE_AUTHORITY_HOST", &service.url),
        ("AZURE_TENANT_ID", "tenant-1"),
        ("AZURE_CLIENT_ID", "client-1"),
        ("AZURE_FEDERATED_TOKEN_FILE", file.to_str().unwrap()),
    ]);
    let clock = SkippingClock::new();
    let client = Client::new(&variables, options(&clock)).unwrap();
    client.token(Scope::Arm).await.unwrap();
    assert_eq!(client.credential(), Some("WorkloadIdentityCredential"));
    std::fs::write(&file, "assertion-2\n").unwrap();
    // The token ends after 301 s, so that each of these asks for a new one.
    for seconds in [302, 302] {
        clock.advance(seconds);
        client.token(Scope::Arm).await.unwrap();
    }
    let forms: Vec<_> = service.received().iter().map(Received::form).collect();
    let expected = [
        ("grant_type", "client_credentials"),
        ("client_id", "client-1"),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", "assertion-1"),
        ("scope", ARM_SCOPE),
    ];
    assert_eq!(forms[0], form(&expected));
    let assertions: Vec<&str> = forms.iter().map(|form| form["client_assertion"].as_str()).collect();
    assert_eq!(assertions, ["assertion-1", "assertion-1", "assertion-2"]);
}

#[tokio::test]
async fn a_file_that_is_missing_is_no_reason_to_ask_others() {
    let service = authority().await;
    let variables = environment(&[
        ("AZURE_TENANT_ID", "tenant-1"),
        ("AZURE_CLIENT_ID", "client-1"),
        ("AZURE_FEDERATED_TOKEN_FILE", "/nowhere/token"),
        ("MSI_ENDPOINT", &service.url),
        ("MSI_SECRET", "m"),
    ]);
    let error =
        Client::new(&variables, options(&SkippingClock::new())).unwrap().token(Scope::Arm).await.unwrap_err();
    assert_eq!(error.to_string(), "failed to read the federated token `/nowhere/token`");
    assert_eq!(service.count(), 0);
}

#[tokio::test]
async fn a_refused_secret_is_told_with_what_to_do_and_ends_the_chain() {
    let service = Service::start(|_, _| {
        status(401).body(
            json!({"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret provided.",
                "error_codes": [7000215], "trace_id": "t", "correlation_id": "c"})
            .to_string(),
        )
    })
    .await;
    let variables = environment(&[
        ("AZURE_AUTHORITY_HOST", &service.url),
        ("AZURE_TENANT_ID", "tenant-1"),
        ("AZURE_CLIENT_ID", "client-1"),
        ("AZURE_CLIENT_SECRET", "s3cret-value"),
        ("IDENTITY_ENDPOINT", &service.url),
        ("IDENTITY_HEADER", "h"),
    ]);
    let client = Client::new(&variables, options(&SkippingClock::new())).unwrap();
    let error = client.token(Scope::Arm).await.unwrap_err();
    assert!(error.to_string().contains("401 invalid_client: AADSTS7000215"), "{error}");
    assert!(error.hint().unwrap().contains("AZURE_CLIENT_SECRET"), "{:?}", error.hint());
    assert_eq!((service.count(), client.credential()), (1, None), "the user meant this one");
    assert!(!format!("{error:?} {client:?} {variables:?}").contains("s3cret-value"));
}

#[tokio::test]
async fn secrets_go_to_no_authority_that_is_not_encrypted() {
    let service = authority().await;
    let variables = environment(&[
        ("AZURE_AUTHORITY_HOST", &service.url),
        ("AZURE_TENANT_ID", "tenant-1"),
        ("AZURE_CLIENT_ID", "client-1"),
        ("AZURE_CLIENT_SECRET", "s3cret-value"),
    ]);
    let options = ClientOptions { plain_http: PlainHttp::Refused, ..options(&SkippingClock::new()) };
    let error = Client::new(&variables, options).unwrap().token(Scope::Arm).await.unwrap_err();
    assert!(matches!(error, Error::UntrustedHost { .. }), "{error}");
    assert_eq!(service.count(), 0);
}

#[tokio::test]
async fn where_no_source_is_set_up_all_say_why() {
    let variables = environment(&[("IDENTITY_ENDPOINT", "no address"), ("IDENTITY_HEADER", "h")]);
    let client = Client::new(&variables, options(&SkippingClock::new())).unwrap();
    let error = client.token(Scope::KeyVault).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "no token for https://vault.azure.net: EnvironmentCredential: AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_CLIENT_SECRET \
         not set; WorkloadIdentityCredential: AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_FEDERATED_TOKEN_FILE not set; \
         ManagedIdentityCredential: IDENTITY_ENDPOINT is no address: `no address`; AzureCliCredential: `az` is not on the \
         PATH; AzureDeveloperCliCredential: `azd` is not on the PATH"
    );
    assert!(error.hint().unwrap().contains("az login"));
}

#[tokio::test]
async fn sources_are_selected_and_excluded() {
    let names = |variables: &[(&str, &str)], exclude: CredentialOptions| {
        let options = ClientOptions { credentials: exclude, ..options(&SkippingClock::new()) };
        let all = [variables, &[("IDENTITY_ENDPOINT", "no address"), ("IDENTITY_HEADER", "h")]].concat();
        let client = Client::new(&environment(&all), options).unwrap();
        async move {
            match client.token(Scope::Arm).await.unwrap_err() {
                Error::Auth { tried, .. } => tried.into_iter().map(|(name, _)| name).collect::<Vec<_>>(),
                error => panic!("{error}"),
            }
        }
    };
    let none = CredentialOptions::default;
    let selection = |value| [("AZURE_TOKEN_CREDENTIALS", value)];
    assert_eq!(
        names(&selection("prod"), none()).await,
        ["EnvironmentCredential", "WorkloadIdentityCredential", "ManagedIdentityCredential"]
    );
    assert_eq!(names(&selection("DEV"), none()).await, ["AzureCliCredential", "AzureDeveloperCliCredential"]);
    assert_eq!(names(&selection("azurecliCredential"), none()).await, ["AzureCliCredential"]);
    let excluded: CredentialOptions = serde_json::from_value(json!({
        "exclude_environment_credential": true, "exclude_managed_identity_credential": true,
        "exclude_interactive_browser_credential": false}))
    .unwrap();
    assert_eq!(
        names(&[], excluded).await,
        ["WorkloadIdentityCredential", "AzureCliCredential", "AzureDeveloperCliCredential"]
    );
    let unknown = environment(&selection("SomeCredential"));
    let error = Client::new(&unknown, options(&SkippingClock::new())).unwrap_err().to_string();
    assert!(
        error.contains("AZURE_TOKEN_CREDENTIALS is `SomeCredential`: expected prod, dev, Env"),
        "{error}"
    );
    let error =
        serde_json::from_value::<CredentialOptions>(json!({"exclude_cli": true})).unwrap_err().to_string();
    assert!(error.contains("unknown field `exclude_cli`"), "{error}");
}

#[cfg(unix)]
mod commands {
    use super::*;
    use crate::support::command;
    use std::path::Path;

    /// Only the commands are asked.
    fn client(folder: &Path, credentials: CredentialOptions) -> (Client, std::sync::Arc<SkippingClock>) {
        let clock = SkippingClock::new();
        let variables = environment(&[
            ("AZURE_TOKEN_CREDENTIALS", "dev"),
            ("PATH", &format!("relative:{}", folder.display())),
        ]);
        (Client::new(&variables, ClientOptions { credentials, ..options(&clock) }).unwrap(), clock)
    }

    /// Prints what it was called with into a file beside the command, and then a token.
    fn printing(json: &str) -> String {
        format!("echo \"$@\" >> \"$(dirname \"$0\")/called\"\necho '{json}'")
    }

    fn called(folder: &Path) -> Vec<String> {
        let text = std::fs::read_to_string(folder.join("called")).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[tokio::test]
    async fn the_azure_cli_is_called() {
        let end = START_SECONDS + 3600;
        let folder = command(
            "az",
            &printing(&format!(
                r#"{{"accessToken": "{TOKEN}", "expires_on": {end}, "expiresOn": "1999-01-01 00:00:00.000000", "tenant": "t"}}"#
            )),
        );
        let (client, clock) = client(folder.path(), CredentialOptions::default());
        assert_eq!(client.token(Scope::Arm).await.unwrap().expose(), TOKEN);
        assert_eq!(client.credential(), Some("AzureCliCredential"));
        client.token(Scope::Arm).await.unwrap();
        let arguments = "account get-access-token --output json --resource https://management.azure.com";
        assert_eq!(called(folder.path()), [arguments], "`expires_on` holds");
        clock.advance(3400);
        client.token(Scope::Arm).await.unwrap();
        assert_eq!(called(folder.path()).len(), 2, "200 s left");
    }

    #[tokio::test]
    async fn an_older_azure_cli_tells_the_local_time() {
        let folder = command(
            "az",
            &printing(&format!(r#"{{"accessToken": "{TOKEN}", "expiresOn": "2099-01-01 00:00:00.000000"}}"#)),
        );
        let (client, _) = client(folder.path(), CredentialOptions::default());
        client.token(Scope::Arm).await.unwrap();
        client.token(Scope::Arm).await.unwrap();
        assert_eq!(called(folder.path()).len(), 1);
    }

    #[tokio::test]
    async fn the_developer_cli_is_next_when_the_azure_cli_fails() {
        let folder = command("az", "echo 'ERROR: Please run az login. Bearer abc123def' >&2; exit 1");
        let azd = command(
            "azd",
            &printing(&format!(r#"{{"token": "{TOKEN}", "expiresOn": "2099-01-01T00:00:00Z"}}"#)),
        );
        std::fs::copy(azd.path().join("azd"), folder.path().join("azd")).unwrap();
        let (client, _) = client(folder.path(), CredentialOptions::default());
        assert_eq!(client.token(Scope::Storage).await.unwrap().expose(), TOKEN);
        assert_eq!(client.credential(), Some("AzureDeveloperCliCredential"));
        assert_eq!(
            called(folder.path()),
            ["auth token --output json --no-prompt --scope https://storage.azure.com/.default"]
        );
    }

    #[tokio::test]
    async fn what_a_command_does_wrong_is_told_without_what_it_printed() {
        let quick: CredentialOptions = serde_json::from_value(json!({"process_timeout": 0.2})).unwrap();
        let cases = [
            (
                "echo 'ERROR: Please run az login. Bearer abc123def' >&2; exit 1",
                "`az` failed: ERROR: Please run az login. Bearer ***",
            ),
            ("echo '{\"accessToken\": \"abc123def\"'", "`az` printed no JSON with a token"),
            ("echo '{\"accessToken\": \"abc123def\"}'", "`az` does not say when the token ends"),
            ("exec sleep 60", "`az` did not answer within 0.2 s"),
        ];
        for (script, expected) in cases {
            let folder = command("az", script);
            let options =
                if script.starts_with("exec") { quick.clone() } else { CredentialOptions::default() };
            let (client, _) = client(folder.path(), options);
            let error = client.token(Scope::Arm).await.unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
            assert!(!format!("{error} {error:?}").contains("abc123def"), "{error:?}");
        }
    }
}
