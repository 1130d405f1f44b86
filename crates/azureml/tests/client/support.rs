//! A service that answers as a test wants, a clock that does not wait, and commands that print what they are told.

use crate::contract::violations;
use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::Response;
use futures_util::stream;
use olive_azureml::clock::Clock;
use olive_azureml::cloud::PlainHttp;
use olive_azureml::environment::Environment;
use olive_azureml::http::{Client, ClientOptions};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Received {
    pub method: String,
    pub path: String,
    pub query: BTreeMap<String, String>,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Received {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub fn query(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    /// The pairs of a form.
    pub fn form(&self) -> BTreeMap<String, String> {
        pairs(&self.body)
    }

    pub fn is(&self, method: &str, path: &str) -> bool {
        self.method == method && self.path == path
    }
}

fn pairs(text: &str) -> BTreeMap<String, String> {
    let url = reqwest::Url::parse(&format!("http://x/?{text}")).unwrap();
    url.query_pairs().into_owned().collect()
}

/// What the service answers.
pub struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
    ends: Ends,
}

enum Ends {
    Whole,
    /// The connection is gone after the headers.
    Broken,
}

pub fn json(body: Value) -> Reply {
    status(200).body(body.to_string())
}

pub fn status(status: u16) -> Reply {
    Reply { status, headers: Vec::new(), body: String::new(), ends: Ends::Whole }
}

pub fn broken() -> Reply {
    Reply { ends: Ends::Broken, ..status(200) }
}

impl Reply {
    pub fn body(mut self, body: impl Into<String>) -> Reply {
        self.body = body.into();
        self
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Reply {
        self.headers.push((name, value.into()));
        self
    }

    fn into_response(self) -> Response {
        let mut response = Response::builder().status(self.status);
        for (name, value) in self.headers {
            response = response.header(name, value);
        }
        let body = match self.ends {
            Ends::Whole => Body::from(self.body),
            Ends::Broken => Body::from_stream(stream::iter([Err::<Bytes, _>(std::io::Error::other(
                "the connection is gone",
            ))])),
        };
        response.body(body).unwrap()
    }
}

/// A service on this machine.
#[derive(Clone)]
pub struct Service {
    pub url: String,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Service {
    /// Answers each request as `answer` says, which is given the address of the service as well.
    pub async fn start(answer: impl Fn(&Received, &str) -> Reply + Send + Sync + 'static) -> Service {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let service = Service { url: url.clone(), received: Arc::default() };
        let all = Arc::clone(&service.received);
        let answer = Arc::new(answer);
        let handle = move |request: Request| {
            let (all, answer, url) = (Arc::clone(&all), Arc::clone(&answer), url.clone());
            async move {
                let received = received(request).await;
                if !received.body.is_empty() {
                    let violations = violations(&received.path, &received.json());
                    assert_eq!(violations, [""; 0], "{} {}", received.method, received.path);
                }
                all.lock().unwrap().push(received.clone());
                answer(&received, &url).into_response()
            }
        };
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(handle)).await });
        service
    }

    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// How many requests there were.
    pub fn count(&self) -> usize {
        self.received.lock().unwrap().len()
    }
}

async fn received(request: Request) -> Received {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let value = |value: &axum::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    Received {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: pairs(head.uri.query().unwrap_or_default()),
        headers: head.headers.iter().map(|(name, text)| (name.to_string(), value(text))).collect(),
        body: String::from_utf8_lossy(&body).into_owned(),
    }
}

/// Time that passes when somebody sleeps, at once.
#[derive(Debug)]
pub struct SkippingClock {
    now: Mutex<SystemTime>,
    slept: Mutex<Vec<Duration>>,
}

impl SkippingClock {
    pub fn new() -> Arc<SkippingClock> {
        Arc::new(SkippingClock {
            now: Mutex::new(SystemTime::UNIX_EPOCH + Duration::from_secs(START_SECONDS)),
            slept: Mutex::default(),
        })
    }

    pub fn advance(&self, seconds: u64) {
        *self.now.lock().unwrap() += Duration::from_secs(seconds);
    }

    pub fn slept(&self) -> Vec<Duration> {
        self.slept.lock().unwrap().clone()
    }

    pub fn slept_in_all(&self) -> Duration {
        self.slept().iter().sum()
    }
}

/// Tue, 24 Nov 2026 10:20:30 GMT
pub const START_SECONDS: u64 = 1_795_515_630;

#[async_trait]
impl Clock for SkippingClock {
    fn now(&self) -> SystemTime {
        *self.now.lock().unwrap()
    }

    async fn sleep(&self, duration: Duration) {
        self.slept.lock().unwrap().push(duration);
        *self.now.lock().unwrap() += duration;
        tokio::task::yield_now().await;
    }
}

/// Options for tests: this machine may be talked to without encryption, and nobody waits.
pub fn options(clock: &Arc<SkippingClock>) -> ClientOptions {
    ClientOptions {
        plain_http: PlainHttp::Loopback,
        clock: Arc::clone(clock) as Arc<dyn Clock>,
        ..ClientOptions::default()
    }
}

pub fn environment(variables: &[(&str, &str)]) -> Environment {
    variables.iter().copied().collect()
}

/// A client of the service that signs in with a secret. The service has to answer [`signs_in`].
pub fn client(service: &Service, clock: &Arc<SkippingClock>) -> Client {
    client_with(service, clock, &[])
}

/// The same with further variables.
pub fn client_with(service: &Service, clock: &Arc<SkippingClock>, more: &[(&str, &str)]) -> Client {
    let own: [(&str, &str); 6] = [
        ("AZUREML_DEV_URL_MFE", &service.url),
        ("AZURE_AUTHORITY_HOST", &service.url),
        ("OLIVE_AZUREML_KEY_VAULT_URL", &service.url),
        ("AZURE_TENANT_ID", "tenant-1"),
        ("AZURE_CLIENT_ID", "client-1"),
        ("AZURE_CLIENT_SECRET", "s3cret-value"),
    ];
    let variables = environment(&[&own, more].concat());
    Client::new(&variables, options(clock)).unwrap()
}

/// The token that [`signs_in`] gives.
pub const TOKEN: &str = "tok-3f9c2b7a";

/// The answer to a request for a token, if it is one.
pub fn signs_in(request: &Received) -> Option<Reply> {
    request
        .is("POST", "/tenant-1/oauth2/v2.0/token")
        .then(|| json(serde_json::json!({"token_type": "Bearer", "expires_in": 3599, "access_token": TOKEN})))
}

/// A folder with a command of this name that does what the script says.
#[cfg(unix)]
pub fn command(name: &str, script: &str) -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    folder
}
