//! Whether the body of a request is one that the service's specification has.
//!
//! The schema is made from the generated client of azure-ai-ml 1.35.2 (`"$comment"` in it); it is closed, so that a
//! misspelt field is found.

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
    let schema: Value = serde_json::from_str(include_str!("azureml-2025-12-01.schema.json")).expect("JSON");
    let validator = |name: &str| {
        let mut schema = schema.clone();
        schema["$ref"] = json!(format!("#/$defs/{name}"));
        jsonschema::validator_for(&schema).expect("a schema")
    };
    SCHEMAS.iter().map(|(part, name)| (*part, validator(name))).collect()
});

/// What is wrong with a body that the control plane gets. Nothing, if the contract does not cover the path.
pub fn violations(path: &str, body: &Value) -> Vec<String> {
    let covers = |part: &str| path.starts_with("/subscriptions/") && path.contains(part);
    let Some((_, validator)) = VALIDATORS.iter().find(|(part, _)| covers(part)) else { return Vec::new() };
    validator.iter_errors(body).map(|error| format!("{}: {error}", error.instance_path())).collect()
}
