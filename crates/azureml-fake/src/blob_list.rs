//! Lists of blobs, in pages.

use crate::blob_store::{Blob, BlobStore};
use crate::exchange::{Exchange, Reply};
use chrono::{DateTime, Utc};
use quick_xml::escape::escape;
use std::collections::BTreeSet;

/// `GET /{container}?restype=container&comp=list`
pub fn answer(store: &BlobStore, request: &Exchange, container: &str, page_size: usize) -> Reply {
    let prefix = request.query("prefix");
    let delimiter = request.query("delimiter");
    let marker = request.query("marker");
    let asked: usize = request.query("maxresults").parse().unwrap_or(page_size);
    let mut left = store.list(container, prefix);
    left.retain(|(name, _)| name.as_str() > marker);
    let next = left.get(asked.min(page_size)).is_some();
    left.truncate(asked.min(page_size));
    let next_marker = left.last().filter(|_| next).map_or("", |(name, _)| name.as_str()).to_owned();

    let mut folders = BTreeSet::new();
    let mut entries = String::new();
    for (name, blob) in &left {
        match name[prefix.len()..].find(delimiter).filter(|_| !delimiter.is_empty()) {
            Some(at) => {
                folders.insert(&name[..prefix.len() + at + delimiter.len()]);
            }
            None => entries.push_str(&entry(name, blob)),
        }
    }
    for folder in folders {
        entries.push_str(&format!("<BlobPrefix><Name>{}</Name></BlobPrefix>", escape(folder)));
    }
    let body = format!(
        "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ContainerName=\"{container}\">\
         <Prefix>{}</Prefix><Blobs>{entries}</Blobs><NextMarker>{}</NextMarker></EnumerationResults>",
        escape(prefix),
        escape(&next_marker)
    );
    Reply::xml(200, body)
}

fn entry(name: &str, blob: &Blob) -> String {
    let metadata: String = blob
        .metadata
        .iter()
        .map(|(name, value)| format!("<{name}>{}</{name}>", escape(value.as_str())))
        .collect();
    format!(
        "<Blob><Name>{}</Name><Properties><Last-Modified>{}</Last-Modified><Etag>{}</Etag><Content-Length>{}\
         </Content-Length><Content-Type>{}</Content-Type><BlobType>BlockBlob</BlobType></Properties>\
         <Metadata>{metadata}</Metadata></Blob>",
        escape(name),
        date(blob.modified),
        escape(&blob.etag),
        blob.content.len(),
        blob.content_type
    )
}

/// As HTTP writes dates.
pub fn date(at: DateTime<Utc>) -> String {
    at.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
