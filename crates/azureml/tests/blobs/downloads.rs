use crate::service::Service;
use crate::{LONG, bytes, container, silent};
use olive_azureml::download::{Downloaded, PathKind, download, download_file, download_folder, kind_of};
use std::collections::BTreeMap;
use std::path::Path;

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(here) = folders.pop() {
        for entry in std::fs::read_dir(here).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                found.insert(name, std::fs::read(path).unwrap());
            }
        }
    }
    found
}

#[tokio::test]
async fn a_folder_comes_whole() {
    let service = Service::start().await;
    let long = bytes(LONG);
    service.put("out/a b&c#.txt", "one");
    service.put("out/deep/er/two", "two");
    service.put("out/empty", "");
    service.put("out/long", long.clone());
    service.put("out/folder", "");
    service.put("out/folder/x", "x");
    service.put("output/other", "not asked for");
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("new");
    let got = download_folder(&container(&service), "out/", &target, &silent).await.unwrap();
    assert_eq!(got, Downloaded { files: 5, bytes: LONG as u64 + 7 });
    let expected: [(&str, &[u8]); 5] = [
        ("a b&c#.txt", b"one"),
        ("deep/er/two", b"two"),
        ("empty", b""),
        ("folder/x", b"x"),
        ("long", &long),
    ];
    assert_eq!(files(&target), expected.map(|(name, content)| (name.to_owned(), content.to_vec())).into());
    assert!(!target.join(".unfinished-download").exists());
    assert!(service.with(|account| account.most_at_once) <= 8);
}

#[tokio::test]
async fn a_download_goes_on_where_it_broke_off() {
    let service = Service::start().await;
    let long = bytes(LONG);
    service.put("o/1", "first");
    service.put("o/long", long.clone());
    let broken = ("bytes=8388608-".to_owned(), 403, "AuthorizationPermissionMismatch");
    service.with(|account| account.refusals.push(broken));
    let container = container(&service);
    let dir = tempfile::tempdir().unwrap();
    download_folder(&container, "o", dir.path(), &silent).await.unwrap_err();
    assert!(!dir.path().join("1").exists(), "nothing is shown before all is there");
    service.with(|account| account.refusals.clear());
    service.requests("");
    download_folder(&container, "o", dir.path(), &silent).await.unwrap();
    assert_eq!(service.requests("bytes="), ["GET /account/files/o/long bytes=8388608-8388612"]);
    assert_eq!(files(dir.path()), [("1".to_owned(), b"first".to_vec()), ("long".to_owned(), long)].into());
}

#[tokio::test]
async fn another_content_is_not_taken_for_the_rest() {
    let service = Service::start().await;
    service.put("o/long", bytes(LONG));
    let broken = ("bytes=8388608-".to_owned(), 403, "AuthorizationPermissionMismatch");
    service.with(|account| account.refusals.push(broken));
    let container = container(&service);
    let dir = tempfile::tempdir().unwrap();
    download_file(&container, "o/long", dir.path(), &silent).await.unwrap_err();
    service.with(|account| account.refusals.clear());
    let other = vec![7; LONG];
    service.put("o/long", other.clone());
    download_file(&container, "o/long", dir.path(), &silent).await.unwrap();
    assert_eq!(files(dir.path()), [("long".to_owned(), other)].into());
}

#[tokio::test]
async fn a_blob_that_changes_meanwhile_is_named() {
    let service = Service::start().await;
    service.put("o/file", "before");
    let changed = ("bytes=".to_owned(), 412, "ConditionNotMet");
    service.with(|account| account.refusals.push(changed));
    let dir = tempfile::tempdir().unwrap();
    let error = download(&container(&service), "o/file", dir.path(), &silent).await.unwrap_err().to_string();
    assert!(error.contains("`o/file` changed while"), "{error}");
}

#[tokio::test]
async fn a_signature_may_end_in_the_middle() {
    let service = Service::start().await;
    let long = bytes(LONG);
    service.put("o/long", long.clone());
    service.put("o/short", "s");
    service.with(|account| account.ends_after = Some(2));
    let dir = tempfile::tempdir().unwrap();
    download_folder(&container(&service), "o", dir.path(), &silent).await.unwrap();
    assert_eq!(service.with(|account| account.signature), 1);
    assert_eq!(files(dir.path()), [("long".to_owned(), long), ("short".to_owned(), b"s".to_vec())].into());
}

#[tokio::test]
async fn what_has_another_checksum_is_not_kept() {
    let service = Service::start().await;
    service.put("o/file", "content");
    service.with(|account| {
        account.blobs.get_mut("o/file").unwrap().md5 = Some("XrY7u+Ae7tCTyyK7j1rNww==".into())
    });
    let dir = tempfile::tempdir().unwrap();
    let error =
        download_folder(&container(&service), "o", dir.path(), &silent).await.unwrap_err().to_string();
    assert!(error.contains("`o/file` does not have its size or its checksum"), "{error}");
    assert!(files(dir.path()).is_empty());
}

#[tokio::test]
async fn names_that_lead_out_are_refused_before_anything_is_written() {
    for name in ["../evil", "/etc/evil", "a/../../evil", "a\\..\\evil", "a//evil"] {
        let service = Service::start().await;
        service.put("o/fine", "fine");
        service.put(&format!("o/{name}"), "evil");
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("target");
        let error =
            download_folder(&container(&service), "o", &target, &silent).await.unwrap_err().to_string();
        assert!(error.contains("evil"), "{error}");
        assert!(files(dir.path()).is_empty(), "{name}");
        assert_eq!(service.requests("bytes="), [""; 0]);
    }
}

#[tokio::test]
async fn files_are_told_from_folders() {
    let service = Service::start().await;
    service.put("d/file", "x");
    service.put("d/folder/a", "x");
    service.put("d/marked", "");
    service.put("d/marked/a", "x");
    let mark = BTreeMap::from([("hdi_isfolder".to_owned(), "true".to_owned())]);
    service.with(|account| account.blobs.get_mut("d/marked").unwrap().metadata = mark);
    let container = container(&service);
    for (path, expected) in [
        ("d/file", Some(PathKind::File)),
        ("d/folder", Some(PathKind::Folder)),
        ("d/folder/", Some(PathKind::Folder)),
        ("d/marked", Some(PathKind::Folder)),
        ("", Some(PathKind::Folder)),
        ("d/fil", None),
        ("d/fold", None),
    ] {
        assert_eq!(kind_of(&container, path).await.unwrap(), expected, "{path}");
    }
    let dir = tempfile::tempdir().unwrap();
    let nothing = download_folder(&container, "d/fold", dir.path(), &silent).await.unwrap_err().to_string();
    assert!(nothing.contains("nothing under `d/fold`"), "{nothing}");
}
