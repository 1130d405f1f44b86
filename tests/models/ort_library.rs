//! Finding and fetching ONNX Runtime.

use crate::support::binary::olive_process;
use crate::support::events::Recorder;
use crate::support::passes::build;
use crate::support::quickstart::base_model;
use crate::support::runtime::library;
use olive_core::Fault;
use olive_core::event::Event;
use olive_onnx::{ModelBuilderOptions, Precision};
use olive_runtime::{LibrarySearch, LibrarySource, RuntimeError};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;

fn put(dir: &Path) -> PathBuf {
    std::fs::create_dir_all(dir).unwrap();
    let path = dir.join("libonnxruntime.so.1");
    symlink(library().path, &path).unwrap();
    path
}

#[test]
fn the_places_are_searched_in_the_documented_order() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    put(&at("env"));
    put(&at("option"));
    put(&at("exe"));
    put(&at(&format!("cache/onnxruntime-{}", olive_runtime::library_file::PINNED)));
    put(&at("venv/lib/python3.12/site-packages/onnxruntime/capi"));
    let mut search = LibrarySearch {
        env: Some(at("env/libonnxruntime.so.1")),
        option: Some(at("option")), // A folder does, too.
        exe_dir: Some(at("exe")),
        cache: Some(at("cache")),
        python_prefixes: vec![at("nothing"), at("venv")],
        ask_python: false,
        offline: true,
    };
    let mut found = |change: &dyn Fn(&mut LibrarySearch)| {
        change(&mut search);
        search.find(&()).unwrap().map(|library| library.origin)
    };
    assert_eq!(found(&|_| ()), Some(LibrarySource::Environment));
    assert_eq!(found(&|s| s.env = None), Some(LibrarySource::Option));
    assert_eq!(found(&|s| s.option = None), Some(LibrarySource::NextToExecutable));
    assert_eq!(found(&|s| s.exe_dir = None), Some(LibrarySource::Cache));
    assert_eq!(found(&|s| s.cache = None), Some(LibrarySource::Python));
    assert_eq!(found(&|s| s.python_prefixes.clear()), None);
}

/// Builds a library that says it is ONNX Runtime of this version, and hangs when asked for its API.
fn impostor(dir: &Path, version: &str) -> PathBuf {
    let source = dir.join("impostor.c");
    let code = format!(
        "static const void *api(unsigned v) {{ for (;;) {{}} }}\n\
         static const char *version(void) {{ return \"{version}\"; }}\n\
         static const struct {{ const void *(*a)(unsigned); const char *(*v)(void); }} base = {{ api, version }};\n\
         const void *OrtGetApiBase(void) {{ return &base; }}\n"
    );
    std::fs::write(&source, code).unwrap();
    let library = dir.join("libonnxruntime.so");
    // Where Rust can link there is a C compiler.
    let built = std::process::Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(&source)
        .stderr(Stdio::null())
        .status();
    assert!(built.expect("a C compiler").success());
    library
}

#[test]
fn a_library_that_is_too_old_is_refused_before_it_is_started() {
    let dir = tempfile::tempdir().unwrap();
    let old = impostor(dir.path(), "1.10.0");
    let search = LibrarySearch { env: Some(old), ..Default::default() };
    let error = search.find(&()).unwrap_err();
    assert!(matches!(&error, RuntimeError::TooOld { version, .. } if version == "1.10.0"), "{error}");
    assert!(error.hint().unwrap().contains("pip install"));

    // One that was only come across is passed over, with a warning.
    let cache = dir.path().join("cache");
    put(&cache.join(format!("onnxruntime-{}", olive_runtime::library_file::PINNED)));
    let search = LibrarySearch {
        exe_dir: Some(dir.path().to_owned()),
        cache: Some(cache),
        offline: true,
        ..Default::default()
    };
    let log = Recorder::default();
    assert_eq!(search.find(&log).unwrap().unwrap().origin, LibrarySource::Cache);
    assert!(matches!(log.events().as_slice(), [Event::Warning { .. }]));
}

/// A folder with a `python3` whose pip "downloads" a wheel with the real library, and writes down that it did.
fn fake_pip(dir: &Path) -> PathBuf {
    let wheel = dir.join("fake.whl");
    let mut writer = zip::ZipWriter::new(File::create(&wheel).unwrap());
    let options = zip::write::SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Stored)
        .large_file(true);
    let real = library().path;
    let name = real.file_name().unwrap().to_string_lossy();
    writer.start_file(format!("onnxruntime/capi/{name}"), options).unwrap();
    std::io::copy(&mut File::open(&real).unwrap(), &mut writer).unwrap();
    writer.finish().unwrap();
    let bin = dir.join("bin");
    std::fs::create_dir(&bin).unwrap();
    let script = format!(
        "#!/bin/sh\n\
         [ \"$1\" = -m ] || exit 1\n\
         [ \"$3\" = download ] || exit 0\n\
         echo \"$@\" >> {log}\n\
         while [ \"$1\" != --dest ]; do shift; done\n\
         /bin/sleep 1\n\
         /bin/cp {wheel} \"$2/onnxruntime-0-any.whl\"\n",
        log = dir.join("log").display(),
        wheel = wheel.display()
    );
    let python = bin.join("python3");
    File::create(&python).unwrap().write_all(script.as_bytes()).unwrap();
    std::fs::set_permissions(&python, std::fs::Permissions::from_mode(0o755)).unwrap();
    bin
}

#[test]
fn is_fetched_with_pip_once_even_by_two_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let model =
        build(&base_model(), ModelBuilderOptions::new(Precision::Int4, "cpu"), &dir.path().join("model"));
    let bin = fake_pip(dir.path());
    let cache = dir.path().join("cache");
    let start = |path: &Path, more: &[&str]| {
        olive_process()
            .args(["generate", "--raw", "--prompt", "a", "--max-new-tokens", "1"])
            .arg(&model)
            .args(more)
            .env_clear()
            .env("PATH", path)
            .env("XDG_CACHE_HOME", &cache)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let nothing = dir.path().join("nothing");

    let output = start(&bin, &["--offline"]).wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    for way in ["ORT_DYLIB_PATH", "pip install onnxruntime", "next to the olive executable"] {
        assert!(stderr.contains(way), "{stderr}");
    }
    let output = start(&nothing, &[]).wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && stderr.contains("there is no pip"), "{stderr}");

    let both = [start(&bin, &[]), start(&bin, &[])].map(|child| child.wait_with_output().unwrap());
    for output in &both {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let calls = std::fs::read_to_string(dir.path().join("log")).unwrap();
    assert_eq!(calls.lines().count(), 1, "{calls}");
    let lines = both.iter().filter(|o| String::from_utf8_lossy(&o.stderr).contains("fetching onnxruntime"));
    assert_eq!(lines.count(), 1, "one of the two says that it fetches");

    // From now on neither pip nor the network is needed.
    assert!(start(&nothing, &["--offline"]).wait_with_output().unwrap().status.success());
    let left: Vec<String> = std::fs::read_dir(cache.join("olive"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with("onnxruntime"))
        .collect();
    assert!(left.is_empty(), "temporary files are left: {left:?}");
}
