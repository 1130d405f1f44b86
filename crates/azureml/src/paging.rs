//! Lists that come in pages, each of which names the next.

use crate::error::{Error, Result};
use crate::http::{Call, Client};
use crate::safe_url::SafeUrl;
use reqwest::Url;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::HashSet;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page<T> {
    #[serde(default = "Vec::new")]
    value: Vec<T>,
    next_link: Option<String>,
}

impl Client {
    /// All elements of a list, page by page.
    ///
    /// # Errors
    /// A page cannot be had, or names one that was there before.
    pub async fn pages<T: DeserializeOwned>(&self, call: &Call) -> Result<Vec<T>> {
        let mut all = Vec::new();
        let mut seen = HashSet::new();
        let mut page: Page<T> = self.get(call).await?;
        loop {
            all.append(&mut page.value);
            let Some(link) = page.next_link.filter(|link| !link.is_empty()) else { return Ok(all) };
            let odd = |what: &str| Error::Protocol { url: SafeUrl::parse(&link), what: what.into() };
            let url = Url::parse(&link).map_err(|_| odd("the next page has no absolute address"))?;
            if !seen.insert(url.clone()) {
                return Err(odd("the list names this page twice"));
            }
            page = self.get(&Call::given(url)).await?;
        }
    }
}
