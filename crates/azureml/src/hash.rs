//! The two hashes that Microsoft's SDK gives to what it uploads. Uploads with the same hash are the same, whoever
//! made them.
//!
//! Source of both: `azure.ai.ml._utils._asset_utils` of azure-ai-ml 1.35.2. Files are read in pieces of [`PIECE`].

use crate::error::{Error, Result};
use crate::tree::{LocalFile, LocalTree, Node};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;

/// What an object hash begins with.
const SEED: &[u8] = b"Initialize for october 2021 AML CLI version";

/// Bytes
const PIECE: usize = 1 << 20;

/// The hash in the names of uploads, `LocalUpload/{hash}/…`: SHA-256 in hex over a fixed text and then, of a file,
/// its content; of a folder, name and content of all entries in the order of their names in lower case, folders
/// inside one another.
///
/// The name of a single file does not matter.
///
/// # Errors
/// A file cannot be read, or changes meanwhile.
pub fn object_hash(tree: &LocalTree) -> Result<String> {
    let mut hash = Sha256::new_with_prefix(SEED);
    add_node(&tree.root, &mut hash)?;
    Ok(hex(hash))
}

/// The hash of a code asset, which the service computes as well: SHA-256 in hex over the number of files,
/// `#name#size` of each, and their contents, in the order of their names in lower case.
///
/// # Errors
/// A file cannot be read, or changes meanwhile.
pub fn content_hash(tree: &LocalTree) -> Result<String> {
    let mut files = tree.files();
    files.sort_by_cached_key(|file| (file.name.to_lowercase(), file.name.clone()));
    let mut hash = Sha256::new_with_prefix(files.len().to_string());
    for file in &files {
        hash.update(format!("#{}#{}", file.name, file.size));
    }
    for file in &files {
        add_file(file, &mut hash)?;
    }
    Ok(hex(hash))
}

fn add_node(node: &Node, hash: &mut Sha256) -> Result<()> {
    match node {
        Node::File(file) => add_file(file, hash),
        Node::Folder(entries) => entries.iter().filter(|entry| !entry.excluded).try_for_each(|entry| {
            hash.update(&entry.name);
            add_node(&entry.node, hash)
        }),
    }
}

fn add_file(file: &LocalFile, hash: &mut Sha256) -> Result<()> {
    let failed = |source| Error::Io { action: "read", path: file.path.clone(), source };
    let mut content = File::open(&file.path).map_err(failed)?;
    let mut piece = vec![0; PIECE];
    loop {
        match content.read(&mut piece).map_err(failed)? {
            0 => return file.check_unchanged(),
            read => hash.update(&piece[..read]),
        }
    }
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    fn write(folder: &Path, files: &[(&str, &[u8])]) {
        for (name, content) in files {
            let path = folder.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
    }

    /// Object hash and content hash of azure-ai-ml 1.35.2 for the same files.
    #[track_caller]
    fn assert_hashes(path: &Path, object: &str, content: &str) {
        let tree = LocalTree::read(path).unwrap();
        let hashes = (object_hash(&tree).unwrap(), content_hash(&tree).unwrap());
        assert_eq!(hashes, (object.to_owned(), content.to_owned()));
    }

    #[track_caller]
    fn assert_names(path: &Path, expected: &[&str]) {
        let tree = LocalTree::read(path).unwrap();
        let mut names: Vec<&str> = tree.files().iter().map(|file| file.name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, expected);
    }

    #[test]
    fn a_file() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &[("train.json", br#"{"q":1}"#)]);
        symlink("train.json", dir.path().join("link.json")).unwrap();
        let object = "534ba8d010b213b6af44c54b2dbacc826b4fc205ff2acc7edc0332962cde9a81";
        let content = "743757ce52d61f55667ce64d366b0fdabf316d428ec6a847eb50e4c254d219fb";
        assert_hashes(&dir.path().join("train.json"), object, content);
        let tree = LocalTree::read(&dir.path().join("link.json")).unwrap();
        assert_eq!((tree.name.as_str(), object_hash(&tree).unwrap().as_str()), ("link.json", object));
    }

    #[test]
    fn folders_in_the_order_of_small_letters() {
        let dir = tempfile::tempdir().unwrap();
        let files: [(&str, &[u8]); 8] = [
            ("B.txt", b"b"),
            ("a.txt", b"a"),
            ("a-b/x", b"1"),
            ("a/x", b"2"),
            ("A2/y", b"3"),
            ("Ä.txt", b"u"),
            ("ä/ö", b""),
            ("empty/sub/z", b"z"),
        ];
        write(dir.path(), &files);
        std::fs::create_dir(dir.path().join("hollow")).unwrap();
        assert_hashes(
            dir.path(),
            "50fda7b0b49157fe1a64e52c41d050cd1e12c939a1275fa78c3262b354e81859",
            "d88457b7aab1438141006edaf7950ddd39e856b19f7c0e117c6f1ed2fc8023ca",
        );
    }

    #[test]
    fn ignored_files_do_not_count_and_ignored_folders_in_part() {
        let dir = tempfile::tempdir().unwrap();
        let rules = b"# c\n*.log\ndata/\n!data/keep.txt\nbuild\n!build/keep.txt\n/top.txt\n";
        let files: [(&str, &[u8]); 10] = [
            (".amlignore", rules),
            (".gitignore", b"*\n"),
            ("a.log", b"1"),
            ("data/x", b"2"),
            ("data/keep.txt", b"3"),
            ("build/y", b"4"),
            ("build/keep.txt", b"5"),
            ("top.txt", b"6"),
            ("sub/top.txt", b"7"),
            ("sub/b.log", b"8"),
        ];
        write(dir.path(), &files);
        assert_hashes(
            dir.path(),
            "61db18e7b7a8b5fd6379dfb5791f742a5ad6269e0ac10fb100afabb8bf6a5088",
            "25572623283bc5b6eb550aeabf5c95be4c5451d234070196b6a301d182cb9643",
        );
        assert_names(
            dir.path(),
            &[".amlignore", ".gitignore", "build/keep.txt", "data/keep.txt", "sub/top.txt"],
        );
    }

    #[test]
    fn links_stand_for_what_they_lead_to() {
        let dir = tempfile::tempdir().unwrap();
        let files: [(&str, &[u8]); 5] = [
            ("outside/in.txt", b"o"),
            ("outside/skip.log", b"s"),
            ("blob", b"content"),
            ("m/.gitignore", b"*.log\n"),
            ("m/own.txt", b"w"),
        ];
        write(dir.path(), &files);
        let folder = dir.path().join("m");
        symlink(dir.path().join("outside"), folder.join("linked")).unwrap();
        symlink("../blob", folder.join("weights.bin")).unwrap();
        assert_hashes(
            &folder,
            "02adc1e010532367b072a4d633b7f57930fec8e272e70932bfe95ee4a578a749",
            "5b68446f9b31e407086988e2961fc8af2010264a914a4e4cf606d418bd5997a0",
        );
        assert_names(&folder, &[".gitignore", "linked/in.txt", "own.txt", "weights.bin"]);
        symlink("..", folder.join("linked/up")).unwrap();
        let error = LocalTree::read(&folder).unwrap_err().to_string();
        assert!(error.contains("a link in it leads back to it"), "{error}");
    }

    #[test]
    fn a_file_that_changes_meanwhile_has_no_hash() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &[("a", b"one")]);
        let tree = LocalTree::read(dir.path()).unwrap();
        write(dir.path(), &[("a", b"longer")]);
        assert!(object_hash(&tree).unwrap_err().to_string().contains("changed while"));
        assert!(content_hash(&tree).is_err());
    }

    #[test]
    fn there_must_be_something_to_upload() {
        let dir = tempfile::tempdir().unwrap();
        let reason = |path: &Path| LocalTree::read(path).unwrap_err().to_string();
        assert!(reason(dir.path()).contains("no files to upload"));
        assert!(reason(&dir.path().join("none")).contains("none"));
        symlink("nowhere", dir.path().join("broken")).unwrap();
        assert!(reason(dir.path()).contains("broken"));
    }
}
