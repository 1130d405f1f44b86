//! Whether the body of a request is one that the service's specification has.
//!
//! The schema is made from the generated client of azure-ai-ml 1.35.2 (`"$comment"` in it); it is closed, so that a
//! misspelt field is found. Beside it lie requests that the SDK was recorded to send.

use jsonschema::Validator;
use serde_json::{Value, json};
use std::sync::LazyLock;

/// What each kind of resource is created with. The first that is in the path counts.
const SCHEMAS: [(&str, &str); 6] = [
    ("/startPendingUpload", "PendingUploadRequestDto"),
    ("/jobs/", "JobBase"),
    ("/codes/", "CodeVersion"),
    ("/environments/", "EnvironmentVersion"),
    ("/models/", "ModelVersion"),
    ("/data/", "DataVersionBase"),
];

static VALIDATORS: LazyLock<Vec<(&str, Validator)>> = LazyLock::new(|| {
    let schema: Value = serde_json::from_str(include_str!("azureml-2025-12-01.schema.json")).unwrap();
    let validator = |name: &str| {
        let mut schema = schema.clone();
        schema["$ref"] = json!(format!("#/$defs/{name}"));
        jsonschema::validator_for(&schema).unwrap()
    };
    SCHEMAS.iter().map(|(part, name)| (*part, validator(name))).collect()
});

/// What is wrong with a body that the control plane gets. Nothing, if the contract does not cover the path.
pub fn violations(path: &str, body: &Value) -> Vec<String> {
    let covers = |part: &str| path.starts_with("/subscriptions/") && path.contains(part);
    let Some((_, validator)) = VALIDATORS.iter().find(|(part, _)| covers(part)) else { return Vec::new() };
    validator.iter_errors(body).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

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
