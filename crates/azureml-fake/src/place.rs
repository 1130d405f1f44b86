//! Where things are: the names of the one workspace, and addresses of blobs.

/// The only subscription.
pub const SUBSCRIPTION: &str = "00000000-1111-2222-3333-444444444444";
pub const RESOURCE_GROUP: &str = "rg1";
pub const WORKSPACE: &str = "ws1";
/// The only storage account.
pub const ACCOUNT: &str = "fakeaccount";
/// Where uploads and outputs go.
pub const BLOB_STORE: (&str, &str) = ("workspaceblobstore", "azureml-blobstore-0001");
/// Where logs go.
pub const ARTIFACT_STORE: (&str, &str) = ("workspaceartifactstore", "azureml");

/// A registry, and where its models go.
pub const REGISTRY: (&str, &str) = ("models-of-all", "registry-0001");

/// The id of the workspace, which is its path as well.
pub fn workspace_path() -> String {
    format!(
        "/subscriptions/{SUBSCRIPTION}/resourceGroups/{RESOURCE_GROUP}/providers/\
         Microsoft.MachineLearningServices/workspaces/{WORKSPACE}"
    )
}

/// The container of a datastore.
pub fn container_of(datastore: &str) -> Option<&'static str> {
    [BLOB_STORE, ARTIFACT_STORE].iter().find(|(name, _)| *name == datastore).map(|(_, container)| *container)
}

/// A blob, or the blobs below a path that ends with a slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub container: String,
    pub path: String,
}

impl Place {
    /// Of `azureml://datastores/{store}/paths/{path}`, the same below subscription, group and workspace, or the address of
    /// a blob of the account below `blobs`.
    pub fn of(uri: &str, blobs: &str) -> Option<Place> {
        if let Some((_, rest)) = uri.split_once("/datastores/").filter(|_| uri.starts_with("azureml:")) {
            return Place::in_datastore(rest);
        }
        if let Some(rest) = uri.strip_prefix("azureml://datastores/") {
            return Place::in_datastore(rest);
        }
        let below = uri.strip_prefix(blobs)?.strip_prefix(&format!("/{ACCOUNT}/"))?;
        let (container, path) = below.split_once('/')?;
        Some(Place { container: container.into(), path: path.into() })
    }

    fn in_datastore(rest: &str) -> Option<Place> {
        let (datastore, path) = rest.split_once("/paths/")?;
        Some(Place { container: container_of(datastore)?.into(), path: path.into() })
    }

    /// As a job names it.
    pub fn uri(&self) -> Option<String> {
        let (datastore, _) =
            [BLOB_STORE, ARTIFACT_STORE].into_iter().find(|(_, own)| *own == self.container)?;
        Some(format!("azureml://datastores/{datastore}/paths/{}", self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_of_an_address_are_the_same_place() {
        let long = format!(
            "azureml://subscriptions/{SUBSCRIPTION}/resourcegroups/rg1/workspaces/ws1/datastores/workspaceblobstore/paths/a/b/"
        );
        let blob = format!("http://127.0.0.1:1/blob/{ACCOUNT}/azureml-blobstore-0001/a/b/");
        for uri in ["azureml://datastores/workspaceblobstore/paths/a/b/", &long, &blob] {
            let place = Place::of(uri, "http://127.0.0.1:1/blob").unwrap();
            assert_eq!(place, Place { container: "azureml-blobstore-0001".into(), path: "a/b/".into() });
            assert_eq!(place.uri().unwrap(), "azureml://datastores/workspaceblobstore/paths/a/b/");
        }
        for uri in ["azureml://datastores/other/paths/a", "azureml://jobs/j/outputs/o/paths/p", "https://x/y"]
        {
            assert_eq!(Place::of(uri, "http://127.0.0.1:1/blob"), None);
        }
    }
}
