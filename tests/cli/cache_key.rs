//! What makes `olive run` train again, and what does not.

use crate::support::binary::{root, succeed, text};
use crate::support::quickstart::Quickstart;
use std::path::Path;

const DATA: &str = "data_configs.0.load_dataset_config.params";

/// Whether the LoRA pass of the quickstart, with these overrides, is found in the cache.
fn is_cached(quickstart: &Quickstart, overrides: &[String]) -> bool {
    let overrides: Vec<&str> = overrides.iter().map(String::as_str).collect();
    let table = text(&succeed(&mut quickstart.run(&overrides)).stdout);
    table.lines().find(|line| line.starts_with("lora ")).unwrap().contains(" cached ")
}

fn rows() -> String {
    std::fs::read_to_string(root().join("datasets/olive-qa.jsonl")).unwrap()
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

#[test]
fn a_folder_of_data_may_move() {
    let quickstart = Quickstart::new(1);
    let folder = |name: &str| {
        let dir = quickstart.dir.path().join(name);
        write(&dir.join("rows.jsonl"), &rows());
        vec![format!("{DATA}.data_name={}", dir.display()), format!("{DATA}.data_files=null")]
    };
    assert!(!is_cached(&quickstart, &folder("here")));
    assert!(is_cached(&quickstart, &folder("there")));
}

#[test]
fn the_split_that_a_file_is_in_counts() {
    let quickstart = Quickstart::new(1);
    let rows = rows();
    let lines: Vec<&str> = rows.lines().collect();
    let files = [0, 1, 2].map(|index| {
        let path = quickstart.dir.path().join(format!("{index}.jsonl"));
        write(&path, &lines[index * 100..(index + 1) * 100].join("\n"));
        path
    });
    let splits = |boundary: usize| {
        let map = serde_json::json!({"a": files[..boundary], "b": files[boundary..]});
        vec![format!("{DATA}.data_files={map}"), format!("{DATA}.split=a[:50]+b[:50]")]
    };
    assert!(!is_cached(&quickstart, &splits(2)));
    assert!(!is_cached(&quickstart, &splits(1)), "the same files, but other rows");
    assert!(is_cached(&quickstart, &splits(1)));
}

#[cfg(target_os = "linux")]
#[test]
fn a_working_folder_need_not_have_a_name_in_unicode() {
    use std::os::unix::ffi::OsStrExt;
    let quickstart = Quickstart::new(1);
    let dir = quickstart.dir.path().join(std::ffi::OsStr::from_bytes(b"caf\xe9"));
    std::fs::create_dir_all(&dir).unwrap();
    for name in ["configs", "datasets", "model-cache"] {
        std::os::unix::fs::symlink(root().join(name), dir.join(name)).unwrap();
    }
    // A file that is old enough for its hash to be remembered.
    let data = dir.join("rows.jsonl");
    write(&data, &rows());
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
    std::fs::File::options().write(true).open(&data).unwrap().set_modified(old).unwrap();
    succeed(quickstart.run(&[&format!("{DATA}.data_files=rows.jsonl")]).current_dir(&dir));
}
