//! Where the files of an address are: in which container, under which path.

use crate::blob::Container;
use crate::error::{Error, Result};
use crate::uri::{AssetUri, Place, Version};
use crate::workspace::{Workspace, WorkspaceClient};

/// Assets may stand for outputs of jobs, and these for assets; a longer chain is a circle.
const LONGEST_CHAIN: usize = 4;

/// The files of an address.
#[derive(Debug)]
pub struct Location {
    pub container: Container,
    /// A blob, or what names of blobs begin with.
    pub path: String,
}

impl WorkspaceClient {
    /// Finds the files of an address: of a datastore, of an output of a job, of a model or of data of this workspace.
    ///
    /// # Errors
    /// There is no such thing, it is another workspace's, or its files are not in a datastore.
    pub async fn locate(&self, address: &AssetUri) -> Result<Location> {
        let refused = |expected| Error::Invalid { what: "the address", value: address.to_string(), expected };
        let mut here = address.clone();
        for _ in 0..LONGEST_CHAIN {
            if here.workspace().is_some_and(|other| !is_same(other, self.workspace())) {
                return Err(refused("expected one of the workspace that is configured"));
            }
            if let Some((store, path)) = here.stored() {
                let store = self.datastore(store).await?;
                return Ok(Location {
                    container: Container::of_datastore(self, &store)?,
                    path: path.to_owned(),
                });
            }
            here = match &here {
                AssetUri::JobOutput { job, output, path } => {
                    let whole = self.output_address(&crate::job::JobName::new(job)?, output).await?;
                    let whole = whole.ok_or_else(|| refused("expected an output that the job has"))?;
                    below(whole, path.as_deref())
                }
                AssetUri::Asset {
                    place: Place::Here | Place::Arm(_) | Place::Workspace(_),
                    kind,
                    name,
                    version,
                } => {
                    let Version::Number(version) = version else {
                        return Err(refused("expected a version instead of a label"));
                    };
                    match kind.as_str() {
                        "models" => self.model(name, version).await?.model_uri.parse()?,
                        "data" => self.data(name, version).await?.data_uri.parse()?,
                        _ => return Err(refused("expected a model or data")),
                    }
                }
                _ => {
                    return Err(refused(
                        "expected one of a datastore, of an output of a job, of a model or of data",
                    ));
                }
            };
        }
        Err(refused("expected one that leads to files"))
    }
}

/// A path below an address.
fn below(address: AssetUri, path: Option<&str>) -> AssetUri {
    match (address, path) {
        (AssetUri::Datastore { workspace, datastore, path: folder }, Some(path)) => {
            let path = format!("{}/{path}", folder.trim_end_matches('/'));
            AssetUri::Datastore { workspace, datastore, path }
        }
        (address, _) => address,
    }
}

/// Names of Azure do not tell capital from small letters.
fn is_same(a: &Workspace, b: &Workspace) -> bool {
    a.path().eq_ignore_ascii_case(&b.path())
}
