//! Uploads of files and folders in the layout of Microsoft's SDK, so that each finds what the other has uploaded.
//!
//! What jobs read lies under `LocalUpload/{hash}/{name}` of a datastore, with the hash of [`hash::object_hash`].
//! Metadata of one blob, the indicator, say that all of them are there; they are written last.

use crate::blob::{AccessSource, Container};
use crate::error::{Error, Result};
use crate::hash;
use crate::safe_url::SafeUrl;
use crate::secret::Secret;
use crate::transfer::{Meter, PARALLEL, PIECE, Progress, blocking};
use crate::tree::{LocalFile, LocalTree};
use crate::uri::AssetUri;
use crate::workspace::{Datastore, PendingUpload, StoreAccess, WorkspaceClient};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use object_store::multipart::PartId;
use reqwest::Url;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Where the SDK puts what jobs read.
const FOLDER: &str = "LocalUpload";

/// Metadata of a blob whose upload, with all that belongs to it, is complete.
const COMPLETED: (&str, &str) = ("upload_status", "completed");

/// A blob has no more of them.
const MOST_BLOCKS: u64 = 50_000;

/// What the metadata of a complete upload name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssetLabel {
    pub name: String,
    pub version: String,
}

impl AssetLabel {
    /// For an upload that becomes no asset.
    fn anonymous() -> AssetLabel {
        AssetLabel { name: uuid::Uuid::new_v4().to_string(), version: "1".into() }
    }
}

/// Where something was uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// The blob, or what the names of all blobs of a folder begin with, without `/`.
    pub name: String,
    /// It was there, and nothing was sent.
    pub reused: bool,
}

/// Uploads a file or folder for jobs to read; does nothing if it is there. Gives its address, for a folder with `/`
/// at its end.
///
/// # Errors
/// See [`LocalTree::read`], [`Container`] and [`upload`].
pub async fn upload_for_job(
    workspace: &WorkspaceClient,
    store: &Datastore,
    path: &Path,
    progress: Progress<'_>,
) -> Result<AssetUri> {
    let transport = workspace.client().transport();
    let (tree, hash) = transport.unless_cancelled(look_at(path, hash::object_hash)).await??;
    let container = Container::of_datastore(workspace, store)?;
    let folder = format!("{FOLDER}/{hash}");
    let uploaded = upload(&container, &tree, &folder, &AssetLabel::anonymous(), progress).await?;
    let end = if tree.is_file() { "" } else { "/" };
    Ok(AssetUri::datastore(&store.name, format!("{}{end}", uploaded.name)))
}

/// Makes a code asset of a folder, or finds one with the same content. Gives its id.
///
/// # Errors
/// See [`LocalTree::read`], [`Container`] and [`upload`].
pub async fn upload_code(
    workspace: &WorkspaceClient,
    folder: &Path,
    progress: Progress<'_>,
) -> Result<String> {
    let transport = workspace.client().transport();
    let (tree, hash) = transport.unless_cancelled(look_at(folder, hash::content_hash)).await??;
    let label = AssetLabel::anonymous();
    if let Some(id) = workspace.code_with_hash(&label.name, &hash).await? {
        return Ok(id);
    }
    let place = workspace.start_code_upload(&label.name).await?;
    let container = code_container(workspace, &label.name, &place)?;
    let uploaded = upload(&container, &tree, "", &label, progress).await?;
    let address = format!("{}/{}", place.blob_uri.trim_end_matches('/'), uploaded.name);
    workspace.put_code(&label.name, &address, &hash).await
}

/// Uploads a file or folder as `folder/NAME`, unless its indicator says that it is there.
///
/// # Errors
/// The service refuses, nobody answers, a file cannot be read or changes meanwhile. Another upload begins anew.
pub async fn upload(
    container: &Container,
    tree: &LocalTree,
    folder: &str,
    label: &AssetLabel,
    progress: Progress<'_>,
) -> Result<Uploaded> {
    let name = if folder.is_empty() { tree.name.clone() } else { format!("{folder}/{}", tree.name) };
    let mut files: Vec<(&LocalFile, String)> = tree
        .files()
        .into_iter()
        .map(|file| (file, if tree.is_file() { name.clone() } else { format!("{name}/{}", file.name) }))
        .collect();
    // The indicator is the first in the order in which the SDK sorts them: by their paths here, as texts.
    files.sort_by_cached_key(|(file, blob)| (file.path.to_string_lossy().into_owned(), blob.clone()));
    let indicator = &files[0].1;
    let found = container.properties(indicator).await?;
    let status = found.as_ref().and_then(|found| found.metadata.get(COMPLETED.0));
    if status.is_some_and(|status| status == COMPLETED.1) {
        return Ok(Uploaded { name, reused: true });
    }
    let meter = Meter::new(tree.size(), progress);
    send(container, &files, &meter).await?;
    let metadata = [COMPLETED, ("name", label.name.as_str()), ("version", label.version.as_str())];
    container.set_metadata(indicator, &metadata).await?;
    Ok(Uploaded { name, reused: false })
}

/// Looks at a path and computes its hash, on a thread that may wait for disks.
async fn look_at(path: &Path, hash: fn(&LocalTree) -> Result<String>) -> Result<(LocalTree, String)> {
    let owned = path.to_owned();
    let work = move || {
        let tree = LocalTree::read(&owned)?;
        let hash = hash(&tree)?;
        Ok((tree, hash))
    };
    blocking("read", path, move || Ok(work())).await?
}

/// A part of a file that is sent in one request.
struct Piece<'a> {
    file: &'a LocalFile,
    blob: &'a str,
    offset: u64,
    length: u64,
    place: Place,
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// All of a file.
    Whole,
    Block,
    LastBlock,
}

impl<'a> Piece<'a> {
    fn of(file: &'a LocalFile, blob: &'a str) -> impl Iterator<Item = Piece<'a>> {
        let block = PIECE * file.size.div_ceil(PIECE * MOST_BLOCKS).max(1);
        let count = file.size.div_ceil(block).max(1);
        (0..count).map(move |index| Piece {
            file,
            blob,
            offset: index * block,
            length: block.min(file.size - index * block),
            place: match index {
                _ if count == 1 => Place::Whole,
                _ if index + 1 == count => Place::LastBlock,
                _ => Place::Block,
            },
        })
    }

    async fn read(&self) -> Result<Bytes> {
        let (path, offset) = (self.file.path.clone(), self.offset);
        let mut content = vec![0; usize::try_from(self.length).unwrap_or(usize::MAX)];
        let read = move || {
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(offset))?;
            file.read_exact(&mut content)?;
            Ok(content.into())
        };
        blocking("read", &self.file.path, read).await
    }
}

/// Sends all files, several pieces at a time. They come back in order, so that a blob is joined after its last block.
async fn send(container: &Container, files: &[(&LocalFile, String)], meter: &Meter<'_>) -> Result<()> {
    let pieces = files.iter().flat_map(|(file, blob)| Piece::of(file, blob));
    let mut sent = stream::iter(pieces).map(|piece| send_piece(container, piece, meter)).buffered(PARALLEL);
    let mut blocks = Vec::new();
    while let Some((piece, block)) = sent.try_next().await? {
        blocks.extend(block);
        if piece.place == Place::LastBlock {
            container.join(piece.blob, std::mem::take(&mut blocks)).await?;
        }
        if piece.place != Place::Block {
            piece.file.check_unchanged()?;
        }
    }
    Ok(())
}

async fn send_piece<'a>(
    container: &Container,
    piece: Piece<'a>,
    meter: &Meter<'_>,
) -> Result<(Piece<'a>, Option<PartId>)> {
    let content = piece.read().await?;
    let block = if piece.place == Place::Whole {
        container.put(piece.blob, content).await?;
        None
    } else {
        Some(container.put_block(piece.blob, content).await?)
    };
    meter.add(piece.length);
    Ok((piece, block))
}

/// The place that the service has for the files of a code asset.
fn code_container(workspace: &WorkspaceClient, code: &str, place: &PendingUpload) -> Result<Container> {
    let first = Mutex::new(Some(signature(&place.sas_uri)?));
    let source = CodeAccess { workspace: workspace.clone(), code: code.to_owned(), first };
    Container::at(workspace.client(), &place.blob_uri, Arc::new(source))
}

/// Access to the place of a code asset: the one that came with it, and then those that are asked for.
#[derive(Debug)]
struct CodeAccess {
    workspace: WorkspaceClient,
    code: String,
    first: Mutex<Option<StoreAccess>>,
}

#[async_trait]
impl AccessSource for CodeAccess {
    async fn access(&self) -> Result<StoreAccess> {
        if let Some(first) = self.first.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Ok(first);
        }
        signature(&self.workspace.start_code_upload(&self.code).await?.sas_uri)
    }
}

/// The signature of an address.
fn signature(address: &Secret) -> Result<StoreAccess> {
    let url = Url::parse(address.expose()).ok();
    let query = url.as_ref().and_then(Url::query).ok_or_else(|| Error::Protocol {
        url: SafeUrl::parse(address.expose()),
        what: "no address with a signature".into(),
    })?;
    Ok(StoreAccess::Sas(Secret::new(query)))
}
