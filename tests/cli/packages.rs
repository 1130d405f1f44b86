//! What `scripts/package` puts around the program: the wheel and the bill of materials.

use crate::support::binary::{root, text};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What cargo says of a program that uses one crate itself, another in tests, and has one of its own.
fn metadata(dir: &Path) -> PathBuf {
    let package = |name: &str, source: Value, folder: &str| {
        json!({"id": name, "name": name, "version": "1.2.3", "license": "MIT/Apache-2.0", "source": source, "repository": null,
               "description": "It does.", "manifest_path": format!("/home/ada/olive/{folder}/Cargo.toml"),
               "targets": [{"kind": ["lib"]}]})
    };
    let used = |name: &str, kind: Value| json!({"pkg": name, "dep_kinds": [{"kind": kind}]});
    let metadata = json!({
        "workspace_root": "/home/ada/olive",
        "packages": [
            package("olive", Value::Null, "."), package("own", Value::Null, "crates/own"),
            package("used", json!("registry"), "../used"), package("tests-only", json!("registry"), "../tests"),
        ],
        "resolve": {"root": "olive", "nodes": [
            {"id": "olive", "deps": [used("own", Value::Null), used("tests-only", json!("dev"))]},
            {"id": "own", "deps": [used("used", Value::Null)]},
            {"id": "used", "deps": []}, {"id": "tests-only", "deps": []},
        ]},
    });
    let file = dir.join("metadata.json");
    std::fs::write(&file, metadata.to_string()).unwrap();
    file
}

fn python(script: &str) -> Command {
    let mut command = Command::new("python3");
    command.current_dir(root()).arg(root().join("scripts/packaging").join(script));
    command
}

fn printed(command: &mut Command) -> String {
    let output = command.output().expect("python3 is there");
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// Writes a wheel into a new folder.
fn wheel(dir: &Path, folder: &str) -> PathBuf {
    let (out, program, licence) = (dir.join(folder), dir.join("olive"), dir.join("LICENSE"));
    std::fs::create_dir(&out).unwrap();
    std::fs::write(&program, "#!/bin/sh\necho it runs\n").unwrap();
    std::fs::write(&licence, "MIT").unwrap();
    let mut command = python("wheel.py");
    command
        .arg(metadata(dir))
        .arg(&program)
        .args(["manylinux_2_28_x86_64", "1700000000"])
        .arg(&out)
        .arg(&licence);
    PathBuf::from(printed(command.arg("--sbom").arg(&licence)).trim())
}

#[test]
fn the_wheel_is_the_same_each_time_and_its_record_is_true() {
    let dir = tempfile::tempdir().unwrap();
    let wheels = [wheel(dir.path(), "one"), wheel(dir.path(), "two")];
    assert!(wheels[0].ends_with("one/olive_rs-1.2.3-py3-none-manylinux_2_28_x86_64.whl"), "{wheels:?}");
    let bytes = wheels.each_ref().map(|wheel| std::fs::read(wheel).unwrap());
    assert_eq!(bytes[0], bytes[1]);
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(&bytes[0])).unwrap();
    let mut read = |name: &str| {
        let mut content = Vec::new();
        archive.by_name(name).unwrap().read_to_end(&mut content).unwrap();
        content
    };
    let record = text(&read("olive_rs-1.2.3.dist-info/RECORD"));
    let rows: Vec<Vec<&str>> = record.lines().map(|line| line.split(',').collect()).collect();
    for row in rows.iter().filter(|row| !row[1].is_empty()) {
        let content = read(row[0]);
        let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(&content));
        assert_eq!(row[1], format!("sha256={digest}"), "{}", row[0]);
        assert_eq!(row[2], content.len().to_string(), "{}", row[0]);
    }
    assert_eq!(rows.len(), archive.len(), "{record}");
}

#[test]
fn pip_installs_the_program_as_olive_rs() {
    let dir = tempfile::tempdir().unwrap();
    let wheel = wheel(dir.path(), "out");
    // Another tag, so that it is installed on every machine; the file's name decides.
    let name = wheel.file_name().unwrap().to_str().unwrap().replace("manylinux_2_28_x86_64", "any");
    let wheel_of_any = dir.path().join(name);
    std::fs::rename(wheel, &wheel_of_any).unwrap();
    let target = dir.path().join("installed");
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target"])
        .arg(&target)
        .arg(&wheel_of_any);
    printed(&mut pip);
    let program = target.join("bin/olive-rs");
    assert_eq!(program.metadata().unwrap().permissions().mode() & 0o111, 0o111);
    assert_eq!(printed(&mut Command::new(program)), "it runs\n");
    let facts = std::fs::read_to_string(target.join("olive_rs-1.2.3.dist-info/METADATA")).unwrap();
    assert!(
        facts.contains("\nName: olive-rs\nVersion: 1.2.3\n") && facts.contains("\nLicense-Expression: "),
        "{facts}"
    );
}

#[test]
fn the_bill_of_materials_has_what_is_compiled_in_and_no_folder_of_the_machine() {
    let dir = tempfile::tempdir().unwrap();
    let (tree, lock) = (dir.path().join("tree"), dir.path().join("Cargo.lock"));
    std::fs::write(
        &tree,
        "olive v1.2.3 (/home/ada/olive)\nown v1.2.3 (/home/ada/olive/crates/own)\nused v1.2.3 (*)\n",
    )
    .unwrap();
    std::fs::write(&lock, "[[package]]\nname = \"used\"\nversion = \"1.2.3\"\nchecksum = \"00ff\"\n")
        .unwrap();
    let mut command = python("sbom.py");
    let bill =
        printed(command.arg(metadata(dir.path())).arg(&tree).arg(&lock).args(["0123456789ab", "1700000000"]));
    assert!(!bill.contains("/home"), "{bill}");
    let bill: Value = serde_json::from_str(&bill).unwrap();
    assert_eq!(bill["metadata"]["timestamp"], "2023-11-14T22:13:20+00:00");
    let [own, used] = bill["components"].as_array().unwrap().as_slice() else { panic!("{bill:#}") };
    assert_eq!(own["properties"][0]["value"], "crates/own");
    assert_eq!(used["purl"], "pkg:cargo/used@1.2.3");
    assert_eq!(used["hashes"][0]["content"], "00ff");
    assert_eq!(used["licenses"][0]["expression"], "MIT OR Apache-2.0");
    assert_eq!(
        bill["dependencies"][1],
        json!({"ref": "pkg:cargo/own@1.2.3", "dependsOn": ["pkg:cargo/used@1.2.3"]})
    );
}
