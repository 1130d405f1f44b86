use crate::service::Service;
use crate::{LONG, bytes, container, silent, write};
use olive_azureml::tree::LocalTree;
use olive_azureml::upload::{AssetLabel, upload};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

fn label() -> AssetLabel {
    AssetLabel { name: "n".into(), version: "1".into() }
}

fn complete() -> BTreeMap<String, String> {
    let pairs = [("upload_status", "completed"), ("name", "n"), ("version", "1")];
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

#[tokio::test]
async fn a_folder_is_uploaded_once() {
    let service = Service::start().await;
    let container = container(&service);
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("m");
    write(
        &folder,
        &[
            ("b #1?.txt", b"one"),
            ("a/50%.txt", b"two"),
            ("a/empty", b""),
            ("z.log", b"no"),
            (".gitignore", b"*.log"),
        ],
    );
    let tree = LocalTree::read(&folder).unwrap();
    let done = AtomicU64::new(0);
    let progress = |moved: olive_azureml::transfer::Moved| {
        assert_eq!(moved.total, tree.size());
        done.store(moved.done, Ordering::Relaxed);
    };
    let uploaded = upload(&container, &tree, "LocalUpload/h", &label(), &progress).await.unwrap();
    assert_eq!((uploaded.name.as_str(), uploaded.reused), ("LocalUpload/h/m", false));
    assert_eq!(done.into_inner(), tree.size());
    let names = service.with(|account| account.blobs.keys().cloned().collect::<Vec<_>>());
    let expected =
        [".gitignore", "a/50%.txt", "a/empty", "b #1?.txt"].map(|name| format!("LocalUpload/h/m/{name}"));
    assert_eq!(names, expected);
    assert_eq!(service.content("LocalUpload/h/m/a/50%.txt"), b"two");
    // The first of the paths is the indicator, and is marked when everything is there.
    assert_eq!(
        service.with(|account| account.blobs["LocalUpload/h/m/.gitignore"].metadata.clone()),
        complete()
    );
    assert!(service.requests("").last().unwrap().ends_with("/m/.gitignore metadata"));

    let again = upload(&container, &tree, "LocalUpload/h", &label(), &silent).await.unwrap();
    assert!(again.reused);
    assert_eq!(service.requests(""), ["HEAD /account/files/LocalUpload/h/m/.gitignore "]);
}

#[tokio::test]
async fn the_indicator_is_the_one_that_the_sdk_looks_at() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &[("m/B", b"1"), ("m/a", b"2"), ("blob", b"3")]);
    for (link, indicator) in [(false, "f/m/B"), (true, "f/m/weights")] {
        if link {
            // A link counts as what it leads to, which comes before the folder.
            std::os::unix::fs::symlink("../blob", dir.path().join("m/weights")).unwrap();
        }
        let service = Service::start().await;
        let tree = LocalTree::read(&dir.path().join("m")).unwrap();
        upload(&container(&service), &tree, "f", &label(), &silent).await.unwrap();
        let marked = service.with(|account| {
            let marked = account.blobs.iter().filter(|(_, blob)| !blob.metadata.is_empty());
            marked.map(|(name, _)| name.clone()).collect::<Vec<_>>()
        });
        assert_eq!(marked, [indicator]);
    }
}

#[tokio::test]
async fn an_upload_that_was_broken_off_is_done_again() {
    let service = Service::start().await;
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &[("file.bin", b"whole")]);
    let tree = LocalTree::read(&dir.path().join("file.bin")).unwrap();
    service.put("file.bin", "wh");
    let uploaded = upload(&container(&service), &tree, "", &label(), &silent).await.unwrap();
    assert_eq!((uploaded.name.as_str(), uploaded.reused), ("file.bin", false));
    assert_eq!(service.content("file.bin"), b"whole");
}

#[tokio::test]
async fn large_files_go_in_blocks_and_survive_the_end_of_a_signature() {
    let service = Service::start().await;
    let dir = tempfile::tempdir().unwrap();
    let content = bytes(LONG);
    write(dir.path(), &[("big", &content)]);
    for name in 0..20 {
        write(dir.path(), &[(&format!("small{name}"), b"x")]);
    }
    let tree = LocalTree::read(dir.path()).unwrap();
    // Within the files: one request asks for the indicator.
    service.with(|account| account.ends_after = Some(4));
    let uploaded = upload(&container(&service), &tree, "f", &label(), &silent).await.unwrap();
    assert_eq!(service.content(&format!("{}/big", uploaded.name)), content);
    assert_eq!(service.with(|account| (account.signature, account.blobs.len())), (1, 21));
    assert!(service.with(|account| account.most_at_once) <= 8);
    assert_eq!(
        service.with(|account| account.blobs[&format!("{}/big", uploaded.name)].metadata.clone()),
        complete()
    );
}

#[tokio::test]
async fn what_changes_on_the_way_is_not_marked_complete() {
    let service = Service::start().await;
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &[("file", b"before")]);
    let tree = LocalTree::read(dir.path()).unwrap();
    let change = |_| write(dir.path(), &[("file", b"something else")]);
    let error = upload(&container(&service), &tree, "f", &label(), &change).await.unwrap_err().to_string();
    assert!(error.contains("changed while"), "{error}");
    assert!(service.with(|account| account.blobs.values().all(|blob| blob.metadata.is_empty())));
}
