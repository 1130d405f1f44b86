//! Resource paths: texts, and Olive's objects `{"type": …, "config": {…}}`.

use super::azureml_client::{self, ClientBlock, check};
use crate::azureml::{
    AZUREML_DATASTORE, AZUREML_JOB_OUTPUT, AZUREML_MODEL, AZUREML_REGISTRY_MODEL, AzureMlClient,
    AzureMlPlace, AzureMlResource, AzureMlSystem, DatastoreOptions, JobOutputOptions, ModelAssetOptions,
    RegistryModelOptions, ResourcePath,
};
use crate::fields::Fields;
use crate::findings::Findings;
use crate::names::{list_names, nearest};
use crate::node::Node;
use crate::option::{Block, TEXT};
use crate::origin::Era;
use crate::place::{At, join};
use crate::values::Values;
use serde_json::Value as Json;

/// Who uses what is read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Consumer<'a> {
    /// This machine, or nobody as far as is known: names in AzureML are taken as they are.
    Unknown,
    /// A job of this system, so that names must be right; `None` if the system is not, which was said.
    Job(Option<&'a AzureMlSystem>),
}

const TYPES: [&str; 7] = [
    "file",
    "folder",
    "string_name",
    "azureml_datastore",
    "azureml_model",
    "azureml_registry_model",
    "azureml_job_output",
];

/// Whether an object is a resource path: one of data files by split has no such type.
pub(super) fn is_resource(node: &Node) -> bool {
    let Some(kind) = node.get("type").and_then(Node::as_text) else { return false };
    node.get("config").is_some() || known(kind).is_some()
}

fn known(kind: &str) -> Option<&'static str> {
    TYPES.into_iter().find(|known| known.eq_ignore_ascii_case(kind))
}

/// Reads a resource path. `None`: it is none, or a job could not use it, and that was said.
pub(super) fn read(
    node: &Node,
    path: &str,
    consumer: Consumer<'_>,
    findings: &mut Findings,
) -> Option<ResourcePath> {
    if node.as_object().is_some() {
        return object(node, path, consumer, findings);
    }
    let text = match TEXT.read(node) {
        Ok(Json::String(text)) if !text.is_empty() => text,
        Ok(_) => {
            findings.error(node.at, path, "the path is empty", None);
            return None;
        }
        Err(_) => {
            let message = format!("expected a path, found {}", node.describe());
            findings.error(node.at, path, message, None);
            return None;
        }
    };
    if text.starts_with("azureml:") {
        let resource = address(&text, None, consumer, node.at, path, findings)?;
        return Some(ResourcePath::AzureMl(Box::new(resource)));
    }
    Some(ResourcePath::Local(text))
}

fn object(node: &Node, path: &str, consumer: Consumer<'_>, findings: &mut Findings) -> Option<ResourcePath> {
    let word = node.get("type").and_then(Node::as_text).unwrap_or_default();
    match Kind::of(word) {
        Some(kind) => {
            let resource = kind.read(node, path, consumer, findings)?;
            Some(ResourcePath::AzureMl(Box::new(resource)))
        }
        None if word.is_empty() || known(word).is_some() => local(node, path, findings),
        None => {
            let hint = nearest(word, TYPES).map_or_else(
                || format!("the kinds are {}", list_names(TYPES)),
                |near| format!("did you mean `{near}`?"),
            );
            let at = node.get("type").and_then(|word| word.at);
            let message = format!("there is no kind of resource `{word}`");
            findings.error(at, join(path, "type"), message, Some(hint));
            None
        }
    }
}

/// A file, a folder or a name.
fn local(node: &Node, path: &str, findings: &mut Findings) -> Option<ResourcePath> {
    let config = node.get("config").unwrap_or(node);
    let text = |key: &str| config.get(key).and_then(Node::as_text);
    let written = ["path", "name", "model_path"].into_iter().find_map(text).map(str::to_owned);
    if written.is_none() {
        let message = "expected a path, or an object with `type` and `config.path`";
        findings.error(node.at, path, message, None);
    }
    written.map(ResourcePath::Local)
}

/// The kinds of objects that name a place in AzureML.
#[derive(Clone, Copy)]
enum Kind {
    Datastore,
    Model,
    RegistryModel,
    JobOutput,
}

impl Kind {
    fn of(word: &str) -> Option<Kind> {
        Some(match known(word)? {
            "azureml_datastore" => Kind::Datastore,
            "azureml_model" => Kind::Model,
            "azureml_registry_model" => Kind::RegistryModel,
            "azureml_job_output" => Kind::JobOutput,
            _ => return None,
        })
    }

    fn block(self) -> &'static Block {
        match self {
            Kind::Datastore => &AZUREML_DATASTORE,
            Kind::Model => &AZUREML_MODEL,
            Kind::RegistryModel => &AZUREML_REGISTRY_MODEL,
            Kind::JobOutput => &AZUREML_JOB_OUTPUT,
        }
    }

    /// The place that the options name, if they are all given.
    fn place(self, values: &Values) -> Option<AzureMlPlace> {
        Some(match self {
            Kind::Datastore => {
                let DatastoreOptions { datastore_name, relative_path } = DatastoreOptions::read(values)?;
                AzureMlPlace::Datastore { datastore: datastore_name?, path: relative_path? }
            }
            Kind::Model => {
                let ModelAssetOptions { name, version } = ModelAssetOptions::read(values)?;
                AzureMlPlace::Model { name: name?, version: version? }
            }
            Kind::RegistryModel => {
                let RegistryModelOptions { registry_name, name, version } =
                    RegistryModelOptions::read(values)?;
                AzureMlPlace::RegistryModel { registry: registry_name?, name: name?, version: version? }
            }
            Kind::JobOutput => {
                let JobOutputOptions { job_name, output_name, relative_path } =
                    JobOutputOptions::read(values)?;
                AzureMlPlace::JobOutput { job: job_name?, output: output_name?, path: relative_path? }
            }
        })
    }

    fn read(
        self,
        node: &Node,
        path: &str,
        consumer: Consumer<'_>,
        findings: &mut Findings,
    ) -> Option<AzureMlResource> {
        let fields = Fields::open(node, path, self.block(), findings);
        let values = fields.resolve(Era::New, findings);
        let own = fields.found("azureml_client").filter(|_| !matches!(self, Kind::RegistryModel));
        let client = own.and_then(|found| {
            let client = ClientBlock::read(found, findings)?;
            match consumer {
                Consumer::Unknown => client.unchecked(),
                Consumer::Job(_) => client.checked(findings),
            }
        });
        if let Some(url) = fields.found("datastore_url") {
            let text = url.node.as_text()?;
            return address(text, client, consumer, url.node.at, &url.path, findings);
        }
        let Some(place) = self.place(&values) else {
            let names = ["datastore_name", "relative_path"];
            if matches!(self, Kind::Datastore) && names.iter().any(|name| fields.lacks(name)) {
                let message = "the resource needs `datastore_name` and `relative_path`, or `datastore_url`";
                findings.error(node.at, path, message, None);
            }
            return None;
        };
        let mut sound = own.is_none() || client.is_some() || matches!(consumer, Consumer::Unknown);
        if let Consumer::Job(_) = consumer {
            for (key, name, text) in place.names() {
                sound &= check(name, key, text, &values, findings);
            }
        }
        let resource = AzureMlResource { client, place };
        (sound && reachable(&resource, consumer, node.at, path, findings)).then_some(resource)
    }
}

/// The resource at an `azureml:` address. Its workspace, if the address has one, counts instead of that of `client`.
fn address(
    text: &str,
    client: Option<AzureMlClient>,
    consumer: Consumer<'_>,
    at: At,
    path: &str,
    findings: &mut Findings,
) -> Option<AzureMlResource> {
    let Some((workspace, place)) = AzureMlPlace::of_address(text) else {
        let hint = "azureml://datastores/NAME/paths/PATH, azureml:MODEL:VERSION, \
                    azureml://registries/NAME/models/MODEL/versions/VERSION or azureml://jobs/ID/outputs/NAME/paths/PATH; \
                    a workspace may stand in it, azureml://subscriptions/ID/resourcegroups/GROUP/workspaces/NAME/…";
        let message = format!("`{text}` names no datastore, model or output of a job");
        findings.error(at, path, message, Some(hint.into()));
        return None;
    };
    let mut names = place.names();
    names.extend(workspace.iter().flat_map(|workspace| workspace.names()));
    if let Consumer::Job(_) = consumer {
        let fault = names.into_iter().find_map(|(key, name, text)| name.check(key, text).err());
        if let Some(fault) = fault {
            findings.error(at, path, format!("`{text}`: {}", fault.message), Some(fault.hint));
            return None;
        }
    }
    let client = match workspace {
        Some(workspace) => Some(match client {
            Some(client) => AzureMlClient { workspace, ..client },
            None => azureml_client::client_of(workspace),
        }),
        None => client,
    };
    let resource = AzureMlResource { client, place };
    reachable(&resource, consumer, at, path, findings).then_some(resource)
}

/// Whether a job can use the resource: AzureML gives it those of its own workspace.
fn reachable(
    resource: &AzureMlResource,
    consumer: Consumer<'_>,
    at: At,
    path: &str,
    findings: &mut Findings,
) -> bool {
    let (Consumer::Job(Some(system)), Some(client)) = (consumer, &resource.client) else { return true };
    let (own, theirs) = (&client.workspace, &system.client.workspace);
    let same = own.is(theirs) || matches!(resource.place, AzureMlPlace::RegistryModel { .. });
    if !same {
        let message = format!(
            "it lies in another workspace ({own}) than the compute `{}` that uses it ({theirs})",
            system.compute
        );
        let hint = "give both the same names, or copy it to a datastore of the compute's workspace";
        findings.error(at, path, message, Some(hint.into()));
    }
    same
}
