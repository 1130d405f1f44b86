//! Taking the library out of the `onnxruntime` wheel, which pip downloads as this machine is set up to.

use super::RuntimeError;
use super::library_file::is_library;
use olive_core::event::{Event, EventSink};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Ways to call pip; the first that starts is used.
const PIPS: &[&[&str]] = &[&["python3", "-m", "pip"], &["pip3"], &["pip"], &["python", "-m", "pip"]];

/// Downloads the wheel of `version` and publishes its library as the folder `target`, inside `cache`.
///
/// A second process that wants the same waits for the first and finds the folder there.
///
/// # Errors
/// No pip, no wheel for this machine, no space.
pub fn fetch(version: &str, cache: &Path, target: &Path, events: &dyn EventSink) -> Result<(), RuntimeError> {
    let failed =
        |what: &str, e: &dyn std::fmt::Display| RuntimeError::Fetch { reason: format!("{what}: {e}") };
    std::fs::create_dir_all(cache).map_err(|e| failed("the cache folder cannot be made", &e))?;
    let lock =
        File::create(cache.join("onnxruntime.lock")).map_err(|e| failed("the lock cannot be made", &e))?;
    lock.lock().map_err(|e| failed("the lock cannot be taken", &e))?;
    if target.is_dir() {
        return Ok(());
    }
    events.emit(Event::Info {
        message: format!("ONNX Runtime was not found; fetching onnxruntime {version} with pip, once"),
    });
    let work = tempfile::tempdir_in(cache).map_err(|e| failed("no temporary folder", &e))?;
    let wheel = download(version, work.path())?;
    let staged = work.path().join("library");
    std::fs::create_dir(&staged).map_err(|e| failed("no temporary folder", &e))?;
    unpack(&wheel, &staged).map_err(|e| failed("the wheel cannot be unpacked", &e))?;
    std::fs::rename(&staged, target).map_err(|e| failed("the library cannot be put into the cache", &e))?;
    Ok(())
}

/// Runs pip until one call leaves a wheel in `dir`.
fn download(version: &str, dir: &Path) -> Result<PathBuf, RuntimeError> {
    let failed = |reason: String| RuntimeError::Fetch { reason };
    let pip = available_pip().ok_or_else(|| failed("there is no pip".into()))?;
    let mut complaint = String::new();
    for foreign in [None, foreign_tags()] {
        let Some(tags) = foreign.map_or_else(|| Some(Vec::new()), Some) else { continue };
        let output = Command::new(pip[0])
            .args(&pip[1..])
            .args(["download", "--quiet", "--no-input", "--disable-pip-version-check"])
            .args(["--no-deps", "--only-binary=:all:"])
            .args(tags)
            .arg("--dest")
            .arg(dir)
            .arg(format!("onnxruntime=={version}"))
            .stdin(Stdio::null())
            .output()
            .map_err(|e| failed(format!("pip does not start: {e}")))?;
        if let Some(wheel) = wheel_in(dir).filter(|_| output.status.success()) {
            return Ok(wheel);
        }
        if complaint.is_empty() {
            complaint = last_error(&String::from_utf8_lossy(&output.stderr));
        }
    }
    Err(failed(format!("`{} download onnxruntime=={version}` says: {complaint}", pip.join(" "))))
}

/// The command of a pip that works.
pub fn available_pip() -> Option<&'static [&'static str]> {
    PIPS.iter().copied().find(|pip| {
        Command::new(pip[0])
            .args(&pip[1..])
            .args(["--version", "--disable-pip-version-check"])
            .stdin(Stdio::null())
            .output()
            .is_ok_and(|output| output.status.success())
    })
}

/// The library does not depend on Python: when the default Python is too old or too new for a wheel, the wheel of
/// another one does.
fn foreign_tags() -> Option<Vec<String>> {
    let arch = std::env::consts::ARCH;
    let platforms: Vec<String> = match std::env::consts::OS {
        "linux" => (24..=39).rev().map(|minor| format!("manylinux_2_{minor}_{arch}")).collect(),
        "macos" => {
            let arch = if arch == "aarch64" { "arm64" } else { arch };
            (11..=15).rev().map(|major| format!("macosx_{major}_0_{arch}")).collect()
        }
        _ => return None,
    };
    let mut tags: Vec<String> =
        ["--python-version", "3.12", "--implementation", "cp", "--abi", "cp312"].map(String::from).into();
    for platform in platforms.into_iter().filter(|name| glibc_allows(name)) {
        tags.extend(["--platform".into(), platform]);
    }
    Some(tags)
}

/// Whether this machine's glibc is as new as `manylinux_2_NN_…` promises.
fn glibc_allows(platform: &str) -> bool {
    let Some(needed) = platform.strip_prefix("manylinux_2_").and_then(|rest| rest.split('_').next()) else {
        return true;
    };
    let Ok(output) = Command::new("getconf").arg("GNU_LIBC_VERSION").output() else { return true };
    let text = String::from_utf8_lossy(&output.stdout);
    let have = text.trim().rsplit('.').next().and_then(|minor| minor.parse::<u32>().ok());
    match (have, needed.parse::<u32>()) {
        (Some(have), Ok(needed)) => needed <= have,
        _ => true,
    }
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
