//! Calls: headers, retries, operations, pages, cancelling, and where tokens do not go.

use crate::support::{
    Received, Service, SkippingClock, TOKEN, broken, client, environment, json, options, signs_in, status,
};
use async_trait::async_trait;
use olive_azureml::Error;
use olive_azureml::clock::{Clock, SystemClock};
use olive_azureml::cloud::PlainHttp;
use olive_azureml::http::{Call, Client, ClientOptions};
use olive_azureml::repetition::Repetition;
use olive_azureml::secret::Secret;
use reqwest::Url;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};
use tokio_util::sync::CancellationToken;

/// A service that signs in, and answers other requests by their number, from 0 on.
async fn numbered(
    answer: impl Fn(usize, &Received, &str) -> crate::support::Reply + Send + Sync + 'static,
) -> Service {
    let number = AtomicUsize::new(0);
    Service::start(move |request, url| {
        signs_in(request).unwrap_or_else(|| answer(number.fetch_add(1, Ordering::SeqCst), request, url))
    })
    .await
}

/// The requests besides those for tokens.
fn calls(service: &Service) -> Vec<Received> {
    service.received().into_iter().filter(|request| signs_in(request).is_none()).collect()
}

fn seconds(clock: &SkippingClock) -> Vec<f64> {
    clock.slept().iter().map(Duration::as_secs_f64).collect()
}

#[tokio::test]
async fn calls_have_the_headers_that_azure_wants() {
    let service = numbered(|_, _, _| json(json!({"ok": true}))).await;
    let client = client(&service, &SkippingClock::new());
    let user = Secret::new("user-token");
    let call =
        Call::arm("/subscriptions/x").query("a", "b c").secret_header("x-azureml-token", &user).unwrap();
    assert!(!format!("{call:?}").contains("user-token"), "{call:?}");
    let _: Value = client.put(&call, &json!({"properties": {}})).await.unwrap();
    let _: Value = client.get(&Call::arm("/y").version("2023-04-01")).await.unwrap();
    let base = Url::parse(&service.url).unwrap();
    let _: Value =
        client.get(&Call::data_plane(&base, "/history").query("api-version", "v1.0")).await.unwrap();
    let calls = calls(&service);
    let put = &calls[0];
    assert!(put.is("PUT", "/subscriptions/x"));
    assert_eq!((put.query("api-version"), put.query("a")), ("2024-10-01", "b c"));
    assert_eq!(put.header("authorization"), format!("Bearer {TOKEN}"));
    assert_eq!((put.header("content-type"), put.header("accept")), ("application/json", "application/json"));
    assert_eq!(put.header("x-azureml-token"), "user-token");
    assert!(put.header("user-agent").starts_with("olive-rs/"));
    assert_eq!(put.body, r#"{"properties":{}}"#);
    let id = put.header("x-ms-client-request-id");
    assert_eq!((id.len(), id.matches('-').count()), (36, 4), "{id}");
    assert_ne!(id, calls[1].header("x-ms-client-request-id"));
    assert_eq!((calls[1].header("content-type"), calls[1].query("api-version")), ("", "2023-04-01"));
    assert_eq!(calls[2].query("api-version"), "v1.0");
}

#[tokio::test]
async fn throttled_calls_wait_as_long_as_they_are_asked_to() {
    let service = numbered(|number, _, _| match number {
        0 => status(429)
            .header("retry-after", "17")
            .header("x-ms-ratelimit-remaining-subscription-writes", "0"),
        1 => status(503),
        _ => json(json!({})),
    })
    .await;
    let clock = SkippingClock::new();
    let _: Value = client(&service, &clock).get(&Call::arm("/x")).await.unwrap();
    let slept = seconds(&clock);
    assert_eq!(slept.len(), 2);
    assert!(slept[0] == 17.0 && (1.28..=1.92).contains(&slept[1]), "{slept:?}");
    let ids: Vec<String> =
        calls(&service).iter().map(|call| call.header("x-ms-client-request-id").to_owned()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "the same request: {ids:?}");
}

#[tokio::test]
async fn a_service_that_stays_down_is_told_after_four_attempts() {
    let service = numbered(|_, _, _| {
        let body = json!({"error": {"code": "ServiceError", "message": "down"}});
        status(500).header("x-ms-request-id", "r-7").body(body.to_string())
    })
    .await;
    let error = client(&service, &SkippingClock::new()).get::<Value>(&Call::arm("/x")).await.unwrap_err();
    assert_eq!(calls(&service).len(), 4);
    assert_eq!(error.to_string(), format!("GET {}/x: 500 ServiceError: down (request r-7)", service.url));
    assert!(error.is_transient());
}

#[tokio::test]
async fn a_post_is_sent_again_only_where_the_service_asks_for_it() {
    let service = numbered(|number, _, _| match number {
        0 => status(409).header("retry-after", "2"),
        1 => json(json!({"ok": 1})),
        _ => status(503),
    })
    .await;
    let client = client(&service, &SkippingClock::new());
    let _: Value = client.post(&Call::arm("/x"), &json!({})).await.unwrap();
    assert_eq!(calls(&service).len(), 2);
    client.post::<_, Value>(&Call::arm("/x"), &json!({})).await.unwrap_err();
    assert_eq!(calls(&service).len(), 3);
}

#[tokio::test]
async fn an_answer_that_is_lost_is_asked_for_again_unless_it_was_a_post() {
    let service = numbered(|number, _, _| match number {
        0 => broken(),
        1 => json(json!({"name": "made"})),
        _ => broken(),
    })
    .await;
    let client = client(&service, &SkippingClock::new());
    let made: Value = client.put(&Call::arm("/x"), &json!({"a": 1})).await.unwrap();
    assert_eq!(made["name"], "made");
    let puts = calls(&service);
    assert_eq!((puts.len(), &puts[0].body), (2, &puts[1].body));
    let error = client.post::<_, Value>(&Call::arm("/x"), &json!({})).await.unwrap_err();
    assert!(matches!(error, Error::Transport { attempts: 1, .. }), "{error:?}");
    assert_eq!(calls(&service).len(), 3);
}

#[tokio::test]
async fn nobody_there_is_told_without_the_query() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let service = numbered(|_, _, _| status(200)).await;
    let clock = SkippingClock::new();
    let base = Url::parse(&format!("http://{free}")).unwrap();
    let call = Call::data_plane(&base, "/c/b").query("sig", "s1gn4ture");
    let error = client(&service, &clock).post::<_, Value>(&call, &json!({})).await.unwrap_err();
    assert_eq!(error.to_string(), format!("POST http://{free}/c/b: no answer after 4 attempts"));
    let causes = format!("{error:?} {:?}", std::error::Error::source(&error).map(ToString::to_string));
    assert!(!causes.contains("s1gn4ture"), "{causes}");
    assert_eq!(clock.slept().len(), 3, "it was never there: a POST, too, is tried again");
}

#[tokio::test]
async fn answers_that_are_not_understood_are_told_without_their_values() {
    let service = numbered(|number, _, _| match number {
        0 => json(json!({"key": "c3VwZXJzZWNyZXQ="})),
        _ => status(200),
    })
    .await;
    let client = client(&service, &SkippingClock::new());
    #[derive(Debug, serde::Deserialize)]
    struct Wanted {
        #[expect(dead_code, reason = "it is read to fail")]
        key: u32,
    }
    let error = client.get::<Wanted>(&Call::arm("/x")).await.unwrap_err();
    assert!(error.to_string().contains("unexpected answer: invalid type"), "{error}");
    assert!(!format!("{error} {error:?}").contains("c3Vw"), "{error:?}");
    client.get::<()>(&Call::arm("/x")).await.unwrap();
}

#[tokio::test]
async fn tokens_go_neither_to_other_hosts_nor_through_the_open() {
    let other = Service::start(|_, _| json(json!({}))).await;
    let service = numbered(|_, request, url| match request.path.as_str() {
        "/pages" => json(json!({"value": [1], "nextLink": "https://evil.example/next"})),
        "/operation" => {
            status(202).header("location", "https://evil.example/done").header("retry-after", "1")
        }
        _ => status(307).header("location", format!("{url}/elsewhere")),
    })
    .await;
    let client = client(&service, &SkippingClock::new());
    let untrusted = [
        client.get::<Value>(&Call::given(Url::parse("https://evil.example/x").unwrap())).await.map(drop),
        client
            .get::<Value>(&Call::given(Url::parse("http://management.azure.com/x").unwrap()))
            .await
            .map(drop),
        client.pages::<Value>(&Call::arm("/pages")).await.map(drop),
        client.post_operation(&Call::arm("/operation")).await,
    ];
    for result in untrusted {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::UntrustedHost { .. }), "{error}");
        assert!(error.hint().is_some() && !format!("{error:?}").contains(TOKEN));
    }
    client.get::<Value>(&Call::arm("/redirect")).await.unwrap_err();
    assert_eq!(calls(&service).len(), 3, "a redirection is not followed");

    // Without the flag for tests, not even this machine is trusted.
    let variables = environment(&[("AZUREML_DEV_URL_MFE", &other.url)]);
    let strict = ClientOptions { plain_http: PlainHttp::Refused, ..options(&SkippingClock::new()) };
    let error = Client::new(&variables, strict).unwrap().get::<Value>(&Call::arm("/x")).await.unwrap_err();
    assert!(matches!(error, Error::UntrustedHost { .. }), "{error}");
    assert_eq!(other.count(), 0);
}

#[tokio::test]
async fn operations_are_asked_until_they_are_done() {
    let service = numbered(|number, _, url| match number {
        0 => status(202)
            .header("location", format!("{url}/status/1?api-version=then"))
            .header("retry-after", "3"),
        1 => status(202),
        2 => status(202).header("location", "/status/2?api-version=then").header("retry-after", "4"),
        _ => status(200),
    })
    .await;
    let clock = SkippingClock::new();
    client(&service, &clock).post_operation(&Call::arm("/jobs/1/cancel")).await.unwrap();
    assert_eq!(seconds(&clock), [3.0, 30.0, 4.0], "30 s where the service does not say");
    let calls = calls(&service);
    let paths: Vec<String> = calls.iter().map(|call| format!("{} {}", call.method, call.path)).collect();
    assert_eq!(paths, ["POST /jobs/1/cancel", "GET /status/1", "GET /status/1", "GET /status/2"]);
    assert_eq!((calls[0].body.as_str(), calls[0].header("content-length")), ("", "0"));
    assert_eq!(calls[1].query.len(), 1, "the address is used as it is: {:?}", calls[1].query);
    assert_eq!(calls[3].query("api-version"), "then");
}

#[tokio::test]
async fn operations_that_fail_or_do_not_end_are_told() {
    let service = numbered(|_, request, url| match request.path.as_str() {
        "/fails" => status(202).header("location", format!("{url}/failed")).header("retry-after", "1"),
        "/failed" => status(409).body(json!({"error": {"code": "Conflict", "message": "no"}}).to_string()),
        "/lost" => status(202),
        "/done" => status(204),
        _ => status(202).header("location", format!("{url}/endless")),
    })
    .await;
    let clock = SkippingClock::new();
    let client = client(&service, &clock);
    let told = |result: Result<(), Error>| result.unwrap_err().to_string();
    assert!(told(client.post_operation(&Call::arm("/fails")).await).contains("409 Conflict: no"));
    assert!(told(client.delete(&Call::arm("/lost")).await).contains("without `Location`"));
    client.delete(&Call::arm("/done")).await.unwrap();
    assert!(told(client.post_operation(&Call::arm("/endless")).await).contains("not done after an hour"));
    assert!(clock.slept_in_all() <= Duration::from_secs(3601));
}

/// The status stands in the answer, which is 200 from the first one on; `Location` beside it is not asked.
#[tokio::test]
async fn operations_with_a_status_are_asked_for_it() {
    let service = numbered(|number, request, url| match (number, request.path.as_str()) {
        (0, _) => status(201)
            .header("azure-asyncoperation", format!("{url}/operations/1?api-version=then"))
            .header("location", format!("{url}/results/1"))
            .header("retry-after", "3"),
        (1, _) => json(json!({"status": "Accepted"})).header("azure-asyncoperation", "/operations/2"),
        (2, _) => json(json!({"status": "InProgress", "percentComplete": 50})).header("retry-after", "7"),
        (3, _) => json(json!({"status": "Succeeded"})),
        (_, "/begins") => status(202).header("azure-asyncoperation", format!("{url}/fails")),
        _ => {
            json(json!({"status": "Failed", "error": {"code": "QuotaExceeded", "message": "no cores left"}}))
        }
    })
    .await;
    let clock = SkippingClock::new();
    let client = client(&service, &clock);
    client.post_operation(&Call::arm("/computes/1")).await.unwrap();
    assert_eq!(seconds(&clock), [3.0, 30.0, 7.0]);
    let paths: Vec<String> = calls(&service).iter().map(|call| call.path.clone()).collect();
    assert_eq!(paths, ["/computes/1", "/operations/1", "/operations/2", "/operations/2"]);
    let error = client.delete(&Call::arm("/begins")).await.unwrap_err().to_string();
    assert!(error.contains("ended as Failed: ") && error.contains("QuotaExceeded: no cores left"), "{error}");
}

#[tokio::test]
async fn an_answer_takes_no_more_memory_than_it_is_long() {
    const LENGTH: usize = (5 << 20) + 1;
    let service = numbered(|_, _, _| status(200).body("x".repeat(LENGTH))).await;
    let client = client(&service, &SkippingClock::new());
    let answer = client.send(reqwest::Method::GET, &Call::arm("/x"), None).await.unwrap();
    assert_eq!(answer.body.len(), LENGTH);
    assert!(answer.body.try_into_mut().unwrap().capacity() < LENGTH + LENGTH / 8);
}

#[tokio::test]
async fn lists_are_read_page_by_page() {
    let service = numbered(|_, request, url| match (request.path.as_str(), request.query("skip")) {
        ("/list", "") => json(json!({"value": [1, 2], "nextLink": format!("{url}/list?skip=2")})),
        ("/list", "2") => json(json!({"value": [], "nextLink": format!("{url}/list?skip=3")})),
        ("/list", _) => json(json!({"value": [3], "nextLink": null})),
        ("/empty", _) => json(json!({})),
        _ => json(json!({"value": [0], "nextLink": format!("{url}/circle")})),
    })
    .await;
    let client = client(&service, &SkippingClock::new());
    assert_eq!(client.pages::<u32>(&Call::arm("/list")).await.unwrap(), [1, 2, 3]);
    let queries: Vec<_> =
        calls(&service).iter().map(|call| call.query.keys().cloned().collect::<Vec<_>>()).collect();
    assert_eq!(queries, [["api-version"], ["skip"], ["skip"]], "links are used as they are");
    assert!(client.pages::<u32>(&Call::arm("/empty")).await.unwrap().is_empty());
    let error = client.pages::<u32>(&Call::arm("/circle")).await.unwrap_err();
    assert!(error.to_string().contains("names this page twice"), "{error}");
}

#[tokio::test]
async fn an_operation_is_done_again_where_that_may_help() {
    let service = numbered(|_, request, _| match request.path.as_str() {
        "/down" => broken(),
        _ => status(400),
    })
    .await;
    let clock = SkippingClock::new();
    let client = client(&service, &clock);
    let post = async |path: &str| client.post::<_, Value>(&Call::arm(path), &json!({})).await.map(drop);
    let mut tries = 0;
    let done = client.repeated(Repetition::default(), async || {
        tries += 1;
        if tries < 3 { post("/down").await } else { Ok(()) }
    });
    done.await.unwrap();
    assert_eq!((calls(&service).len(), seconds(&clock)), (2, vec![5.0, 10.0]));
    client.repeated(Repetition::default(), async || post("/down").await).await.unwrap_err();
    assert_eq!((calls(&service).len(), clock.slept().len()), (6, 5), "four attempts");
    client.repeated(Repetition::default(), async || post("/wrong").await).await.unwrap_err();
    assert_eq!((calls(&service).len(), clock.slept().len()), (7, 5), "once");
}

/// A clock that somebody cancels while it sleeps.
#[derive(Debug)]
struct Endless(CancellationToken);

#[async_trait]
impl Clock for Endless {
    fn now(&self) -> SystemTime {
        SystemClock.now()
    }

    async fn sleep(&self, _: Duration) {
        self.0.cancel();
        std::future::pending().await
    }
}

#[tokio::test]
async fn every_pause_ends_when_somebody_cancels() {
    let service = numbered(|_, request, url| match request.path.as_str() {
        "/operation" => status(202).header("location", format!("{url}/x")),
        _ => status(503),
    })
    .await;
    for path in ["/operation", "/retry"] {
        let cancel = CancellationToken::new();
        let clock: Arc<dyn Clock> = Arc::new(Endless(cancel.clone()));
        let variables = environment(&[
            ("AZUREML_DEV_URL_MFE", &service.url),
            ("AZURE_AUTHORITY_HOST", &service.url),
            ("AZURE_TENANT_ID", "tenant-1"),
            ("AZURE_CLIENT_ID", "client-1"),
            ("AZURE_CLIENT_SECRET", "s3cret-value"),
        ]);
        let options = ClientOptions { clock, ..options(&SkippingClock::new()) };
        let client = Client::new(&variables, options).unwrap();
        let stopped = client.with_cancel(cancel);
        let error = match path {
            "/operation" => stopped.post_operation(&Call::arm(path)).await.unwrap_err(),
            _ => stopped.get::<Value>(&Call::arm(path)).await.unwrap_err(),
        };
        assert!(matches!(error, Error::Cancelled), "{error}");
        let before = service.count();
        assert!(matches!(stopped.get::<Value>(&Call::arm("/x")).await, Err(Error::Cancelled)));
        assert_eq!(service.count(), before, "nothing more is sent");
    }
}
