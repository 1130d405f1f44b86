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

#[cfg(test)]
mod tests {
    use super::*;

    const SUBSCRIPTION: &str = "00000000-1111-2222-3333-444444444444";

    #[test]
    fn names_become_the_path() {
        let workspace = Workspace::new(SUBSCRIPTION, "rg.1-(a)_b", "ws1").unwrap();
        assert_eq!(
            workspace.path(),
            "/subscriptions/00000000-1111-2222-3333-444444444444/resourceGroups/rg.1-(a)_b/providers/\
             Microsoft.MachineLearningServices/workspaces/ws1"
        );
    }

    #[test]
    fn names_that_would_change_the_path_are_refused() {
        let cases = [
            ("<subscription>", "rg", "ws1", "the subscription `<subscription>`"),
            (SUBSCRIPTION, "", "ws1", "the resource group ``"),
            (SUBSCRIPTION, "..", "ws1", "the resource group `..`"),
            (SUBSCRIPTION, "a/b", "ws1", "the resource group `a/b`"),
            (SUBSCRIPTION, "rg", "ws", "the workspace `ws`"),
            (SUBSCRIPTION, "rg", "_ws1", "the workspace `_ws1`"),
            (SUBSCRIPTION, "rg", "ws?x=1", "the workspace `ws?x=1`"),
        ];
        for (subscription, group, name, expected) in cases {
            let error = Workspace::new(subscription, group, name).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
