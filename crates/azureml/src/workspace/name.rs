//! Which workspace.

use crate::error::{Error, Result};

/// A workspace of Azure ML, by the three names that it is found with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Workspace {
    subscription_id: String,
    resource_group: String,
    name: String,
}

impl Workspace {
    /// # Errors
    /// A name that Azure would not take: it becomes a part of addresses.
    pub fn new(subscription_id: &str, resource_group: &str, name: &str) -> Result<Workspace> {
        let checked = |what, value: &str, fits: bool, expected| {
            if fits {
                Ok(value.to_owned())
            } else {
                Err(Error::Invalid { what, value: value.into(), expected })
            }
        };
        let is_word = |text: &str, more: &str| {
            text.chars().all(|letter| letter.is_alphanumeric() || more.contains(letter))
        };
        let is_id = subscription_id.len() == 36
            && subscription_id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        let is_group = (1..=90).contains(&resource_group.chars().count())
            && is_word(resource_group, "-_.()")
            && !resource_group.ends_with('.');
        let is_workspace = (3..=33).contains(&name.len())
            && name.is_ascii()
            && is_word(name, "-_")
            && name.starts_with(|letter: char| letter.is_ascii_alphanumeric());
        Ok(Workspace {
            subscription_id: checked(
                "the subscription",
                subscription_id,
                is_id,
                "expected its id, 00000000-0000-0000-0000-000000000000",
            )?,
            resource_group: checked(
                "the resource group",
                resource_group,
                is_group,
                "expected 1 to 90 letters, digits and -_.(), without a dot at the end",
            )?,
            name: checked(
                "the workspace",
                name,
                is_workspace,
                "expected 3 to 33 letters, digits, - and _, with a letter or digit in front",
            )?,
        })
    }

    pub fn subscription_id(&self) -> &str {
        &self.subscription_id
    }

    pub fn resource_group(&self) -> &str {
        &self.resource_group
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its id, which is the path of its address as well.
    pub fn path(&self) -> String {
        format!(
            "/subscriptions/{}/resourceGroups/{}/providers/Microsoft.MachineLearningServices/workspaces/{}",
            self.subscription_id, self.resource_group, self.name
        )
    }
}

impl std::fmt::Display for Workspace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} of resource group {} of subscription {}",
            self.name, self.resource_group, self.subscription_id
        )
    }
}
