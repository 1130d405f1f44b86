//! Where the ONNX Runtime library is on this machine.

use super::library_file::{cache_folder, library_in};
use super::{Programs, RuntimeError, Wheel, fetch, preflight};
use olive_core::event::{Event, EventSink};
use std::path::{Path, PathBuf};

/// What the search may look at. The environment is read by `cli`.
#[derive(Debug, Clone, Default)]
pub struct LibrarySearch {
    /// `ORT_DYLIB_PATH`.
    pub env: Option<PathBuf>,
    /// `--ort-lib`.
    pub option: Option<PathBuf>,
    /// Folder of the executable.
    pub exe_dir: Option<PathBuf>,
    /// Our own cache: the library lives in `onnxruntime-<version>/` below it.
    pub cache: Option<PathBuf>,
    /// Active Python environments (`VIRTUAL_ENV`, `CONDA_PREFIX`).
    pub python_prefixes: Vec<PathBuf>,
    /// Where Python and pip may be: the default `python3` is asked where its onnxruntime is, and pip fetches it.
    pub programs: Programs,
    /// What may be fetched.
    pub wheel: Option<Wheel>,
    pub offline: bool,
}

/// A library that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Library {
    pub path: PathBuf,
    pub version: String,
    pub origin: LibrarySource,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LibrarySource {
    Environment,
    Option,
    NextToExecutable,
    Cache,
    Python,
}

impl LibrarySource {
    /// For messages: "from ORT_DYLIB_PATH", …
    pub fn describe(self) -> &'static str {
        match self {
            LibrarySource::Environment => "from ORT_DYLIB_PATH",
            LibrarySource::Option => "from --ort-lib",
            LibrarySource::NextToExecutable => "next to the executable",
            LibrarySource::Cache => "from olive's cache",
            LibrarySource::Python => "from an installed Python package",
        }
    }
}

impl LibrarySearch {
    /// The first library that can be used, in the order of [`LibrarySource`].
    ///
    /// # Errors
    /// A library that was asked for by name cannot be used. One that was only come across is passed over with a
    /// warning instead.
    pub fn find(&self, events: &dyn EventSink) -> Result<Option<Library>, RuntimeError> {
        for (named, origin) in
            [(&self.env, LibrarySource::Environment), (&self.option, LibrarySource::Option)]
        {
            if let Some(path) = named {
                let path =
                    if path.is_dir() { library_in(path).unwrap_or(path.clone()) } else { path.clone() };
                let version = preflight::version(&path)?;
                return Ok(Some(Library { path, version, origin }));
            }
        }
        let near = [
            (self.exe_dir.clone(), LibrarySource::NextToExecutable),
            (self.cache.as_deref().map(cache_folder), LibrarySource::Cache),
        ];
        let near = near.into_iter().filter_map(|(dir, origin)| Some((dir?, origin)));
        let python = self.python_prefixes.iter().flat_map(|prefix| site_packages(prefix));
        let python = python.map(|dir| (dir.join("onnxruntime/capi"), LibrarySource::Python));
        for (dir, origin) in near.chain(python) {
            if let Some(found) = usable(&dir, origin, events) {
                return Ok(Some(found));
            }
        }
        if let Some(package) = self.programs.python_package() {
            return Ok(usable(&package.join("capi"), LibrarySource::Python, events));
        }
        Ok(None)
    }

    /// [`LibrarySearch::find`], then a download with pip.
    ///
    /// # Errors
    /// As `find`; offline; or pip has no such wheel.
    pub fn find_or_fetch(&self, events: &dyn EventSink) -> Result<Library, RuntimeError> {
        if let Some(found) = self.find(events)? {
            return Ok(found);
        }
        if self.offline {
            return Err(RuntimeError::Offline);
        }
        let Some(cache) = &self.cache else {
            return Err(RuntimeError::Fetch { reason: "there is no home folder to keep it in".into() });
        };
        let Some(wheel) = &self.wheel else {
            return Err(RuntimeError::Fetch { reason: "there is no wheel of it for this machine".into() });
        };
        let folder = cache_folder(cache);
        fetch::fetch(wheel, &self.programs, cache, &folder, events)?;
        let path = library_in(&folder)
            .ok_or_else(|| RuntimeError::Fetch { reason: "the wheel holds no library".into() })?;
        let version = preflight::version(&path)?;
        Ok(Library { path, version, origin: LibrarySource::Cache })
    }
}

fn usable(dir: &Path, origin: LibrarySource, events: &dyn EventSink) -> Option<Library> {
    let path = library_in(dir)?;
    match preflight::version(&path) {
        Ok(version) => Some(Library { path, version, origin }),
        Err(refusal) => {
            events.emit(Event::Warning { message: format!("{refusal}; looking further") });
            None
        }
    }
}

fn site_packages(prefix: &Path) -> Vec<PathBuf> {
    let mut all = vec![prefix.join("Lib/site-packages")];
    for entry in std::fs::read_dir(prefix.join("lib")).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with("python3") {
            all.push(entry.path().join("site-packages"));
        }
    }
    all
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    #[test]
    fn a_named_file_that_is_not_there_is_an_error() {
        let search =
            LibrarySearch { env: Some("/nonexistent/libonnxruntime.so".into()), ..Default::default() };
        let error = search.find(&()).unwrap_err();
        assert!(matches!(error, RuntimeError::NotTheLibrary { .. }), "{error}");
    }

    #[test]
    fn something_else_next_to_the_executable_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("libonnxruntime.so"), b"not a library").unwrap();
        let search = LibrarySearch { exe_dir: Some(dir.path().into()), offline: true, ..Default::default() };
        assert_eq!(search.find(&()).unwrap(), None);
        assert!(matches!(search.find_or_fetch(&()), Err(RuntimeError::Offline)));
    }
}
