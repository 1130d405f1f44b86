//! The answer of `List Blobs`, <https://learn.microsoft.com/rest/api/storageservices/list-blobs>, as far as it is used.
//!
//! `object_store` lists as well, but neither metadata nor checksums, and stops at names that it could not write.

use serde::Deserialize;
use std::collections::HashMap;

/// One blob of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// As the service has it: it may be anything.
    pub name: String,
    /// Bytes
    pub size: u64,
    /// Changes with the content.
    pub tag: String,
    /// MD5 of the content in base64, if who wrote it gave it.
    pub md5: Option<String>,
    /// It stands for a folder.
    pub is_folder: bool,
}

/// One page of a list, and where the next begins.
pub(super) struct Page {
    pub(super) blobs: Vec<Listed>,
    pub(super) next: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Results {
    blobs: Blobs,
    next_marker: Option<String>,
}

#[derive(Deserialize)]
struct Blobs {
    #[serde(rename = "Blob", default)]
    blobs: Vec<Blob>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Blob {
    name: String,
    properties: Properties,
    metadata: Option<HashMap<String, String>>,
}

#[derive(Deserialize)]
struct Properties {
    #[serde(rename = "Content-Length")]
    length: u64,
    #[serde(rename = "Content-MD5")]
    md5: Option<String>,
    #[serde(rename = "Etag")]
    tag: String,
    /// Accounts with real folders list them.
    #[serde(rename = "ResourceType")]
    resource: Option<String>,
}

impl Page {
    /// # Errors
    /// It is no such answer.
    pub(super) fn read(xml: &[u8]) -> Result<Page, quick_xml::DeError> {
        let Results { blobs, next_marker } = quick_xml::de::from_reader(xml)?;
        let blobs = blobs.blobs.into_iter().map(Listed::from).collect();
        Ok(Page { blobs, next: next_marker.filter(|marker| !marker.is_empty()) })
    }
}

impl From<Blob> for Listed {
    fn from(Blob { name, properties, metadata }: Blob) -> Listed {
        // Tools that need folders write an empty blob with this mark.
        let mark = metadata.as_ref().and_then(|metadata| metadata.get("hdi_isfolder"));
        let is_folder = mark.is_some_and(|mark| mark.eq_ignore_ascii_case("true"))
            || properties.resource.is_some_and(|kind| kind == "directory");
        Listed {
            name,
            size: properties.length,
            // Headers have it in quotes, lists have not.
            tag: format!("\"{}\"", properties.tag.trim_matches('"')),
            md5: properties.md5.filter(|md5| !md5.is_empty()),
            is_folder,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read() {
        let xml = r#"<?xml version="1.0" encoding="utf-8"?>
<EnumerationResults ServiceEndpoint="https://a.blob.core.windows.net/" ContainerName="c"><Prefix>p/</Prefix>
<Blobs>
 <Blob><Name>p/a &amp; b.txt</Name><Properties><Creation-Time>x</Creation-Time><Etag>0x8D1</Etag><Content-Length>12</Content-Length>
  <Content-MD5>XrY7u+Ae7tCTyyK7j1rNww==</Content-MD5><BlobType>BlockBlob</BlobType></Properties><Metadata /><OrMetadata /></Blob>
 <Blob><Name>p/dir</Name><Properties><Etag>0x8D2</Etag><Content-Length>0</Content-Length><Content-MD5 /></Properties>
  <Metadata><hdi_isfolder>true</hdi_isfolder><other>x</other></Metadata></Blob>
 <Blob><Name>p/real</Name><Properties><Etag>"0x8D3"</Etag><ResourceType>directory</ResourceType><Content-Length>0</Content-Length></Properties></Blob>
</Blobs><NextMarker>2!abc</NextMarker></EnumerationResults>"#;
        let page = Page::read(xml.as_bytes()).unwrap();
        assert_eq!(page.next.as_deref(), Some("2!abc"));
        let listed = |name: &str, size, tag: &str, md5: Option<&str>, is_folder| Listed {
            name: name.into(),
            size,
            tag: tag.into(),
            md5: md5.map(str::to_owned),
            is_folder,
        };
        let md5 = Some("XrY7u+Ae7tCTyyK7j1rNww==");
        assert_eq!(
            page.blobs,
            [
                listed("p/a & b.txt", 12, "\"0x8D1\"", md5, false),
                listed("p/dir", 0, "\"0x8D2\"", None, true),
                listed("p/real", 0, "\"0x8D3\"", None, true),
            ]
        );
        let empty = b"<EnumerationResults><Blobs /><NextMarker /></EnumerationResults>";
        let page = Page::read(empty).unwrap();
        assert!(page.blobs.is_empty() && page.next.is_none());
        assert!(Page::read(b"<html/>").is_err());
    }
}
