//! Computes, of which only Kubernetes clusters have kinds of machines (instance types).

use super::client::WorkspaceClient;
use super::resource::checked;
use crate::error::{Error, Result};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Where jobs run.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(from = "Resource")]
pub struct Compute {
    /// The path of its address, which a job names.
    pub id: String,
    pub name: String,
    pub kind: ComputeKind,
    /// `Succeeded` for one that can be used.
    pub provisioning_state: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum ComputeKind {
    /// Azure ML's own machines.
    AmlCompute {
        vm_size: Option<String>,
    },
    /// A cluster that is attached, of Azure's or of one's own (Arc).
    Kubernetes {
        default_instance_type: Option<String>,
        instance_types: BTreeMap<String, InstanceType>,
    },
    Other(String),
}

/// A kind of machine of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct InstanceType {
    resources: Resources,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Resources {
    /// `cpu`, `memory`, `nvidia.com/gpu`, as texts or numbers.
    limits: Option<BTreeMap<String, Value>>,
}

impl InstanceType {
    pub fn gpus(&self) -> u64 {
        match self.resources.limits.as_ref().and_then(|limits| limits.get("nvidia.com/gpu")) {
            Some(Value::String(text)) => text.trim().parse().unwrap_or(0),
            Some(value) => value.as_u64().unwrap_or(0),
            None => 0,
        }
    }
}

#[derive(Deserialize)]
struct Resource {
    id: String,
    name: String,
    properties: Properties,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Properties {
    compute_type: String,
    provisioning_state: Option<String>,
    properties: Option<KindProperties>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct KindProperties {
    vm_size: Option<String>,
    default_instance_type: Option<String>,
    instance_types: Option<BTreeMap<String, InstanceType>>,
}

impl From<Resource> for Compute {
    fn from(Resource { id, name, properties }: Resource) -> Compute {
        let Properties { compute_type, provisioning_state, properties } = properties;
        let of_kind = properties.unwrap_or_default();
        let kind = match compute_type.as_str() {
            "AmlCompute" => ComputeKind::AmlCompute { vm_size: of_kind.vm_size },
            "Kubernetes" => ComputeKind::Kubernetes {
                default_instance_type: of_kind.default_instance_type,
                instance_types: of_kind.instance_types.unwrap_or_default(),
            },
            _ => ComputeKind::Other(compute_type),
        };
        Compute { id, name, kind, provisioning_state }
    }
}

impl Compute {
    /// The instance type that a job with a GPU has to name; `None` where computes have none. Without one, a cluster gives
    /// its default, which has no GPU unless somebody changed it.
    ///
    /// # Errors
    /// There is not exactly one with a GPU, and the default has none: the user has to choose.
    pub fn instance_type_with_gpu(&self) -> Result<Option<&str>> {
        let ComputeKind::Kubernetes { default_instance_type, instance_types } = &self.kind else {
            return Ok(None);
        };
        let with_gpu: Vec<&String> =
            instance_types.iter().filter(|(_, kind)| kind.gpus() > 0).map(|(name, _)| name).collect();
        if let Some(default) = default_instance_type.as_ref().filter(|name| with_gpu.contains(name)) {
            return Ok(Some(default));
        }
        match with_gpu[..] {
            [only] => Ok(Some(only)),
            _ => Err(Error::InstanceType {
                compute: self.name.clone(),
                available: instance_types
                    .iter()
                    .map(|(name, kind)| format!("`{name}` ({} GPUs)", kind.gpus()))
                    .collect::<Vec<_>>()
                    .join(", "),
            }),
        }
    }
}

impl WorkspaceClient {
    /// # Errors
    /// There is no such compute, or it may not be seen.
    pub async fn compute(&self, name: &str) -> Result<Compute> {
        let call = self.arm(&format!("/computes/{}", checked("the compute", name)?));
        self.existing(&call, &format!("compute `{name}`")).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn cluster(default: &str, types: Value) -> Compute {
        serde_json::from_value(json!({"id": "/x", "name": "arc", "properties": {"computeType": "Kubernetes",
            "provisioningState": "Succeeded", "properties": {"defaultInstanceType": default, "instanceTypes": types}}}))
        .unwrap()
    }

    fn kind(limits: Value) -> Value {
        json!({"nodeSelector": null, "resources": {"requests": null, "limits": limits}})
    }

    #[test]
    fn the_only_instance_type_with_a_gpu_is_taken() {
        let types = json!({"small": kind(json!({"cpu": "2", "nvidia.com/gpu": null})), "gpu": kind(json!({"nvidia.com/gpu": 1})),
            "none": kind(json!(null)), "zero": kind(json!({"nvidia.com/gpu": "0"}))});
        assert_eq!(cluster("small", types).instance_type_with_gpu().unwrap(), Some("gpu"));
        let two =
            json!({"a": kind(json!({"nvidia.com/gpu": "2"})), "b": kind(json!({"nvidia.com/gpu": "1"}))});
        assert_eq!(
            cluster("b", two.clone()).instance_type_with_gpu().unwrap(),
            Some("b"),
            "the default has one"
        );
        let error = cluster("small", two).instance_type_with_gpu().unwrap_err();
        assert!(error.to_string().contains("`a` (2 GPUs), `b` (1 GPUs)"), "{error}");
        let error = cluster("small", json!({"small": kind(json!({}))})).instance_type_with_gpu().unwrap_err();
        assert!(error.hint().unwrap().contains("resources.instance_type"));
    }

    #[test]
    fn other_computes_have_no_instance_types() {
        for (compute_type, properties) in [
            ("AmlCompute", json!({"vmSize": "STANDARD_NC6"})),
            ("SynapseSpark", json!(null)),
            ("New", json!({"x": 1})),
        ] {
            let compute: Compute =
                serde_json::from_value(json!({"id": "/x", "name": "c", "location": "eastus",
                "properties": {"computeType": compute_type, "properties": properties}}))
                .unwrap();
            assert_eq!(compute.instance_type_with_gpu().unwrap(), None);
        }
    }
}
