//! What the record of a run keeps of a job that it sent.

use olive_config::{AzureMlClient, Workspace, client_of};
use serde::{Deserialize, Serialize};

/// A file in `jobs` of the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct JobNote {
    /// Its name.
    pub(super) job: String,
    /// The id of its workspace: `/subscriptions/ID/resourceGroups/GROUP/providers/…/workspaces/NAME`.
    pub(super) workspace: String,
    /// Its page in Azure ML studio.
    pub(super) page: Option<String>,
}

impl JobNote {
    /// The workspace, reached as one that no configuration says more of. `None`: the note was changed.
    pub(super) fn client(&self) -> Option<AzureMlClient> {
        let parts: Vec<&str> = self.workspace.split('/').collect();
        let ["", "subscriptions", subscription_id, "resourceGroups", resource_group, .., "workspaces", name] =
            parts.as_slice()
        else {
            return None;
        };
        Some(client_of(Workspace {
            subscription_id: (*subscription_id).to_owned(),
            resource_group: (*resource_group).to_owned(),
            workspace_name: (*name).to_owned(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_workspace_has_its_three_names() {
        let id =
            olive_azureml::workspace::Workspace::new("00000000-1111-2222-3333-444444444444", "rg", "ws1");
        let note = JobNote { job: "j".into(), workspace: id.unwrap().path(), page: None };
        let Workspace { subscription_id, resource_group, workspace_name } = note.client().unwrap().workspace;
        let names = (subscription_id.as_str(), resource_group.as_str(), workspace_name.as_str());
        assert_eq!(names, ("00000000-1111-2222-3333-444444444444", "rg", "ws1"));
        assert_eq!(JobNote { workspace: "/subscriptions/a".into(), ..note }.client(), None);
    }
}
