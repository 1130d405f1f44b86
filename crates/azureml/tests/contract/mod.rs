//! Requests that the SDK was recorded to send, and whether the contract tells good ones from bad.

#[path = "../../../azureml-fake/src/contract.rs"]
mod schema;

pub use schema::violations;
use serde_json::{Value, json};

/// A request of the SDK.
pub struct Recorded {
    pub method: String,
    pub path: String,
    pub body: Value,
}

/// The recorded requests that have a body.
pub fn recorded() -> Vec<Recorded> {
    let lines = include_str!("sdk-1.35.2.jsonl").lines();
    lines
        .map(|line| {
            let mut request: Value = serde_json::from_str(line).unwrap();
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let (method, path) = (text(&request["method"]), text(&request["path"]));
            Recorded { method, path, body: request["body"].take() }
        })
        .collect()
}

/// The only recorded request of a method whose path has this in it.
pub fn recorded_one(method: &str, part: &str) -> Value {
    let mut found: Vec<_> = recorded()
        .into_iter()
        .filter(|request| request.method == method && request.path.contains(part))
        .collect();
    assert_eq!(found.len(), 1, "{method} {part}");
    found.remove(0).body
}

#[test]
fn the_contract_tells_good_from_bad() {
    let job = |properties: Value| violations("/subscriptions/s/jobs/j", &json!({ "properties": properties }));
    let good = json!({"jobType": "Command", "command": "x", "environmentId": "e"});
    assert_eq!(job(good.clone()), [""; 0]);
    let with = |name: &str, value: Value| {
        let mut bad = good.clone();
        bad[name] = value;
        job(bad)
    };
    for bad in [
        job(json!({"jobType": "Command"})),
        job(json!({"jobType": "Comand", "command": "x", "environmentId": "e"})),
        with("instance_count", json!(2)),
        with("command", json!(1)),
        with("inputs", json!({"a": {"jobInputType": "uri_fil", "uri": "x"}})),
        with("inputs", json!({"a": {"jobInputType": "literal", "value": 1}})),
        with("resources", json!({"instanceCount": "2"})),
        with("outputs", json!({"o": {"jobOutputType": "uri_folder", "mode": "upload"}})),
        violations(
            "/subscriptions/s/codes/c/versions/1/startPendingUpload",
            &json!({"pendingUploadType": "Other"}),
        ),
    ] {
        assert!(!bad.is_empty());
    }
}

#[test]
fn the_sdk_keeps_to_the_contract_but_for_one_number() {
    for request in recorded() {
        let expected: &[&str] = if request.method == "PUT" && request.path.contains("/codes/") {
            // A map of texts, says the specification.
            &["\"hash_version\":202208"]
        } else {
            &[]
        };
        let found = violations(&request.path, &request.body);
        assert_eq!(found.len(), expected.len(), "{} {}: {found:?}", request.method, request.path);
        assert!(found.iter().zip(expected).all(|(found, part)| found.contains(part)), "{found:?}");
    }
}
