//! Names of repositories.

use crate::error::PublishError;
use std::fmt::{Display, Formatter};

/// `user/name` or `organisation/name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoId {
    pub owner: String,
    pub name: String,
}

impl RepoId {
    /// By the rules of the hub.
    ///
    /// # Errors
    /// [`PublishError::Name`], with the rule.
    pub fn parse(text: &str) -> Result<RepoId, PublishError> {
        let refuse = |reason| PublishError::Name { given: text.to_owned(), reason };
        let (owner, name) = text.split_once('/').ok_or(refuse("its owner is missing"))?;
        for part in [owner, name] {
            let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            match part {
                "" => return Err(refuse("a part of it is empty")),
                _ if !part.chars().all(is_letter) => {
                    return Err(refuse("only letters and digits of ASCII, `-`, `_` and `.` are allowed"));
                }
                _ if part.starts_with(['-', '.']) || part.ends_with(['-', '.']) => {
                    return Err(refuse("no part may begin or end with `-` or `.`"));
                }
                _ if part.contains("--") || part.contains("..") => {
                    return Err(refuse("`--` and `..` are not allowed"));
                }
                _ => {}
            }
        }
        match text {
            _ if text.len() > 96 => Err(refuse("it has more than 96 characters")),
            _ if name.ends_with(".git") => Err(refuse("it must not end with `.git`")),
            _ => Ok(RepoId { owner: owner.to_owned(), name: name.to_owned() }),
        }
    }
}

impl Display for RepoId {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_the_hub_allows_are_taken() {
        for name in ["ada/tiny-phi3_x.1", "A/b"] {
            assert_eq!(RepoId::parse(name).unwrap().to_string(), name);
        }
        let long = format!("ada/{}", "x".repeat(93));
        for name in [
            "ada",
            "/x",
            "ada/",
            "a/b/c",
            "ada/x y",
            "ada/-x",
            "ada/x.",
            "ada/a--b",
            "ada/a..b",
            "ada/x.git",
            &long,
        ] {
            assert!(RepoId::parse(name).is_err(), "{name}");
        }
    }
}
