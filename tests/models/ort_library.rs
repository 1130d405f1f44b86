//! Finding and fetching ONNX Runtime.

use crate::support::binary::olive_process;
use crate::support::events::Recorder;
use crate::support::passes::build;
use crate::support::quickstart::base_model;
use crate::support::runtime::library;
use olive_core::Fault;
use olive_core::event::Event;
use olive_onnx::{ModelBuilderOptions, Precision};
use olive_runtime::{LibrarySearch, LibrarySource, Programs, RuntimeError, Wheel};
use sha2::{Digest, Sha256};
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
        offline: true,
        ..Default::default()
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
         [ \"$1 $2 $3\" = '-I -m pip' ] || exit 1\n\
         [ \"$4\" = download ] || exit 0\n\
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

/// What may be fetched from [`fake_pip`].
fn fake_wheel(dir: &Path) -> Wheel {
    let hash = Sha256::digest(std::fs::read(dir.join("fake.whl")).unwrap());
    let sha256: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    Wheel { version: olive_runtime::library_file::PINNED, platform: "any", sha256: sha256.into() }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn is_fetched_with_pip_once_even_by_two_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let bin = fake_pip(dir.path());
    let cache = dir.path().join("cache");
    std::fs::create_dir_all(cache.join("onnxruntime-partial-1/of a killed run")).unwrap();
    let search = LibrarySearch {
        cache: Some(cache.clone()),
        programs: Programs::of_path(bin.as_os_str()),
        wheel: Some(fake_wheel(dir.path())),
        ..Default::default()
    };
    let fetch = || {
        let log = Recorder::default();
        let origin = search.find_or_fetch(&log).unwrap().origin;
        assert_eq!(origin, LibrarySource::Cache);
        log.events().len()
    };
    let told = std::thread::scope(|scope| {
        let other = scope.spawn(fetch);
        fetch() + other.join().unwrap()
    });
    assert_eq!(told, 1, "one of the two says that it fetches");
    let calls = std::fs::read_to_string(dir.path().join("log")).unwrap();
    assert_eq!(calls.lines().count(), 1, "{calls}");
    let folder = format!("onnxruntime-{}", olive_runtime::library_file::PINNED);
    assert_eq!(names(&cache), [folder.as_str(), "onnxruntime.lock"], "no temporary files are left");
    // From now on neither pip nor the network is needed.
    let offline = LibrarySearch { cache: Some(cache), offline: true, ..Default::default() };
    assert!(offline.find_or_fetch(&()).is_ok());
}

#[test]
fn without_a_library_the_ways_to_get_one_are_named_and_a_strange_wheel_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let model =
        build(&base_model(), ModelBuilderOptions::new(Precision::Int4, "cpu"), &dir.path().join("model"));
    let bin = fake_pip(dir.path());
    let cache = dir.path().join("cache");
    let refused = |path: &Path, more: &[&str]| {
        let output = olive_process()
            .args(["generate", "--raw", "--prompt", "a", "--max-new-tokens", "1"])
            .arg(&model)
            .args(more)
            .env_clear()
            .env("PATH", path)
            .env("XDG_CACHE_HOME", &cache)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let told = refused(&bin, &["--offline"]);
    for way in ["ORT_DYLIB_PATH", "pip install onnxruntime", "next to the olive executable"] {
        assert!(told.contains(way), "{told}");
    }
    let told = refused(&dir.path().join("nothing"), &[]);
    assert!(told.contains("there is no pip"), "{told}");
    let told = refused(&bin, &[]);
    assert!(told.contains("SHA-256") && told.contains("another file"), "{told}");
    assert_eq!(names(&cache.join("olive")), ["onnxruntime.lock"], "nothing of it is kept");
}

/// A folder that looks as if it were Python, and its packages, to a Python that is started in it.
fn trap(dir: &Path) {
    let script = "open('RAN', 'w')\nprint('pip 25.0 from x (python 3.11)')\n";
    for name in ["pip.py", "site.py", "importlib.py", "sitecustomize.py", "runpy.py"] {
        std::fs::write(dir.join(name), script).unwrap();
    }
    std::fs::create_dir(dir.join("bin")).unwrap();
    for name in ["python3", "python", "pip3", "pip", "bin/python3", "bin/pip"] {
        let path = dir.join(name);
        std::fs::write(&path, "#!/bin/sh\n: > RAN\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let package = dir.join("onnxruntime/capi");
    std::fs::create_dir_all(&package).unwrap();
    std::fs::write(dir.join("onnxruntime/__init__.py"), script).unwrap();
    for name in ["libonnxruntime.so", "libonnxruntime.so.1.32.0"] {
        std::fs::write(package.join(name), "no library").unwrap();
        std::fs::write(dir.join(name), "no library").unwrap();
    }
    let cache = dir.join(".cache/olive").join(format!("onnxruntime-{}", olive_runtime::library_file::PINNED));
    std::fs::create_dir_all(&cache).unwrap();
    std::fs::write(cache.join("libonnxruntime.so"), "no library").unwrap();
    std::fs::create_dir_all(dir.join("lib/python3.11")).unwrap();
    symlink(dir, dir.join("lib/python3.11/site-packages")).unwrap();
}

#[test]
fn nothing_of_the_working_folder_is_executed_or_loaded() {
    let dir = tempfile::tempdir().unwrap();
    trap(dir.path());
    let path = std::env::var("PATH").unwrap();
    let python_path = format!(":{}", path);
    let home = tempfile::tempdir().unwrap();
    let environments: [&[(&str, &str)]; 6] = [
        &[],
        &[("PATH", &python_path)],
        &[("PATH", "bin:.:")],
        &[("PYTHONPATH", ".")],
        &[("PYTHONPATH", ""), ("VIRTUAL_ENV", "."), ("CONDA_PREFIX", ".")],
        &[("HOME", ""), ("XDG_CACHE_HOME", ".cache")],
    ];
    for environment in environments {
        let mut command = olive_process();
        command.current_dir(dir.path()).arg("doctor").env_remove("ORT_DYLIB_PATH").env("HOME", home.path());
        command.env("XDG_CACHE_HOME", home.path());
        let output = command.envs(environment.iter().copied()).output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{told}");
        assert!(!dir.path().join("RAN").exists(), "{environment:?}: {told}");
        let tried =
            told.lines().find(|line| line.contains("libonnxruntime.so") && line.contains("no library"));
        assert!(tried.is_none() && !told.contains("looking further"), "{environment:?}: {told}");
    }
}
