//! Large files to the hub's storage, by the batch interface of Git LFS with whole objects and objects in parts.

use crate::answer::{Answer, Failure};
use crate::compare::{BATCH, Compared, Place};
use crate::hub::Hub;
use crate::local_file::LocalFile;
use crate::progress::Counter;
use crate::repository::Repository;
use crate::transfer::Transfers;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const LFS: &str = "application/vnd.git-lfs+json";

/// Objects on the way at a time; how many transfers that are, is the matter of [`Transfers`].
const CONCURRENT: usize = 4;

/// How often the storage is asked anew for an object: addresses expire while others are sent.
const RENEWALS: u32 = 3;

/// The largest object in one piece, if the hub says nothing of parts. S3 takes no larger ones.
const LARGEST_PIECE: u64 = 5 << 30;

#[derive(Deserialize)]
struct Batch {
    objects: Vec<Told>,
}

/// What the storage says of an object.
#[derive(Deserialize)]
struct Told {
    oid: String,
    /// None: it is there.
    actions: Option<Actions>,
    error: Option<ObjectError>,
}

#[derive(Deserialize)]
struct ObjectError {
    #[serde(default)]
    code: u16,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct Actions {
    upload: Option<Action>,
    verify: Option<Action>,
}

#[derive(Deserialize)]
struct Action {
    href: String,
    #[serde(default)]
    header: Option<Map<String, Value>>,
}

/// What was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Stored {
    pub files: usize,
    pub bytes: u64,
}

struct Object<'a> {
    file: &'a LocalFile,
    sha256: &'a str,
}

/// Brings what the storage lacks of these files there.
///
/// # Errors
/// The hub's or the storage's refusals; a file that changed.
pub(crate) async fn store(
    repository: &Repository<'_>,
    files: &[Compared<'_>],
    sent: &Counter,
) -> Result<Stored, Failure> {
    let objects: BTreeMap<&str, Object<'_>> = files
        .iter()
        .filter_map(|compared| match &compared.place {
            Place::Storage { sha256 } => Some((sha256.as_str(), Object { file: compared.file, sha256 })),
            Place::Regular => None,
        })
        .collect();
    let objects: Vec<Object<'_>> = objects.into_values().collect();
    let transfers = Transfers::new(repository.hub, sent);
    let mut stored = Stored::default();
    for batch in objects.chunks(BATCH) {
        let mut told = ask(repository, batch).await?;
        let works = batch.iter().map(|object| (object, told.remove(object.sha256)));
        let done: Vec<Option<u64>> = stream::iter(works)
            .map(|(object, told)| one(repository, &transfers, object, told, sent))
            .buffer_unordered(CONCURRENT)
            .try_collect()
            .await?;
        stored.files += done.iter().flatten().count();
        stored.bytes += done.iter().flatten().sum::<u64>();
    }
    Ok(stored)
}

async fn ask(repository: &Repository<'_>, objects: &[Object<'_>]) -> Result<BTreeMap<String, Told>, Failure> {
    let list: Vec<Value> =
        objects.iter().map(|object| json!({"oid": object.sha256, "size": object.file.size()})).collect();
    let body = json!({
        "operation": "upload",
        "transfers": ["basic", "multipart"],
        "objects": list,
        "hash_algo": "sha256",
        "ref": {"name": repository.revision},
    });
    let url = repository.hub.url(&format!("{}.git/info/lfs/objects/batch", repository.id));
    let text = body.to_string();
    let request = || {
        let request = repository.hub.request(Method::POST, &url);
        request.header("accept", LFS).header("content-type", LFS).body(text.clone())
    };
    let batch: Batch = repository.hub.ask(request).await?.json("what its storage lacks")?;
    Ok(batch.objects.into_iter().map(|told| (told.oid.clone(), told)).collect())
}

/// Stores an object: its bytes, if they were sent.
async fn one(
    repository: &Repository<'_>,
    transfers: &Transfers<'_>,
    object: &Object<'_>,
    mut told: Option<Told>,
    sent: &Counter,
) -> Result<Option<u64>, Failure> {
    let mut tried = 0;
    loop {
        let missing = || Failure::Odd("its storage says nothing of a file".to_owned());
        let Told { actions, error, .. } = told.ok_or_else(missing)?;
        if let Some(ObjectError { code, message }) = error {
            return Err(Failure::Storage { name: object.file.name.clone(), status: code, message });
        }
        let Some(Actions { upload: Some(upload), verify }) = actions else {
            if tried == 0 {
                sent.add(object.file.size());
            }
            return Ok((tried > 0).then_some(object.file.size()));
        };
        tried += 1;
        let done = match send(repository.hub, transfers, object, &upload).await {
            Ok(()) => confirm(repository.hub, object, verify.as_ref()).await,
            Err(failure) => Err(failure),
        };
        match done {
            Ok(()) => return Ok(Some(object.file.size())),
            Err(failure) if tried < RENEWALS && may_be_renewed(&failure) => {}
            Err(Failure::Refused(refusal)) => {
                let (status, message) = (refusal.status, refusal.message);
                return Err(Failure::Storage { name: object.file.name.clone(), status, message });
            }
            Err(failure) => return Err(failure),
        }
        told = ask(repository, std::slice::from_ref(object)).await?.remove(object.sha256);
    }
}

/// Whether another address may help: one that expired, or parts that were put together already.
fn may_be_renewed(failure: &Failure) -> bool {
    matches!(failure.status(), Some(400 | 403 | 404 | 410))
}

async fn send(
    hub: &Hub<'_>,
    transfers: &Transfers<'_>,
    object: &Object<'_>,
    upload: &Action,
) -> Result<(), Failure> {
    let (file, address) = (object.file, hub.given(&upload.href)?);
    let none = Map::new();
    let header = upload.header.as_ref().unwrap_or(&none);
    let Some(length) = header.get("chunk_size") else {
        if file.size() > LARGEST_PIECE {
            return Err(Failure::Odd(
                "its storage would have a file of more than 5 GB in one piece".to_owned(),
            ));
        }
        transfers.put(file, 0..file.size(), &address).await?;
        return Ok(());
    };
    let length = length.as_u64().or_else(|| length.as_str()?.parse().ok()).filter(|length| *length > 0);
    let length = length.ok_or_else(|| Failure::Odd("the length of parts is none".to_owned()))?;
    let parts = parts(hub, header, file.size().div_ceil(length))?;
    let works = parts.into_iter().zip(0_u64..).map(|(address, index)| async move {
        let range = index * length..file.size().min((index + 1) * length);
        let answer = transfers.put(file, range, &address).await?;
        let tag = answer.headers.get("etag").and_then(|tag| tag.to_str().ok()).filter(|tag| !tag.is_empty());
        let tag = tag.ok_or_else(|| Failure::Odd("its storage does not name a part".to_owned()))?;
        Ok::<_, Failure>(json!({"partNumber": index + 1, "etag": tag}))
    });
    let named: Vec<Value> = stream::iter(works).buffered(CONCURRENT).try_collect().await?;
    let body = json!({"oid": object.sha256, "parts": named}).to_string();
    // The address is signed.
    let request = || {
        let request = hub.to_storage(Method::POST, &address);
        request.header("accept", LFS).header("content-type", LFS).body(body.clone())
    };
    hub.ask(request).await?;
    Ok(())
}

/// The addresses of the parts, in order: the keys of the header that are numbers.
fn parts(hub: &Hub<'_>, header: &Map<String, Value>, expected: u64) -> Result<Vec<String>, Failure> {
    let numbered: BTreeMap<u64, &str> =
        header.iter().filter_map(|(key, value)| Some((key.parse().ok()?, value.as_str()?))).collect();
    let is_whole = numbered.len() as u64 == expected && numbered.keys().copied().eq(1..=expected);
    if !is_whole {
        return Err(Failure::Odd("the parts of a file are not as many as they must be".to_owned()));
    }
    numbered.into_values().map(|address| hub.given(address)).collect()
}

/// Has the hub look at what arrived.
async fn confirm(hub: &Hub<'_>, object: &Object<'_>, verify: Option<&Action>) -> Result<(), Failure> {
    let Some(verify) = verify else { return Ok(()) };
    let url = hub.given(&verify.href)?;
    let body = json!({"oid": object.sha256, "size": object.file.size()});
    let answer: Result<Answer, Failure> = if hub.is_own(&url) {
        hub.post(&url, &body).await
    } else {
        let text = body.to_string();
        hub.ask(|| {
            hub.to_storage(Method::POST, &url).header("content-type", "application/json").body(text.clone())
        })
        .await
    };
    answer.map(drop)
}
