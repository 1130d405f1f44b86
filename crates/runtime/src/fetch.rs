//! Taking the library out of the `onnxruntime` wheel, which pip downloads as this machine is set up to.

use super::library_file::is_library;
use super::wheel::Wheel;
use super::{Programs, RuntimeError};
use olive_core::event::{Event, EventSink};
use olive_core::file;
use sha2::{Digest, Sha256};
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Begins the names of folders in which a wheel is unpacked.
const PARTIAL: &str = "onnxruntime-partial-";

/// Downloads a wheel and publishes its library as the folder `target`, inside `cache`, which is absolute.
///
/// A second process that wants the same waits for the first and finds the folder there.
///
/// # Errors
/// No pip, no such wheel, one with another content, no space.
pub(crate) fn fetch(
    wheel: &Wheel,
    programs: &Programs,
    cache: &Path,
    target: &Path,
    events: &dyn EventSink,
) -> Result<(), RuntimeError> {
    let failed =
        |what: &str, e: &dyn std::fmt::Display| RuntimeError::Fetch { reason: format!("{what}: {e}") };
    std::fs::create_dir_all(cache).map_err(|e| failed("the cache folder cannot be made", &e))?;
    let lock = file::open_lock(&cache.join("onnxruntime.lock"))
        .map_err(|e| failed("the lock cannot be made", &e))?;
    file::uninterrupted(|| lock.lock()).map_err(|e| failed("the lock cannot be taken", &e))?;
    if target.is_dir() {
        return Ok(());
    }
    remove_left_overs(cache);
    let version = wheel.version;
    events.emit(Event::Info {
        message: format!("ONNX Runtime was not found; fetching onnxruntime {version} with pip, once"),
    });
    let work = tempfile::Builder::new().prefix(PARTIAL).tempdir_in(cache);
    let work = work.map_err(|e| failed("no temporary folder", &e))?;
    let downloaded = download(wheel, programs, work.path())?;
    let staged = work.path().join("library");
    std::fs::create_dir(&staged).map_err(|e| failed("no temporary folder", &e))?;
    unpack(&downloaded, &staged).map_err(|e| failed("the wheel cannot be unpacked", &e))?;
    std::fs::rename(&staged, target).map_err(|e| failed("the library cannot be put into the cache", &e))?;
    Ok(())
}

/// Removes what runs that were killed left; the lock says that nobody is at work.
fn remove_left_overs(cache: &Path) {
    for entry in std::fs::read_dir(cache).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(PARTIAL) {
            // What cannot be removed takes up space and does no harm.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Has pip put the wheel into `dir`. The library does not depend on Python, so it need not be the wheel of the Python that
/// pip runs on.
fn download(wheel: &Wheel, programs: &Programs, dir: &Path) -> Result<PathBuf, RuntimeError> {
    let failed = |reason: String| RuntimeError::Fetch { reason };
    let pip = programs.pip().ok_or_else(|| failed("there is no pip".into()))?;
    let release = format!("onnxruntime=={}", wheel.version);
    let mut arguments: Vec<&OsStr> = [
        "download",
        "--quiet",
        "--no-input",
        "--disable-pip-version-check",
        "--no-deps",
        "--only-binary=:all:",
    ]
    .map(OsStr::new)
    .into();
    arguments
        .extend(["--implementation", "cp", "--python-version", "3.12", "--abi", "cp312"].map(OsStr::new));
    arguments.extend(["--platform", wheel.platform, "--dest"].map(OsStr::new));
    arguments.extend([dir.as_os_str(), OsStr::new(&release)]);
    let output = pip.run(arguments).map_err(|e| failed(format!("pip does not start: {e}")))?;
    let Some(path) = wheel_in(dir).filter(|_| output.status.success()) else {
        let complaint = last_error(&String::from_utf8_lossy(&output.stderr));
        return Err(failed(format!("`{pip} download {release}` says: {complaint}")));
    };
    let found = sha256(&path).map_err(|e| failed(format!("the wheel cannot be read: {e}")))?;
    if found != wheel.sha256 {
        return Err(failed(format!(
            "the wheel of {release} that `{pip}` gives has the SHA-256 {found}, not {}: it is another file",
            wheel.sha256
        )));
    }
    Ok(path)
}

fn sha256(path: &Path) -> std::io::Result<String> {
    let mut hasher = Sha256::new();
    let mut file = File::open(path)?;
    let mut piece = vec![0; 1 << 20];
    loop {
        match file::read_piece(&mut file, &mut piece)? {
            0 => break,
            read => hasher.update(&piece[..read]),
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn wheel_in(dir: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(dir).ok()?;
    entries.filter_map(|e| Some(e.ok()?.path())).find(|path| path.extension().is_some_and(|e| e == "whl"))
}

/// The last `ERROR:` line of pip, which says most.
fn last_error(stderr: &str) -> String {
    let mut lines = stderr.lines().rev().map(str::trim).filter(|line| !line.is_empty());
    let error = lines.clone().find_map(|line| line.strip_prefix("ERROR: "));
    error.or_else(|| lines.next()).unwrap_or("nothing").to_owned()
}

/// Writes `onnxruntime/capi/<library>` and the licence texts of the wheel into `target`.
fn unpack(wheel: &Path, target: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let mut archive = zip::ZipArchive::new(File::open(wheel)?)?;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index)?;
        let Some(path) = entry.enclosed_name() else { continue };
        let Some(name) = path.file_name().map(|n| n.to_string_lossy().into_owned()) else { continue };
        let library = path.parent() == Some(Path::new("onnxruntime/capi")) && is_library(&name);
        let notice = path.parent() == Some(Path::new("onnxruntime"))
            && (name.starts_with("LICENSE") || name.starts_with("ThirdPartyNotices"));
        if library || notice {
            let mut file = File::create(target.join(&name))?;
            std::io::copy(&mut entry, &mut file)?;
            file.sync_all()?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn takes_only_the_library_and_the_licences_out_of_a_wheel() {
        let dir = tempfile::tempdir().unwrap();
        let wheel = dir.path().join("onnxruntime-1-any.whl");
        let library = if cfg!(windows) {
            "onnxruntime.dll"
        } else if cfg!(target_os = "macos") {
            "libonnxruntime.1.0.0.dylib"
        } else {
            "libonnxruntime.so.1.0.0"
        };
        let mut writer = zip::ZipWriter::new(File::create(&wheel).unwrap());
        for name in [
            &format!("onnxruntime/capi/{library}"),
            "onnxruntime/capi/libonnxruntime_providers_shared.so",
            "onnxruntime/capi/onnxruntime_pybind11_state.so",
            "onnxruntime/LICENSE",
            "other/libonnxruntime.so.1",
        ] {
            writer.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
            writer.write_all(name.as_bytes()).unwrap();
        }
        writer.finish().unwrap();
        let target = dir.path().join("out");
        std::fs::create_dir(&target).unwrap();
        unpack(&wheel, &target).unwrap();
        let mut names: Vec<String> = std::fs::read_dir(&target)
            .unwrap()
            .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        assert_eq!(names, ["LICENSE", library]);
    }

    #[test]
    fn keeps_the_line_of_pip_that_says_most() {
        let stderr =
            "WARNING: retrying\nERROR: Could not find a version\nERROR: No matching distribution\n\n";
        assert_eq!(last_error(stderr), "No matching distribution");
        assert_eq!(last_error("plain\n"), "plain");
    }
}
