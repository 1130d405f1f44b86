//! Addresses for messages: those of blobs carry their access rights (SAS) in the query.

use crate::secret::redacted;
use reqwest::Url;
use std::fmt;

/// An address without what may hold secrets: query, fragment, user and password.
#[derive(Clone, PartialEq, Eq)]
pub struct SafeUrl(String);

impl SafeUrl {
    /// Of an address as a service or a user wrote it, which may be none.
    pub fn parse(text: &str) -> SafeUrl {
        match Url::parse(text) {
            Ok(url) => SafeUrl::from(&url),
            Err(_) => SafeUrl(redacted(text.split(['?', '#']).next().unwrap_or_default()).into_owned()),
        }
    }
}

impl From<&Url> for SafeUrl {
    fn from(url: &Url) -> SafeUrl {
        let mut url = url.clone();
        url.set_query(None);
        url.set_fragment(None);
        // Refused for addresses that cannot have a user, which then have none.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        SafeUrl(url.into())
    }
}

impl fmt::Display for SafeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SafeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
