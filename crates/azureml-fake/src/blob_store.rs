//! Blobs in memory.

use axum::body::Bytes;
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A blob with all that is kept of it.
#[derive(Debug, Clone)]
pub struct Blob {
    pub content: Bytes,
    pub metadata: BTreeMap<String, String>,
    pub content_type: String,
    /// The MD5 that the writer told, in base64.
    pub md5: Option<String>,
    pub etag: String,
    pub modified: DateTime<Utc>,
}

/// The blobs of one account. Containers come into being with their first blob.
#[derive(Debug, Default)]
pub struct BlobStore(Mutex<Contents>);

#[derive(Debug, Default)]
struct Contents {
    /// By container and name.
    blobs: BTreeMap<(String, String), Blob>,
    /// Blocks that are no part of a blob yet, by container, name and id.
    blocks: BTreeMap<(String, String, String), Bytes>,
    /// Writes so far, of which entity tags are made.
    writes: u64,
}

impl BlobStore {
    /// Writes a blob, and returns it.
    pub fn put(&self, container: &str, name: &str, content: impl Into<Bytes>) -> Blob {
        self.put_with(container, name, content.into(), BTreeMap::new(), None)
    }

    pub fn put_with(
        &self,
        container: &str,
        name: &str,
        content: Bytes,
        metadata: BTreeMap<String, String>,
        md5: Option<String>,
    ) -> Blob {
        let mut contents = self.contents();
        let etag = contents.next_etag();
        let content_type = "application/octet-stream".to_owned();
        let blob = Blob { content, metadata, content_type, md5, etag, modified: Utc::now() };
        contents.blobs.insert((container.to_owned(), name.to_owned()), blob.clone());
        contents.blocks.retain(|(place, blob, _), _| (place.as_str(), blob.as_str()) != (container, name));
        blob
    }

    pub fn get(&self, container: &str, name: &str) -> Option<Blob> {
        self.contents().blobs.get(&(container.to_owned(), name.to_owned())).cloned()
    }

    /// Puts other metadata in the place of a blob's; `None` if there is no such blob.
    pub fn set_metadata(
        &self,
        container: &str,
        name: &str,
        metadata: BTreeMap<String, String>,
    ) -> Option<Blob> {
        let mut contents = self.contents();
        let etag = contents.next_etag();
        let blob = contents.blobs.get_mut(&(container.to_owned(), name.to_owned()))?;
        blob.metadata = metadata;
        blob.etag = etag;
        Some(blob.clone())
    }

    pub fn delete(&self, container: &str, name: &str) -> Option<Blob> {
        self.contents().blobs.remove(&(container.to_owned(), name.to_owned()))
    }

    /// Keeps a block until a list of blocks makes it part of a blob.
    pub fn put_block(&self, container: &str, name: &str, id: &str, content: Bytes) {
        self.contents().blocks.insert((container.to_owned(), name.to_owned(), id.to_owned()), content);
    }

    /// The blocks of these ids, one after the other; `None` if one is missing.
    pub fn joined_blocks(&self, container: &str, name: &str, ids: &[String]) -> Option<Bytes> {
        let contents = self.contents();
        let mut whole = Vec::new();
        for id in ids {
            whole.extend_from_slice(contents.blocks.get(&(
                container.to_owned(),
                name.to_owned(),
                id.clone(),
            ))?);
        }
        Some(whole.into())
    }

    /// The blobs of a container whose names begin so, in the order of their names.
    pub fn list(&self, container: &str, prefix: &str) -> Vec<(String, Blob)> {
        let contents = self.contents();
        let fits = |(place, name): &(String, String)| place == container && name.starts_with(prefix);
        let found = contents.blobs.iter().filter(|(key, _)| fits(key));
        found.map(|((_, name), blob)| (name.clone(), blob.clone())).collect()
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    fn next_etag(&mut self) -> String {
        self.writes += 1;
        format!("\"0x{:X}\"", self.writes)
    }
}
